"""User namespaces: what the kernel allows, and every range of ids that is in use on the host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.lines import Lines
from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown

SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"
LIMIT_FILE = "/etc/sysctl.d/99-zz-hullproof-userns.conf"
DOCKER_USER = "dockremap"
LXC_DEFAULT = "LXC default"
FIRST_PERSON = 1000  # the ids of people's own users begin here: login.defs(5), UID_MIN


@dataclass(frozen=True)
class Range(Jsonable):
    """`count` ids from `start`, of users ("u") or groups ("g")."""

    kind: str
    start: int
    count: int
    owner: str  # the row's owner, by name where the host has one; the machine's or container's name
    source: str  # the file that assigns it, or where it is in use

    @property
    def end(self) -> int:
        return self.start + self.count

    def overlaps(self, other: Range) -> bool:
        return self.kind == other.kind and self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        return f"{self.owner}:{self.start}:{self.count} ({self.source})"


@dataclass(frozen=True)
class Overlap(Jsonable):
    """Two ranges of different owners that share ids, or a range that contains a user's or group's own id."""

    first: Range
    second: Range


@dataclass(frozen=True)
class UsernsReading(Jsonable):
    """All ids are the host's. A knob that this kernel does not have is None."""

    supported: bool | Unknown  # /proc/self/ns/user: the kernel is built with user namespaces
    max_user_namespaces: int | Unknown | None
    unprivileged_userns_clone: int | Unknown | None  # Debian and Arch only
    apparmor_restrict: int | Unknown | None  # kernel.apparmor_restrict_unprivileged_userns: Ubuntu, or Linux 6.7 on
    limit_file: str | Unknown | None  # the text of our own sysctl.d file
    subuid: str | Unknown | None  # the text of /etc/subuid
    subgid: str | Unknown | None
    ranges: tuple[Range, ...] | Unknown  # every row of both files
    machines: tuple[Range, ...] | Unknown  # nspawn: the owners of /var/lib/machines/*
    lxc: tuple[Range, ...] | Unknown  # lxc.idmap lines
    mapped: tuple[Range, ...] | Unknown  # what running processes have in their uid_map and gid_map
    passwd: dict[str, int] | Unknown
    group: dict[str, int] | Unknown
    podman_auto: str | Unknown | None  # storage.conf root-auto-userns-user; None: not set (podman then says containers)
    data_parents: dict[str, str]  # the directories above Docker's data-root -> mode, octal
    overlaps: tuple[Overlap, ...] | Unknown

    @property
    def dockremap(self) -> bool | Unknown:
        return self.passwd if isinstance(self.passwd, Unknown) else DOCKER_USER in self.passwd


class Userns(SectionFact[UsernsReading]):
    """user_namespaces(7), subuid(5), subgid(5), lxc.container.conf(5), containers-storage.conf(5)."""

    key: ClassVar[str] = "userns"
    script: ClassVar[str] = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> UsernsReading:
        limits, settings = Lines(section.block("limits")), Lines(section.block("settings"))
        denied = settings.complaint("Permission denied")
        subuid, subgid = section.file(SUBUID), section.file(SUBGID)
        passwd, group = _names(section.text("passwd"), "root"), _names(section.text("group"), "root")
        ranges = _rows(subuid, subgid, passwd)
        machines, lxc = _machines(section.block("machines")), denied or _lxc(settings)
        return UsernsReading(
            supported=_supported(section),
            max_user_namespaces=limits.number("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone=limits.number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restrict=limits.number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            limit_file=section.file(LIMIT_FILE),
            subuid=subuid,
            subgid=subgid,
            ranges=ranges,
            machines=machines,
            lxc=lxc,
            mapped=_mapped(section),
            passwd=passwd,
            group=group,
            podman_auto=denied or _podman_auto(settings),
            data_parents=_parents(section.blocks.get("parents")),
            overlaps=_overlaps(ranges, passwd, group, machines, lxc),
        )


def _supported(section: Section) -> bool | Unknown:
    names = section.text("ns")
    return names if isinstance(names, Unknown) else "user" in names.split()


def _rows(
    subuid: str | Unknown | None, subgid: str | Unknown | None, passwd: dict[str, int] | Unknown
) -> tuple[Range, ...] | Unknown:
    """The rows of both files; an absent file has none. subuid(5): a row names its owner, or has the number."""
    for text in (subuid, subgid):
        if isinstance(text, Unknown):
            return text
    names = {str(uid): name for name, uid in reversed(passwd.items())} if isinstance(passwd, dict) else {}
    rows: list[Range] = []
    for kind, path, text in (("u", SUBUID, subuid), ("g", SUBGID, subgid)):
        for line in str(text or "").splitlines():
            owner, _, numbers = line.partition(":")
            start, _, count = numbers.partition(":")
            first, length = whole_number(start), whole_number(count)
            if first is not None and length is not None:
                rows.append(Range(kind, first, length, names.get(owner.strip(), owner.strip()), path))
    return tuple(rows)


def _names(text: str | Unknown, always: str) -> dict[str, int] | Unknown:
    """Names and ids, as `getent` prints them. An answer without root is incomplete."""
    if isinstance(text, Unknown):
        return text
    pairs = (line.partition(":") for line in text.splitlines())
    names = {name: found for name, _, number in pairs if (found := whole_number(number)) is not None}
    return names if always in names else Unknown(f"getent: {text.strip()[:120] or 'no answer'}")


def _machines(block: Block | Unknown) -> tuple[Range, ...] | Unknown:
    """The id ranges of nspawn's machines: a tree shifted to a base is owned by it, and the base's low 16 bits are 0."""
    if isinstance(block, Unknown):
        return block
    if block.status != 0 and not block.absent:
        return Unknown(f"/var/lib/machines: {block.complaint}")
    ranges: list[Range] = []
    for line in block.text.splitlines():
        words = line.split(" ", 2)
        if len(words) == 3:
            for kind, start in (("u", whole_number(words[0])), ("g", whole_number(words[1]))):
                if start is not None and start >= 65536:
                    ranges.append(Range(kind, start & ~0xFFFF, 65536, words[2].rpartition("/")[2], "/var/lib/machines"))
    return tuple(ranges)


def _lxc(settings: Lines) -> tuple[Range, ...]:
    ranges: list[Range] = []
    for path, lines in settings.found.items():
        for line in lines:
            row = re.match(r"\s*lxc\.id_?map\s*=\s*([ug])\s+\d+\s+(\d+)\s+(\d+)", line)
            if row:
                owner = path.split("/")[-2] if path.endswith("/config") else LXC_DEFAULT
                ranges.append(Range(row[1], int(row[2]), int(row[3]), owner, path))
    return tuple(ranges)


def _podman_auto(settings: Lines) -> str | None:
    """root-auto-userns-user: the administrator's storage.conf before the distribution's."""
    for path in ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf"):
        for line in settings.found.get(path, []):
            row = re.match(r"\s*root-auto-userns-user\s*=\s*[\"']?([^\"'\s]+)", line)
            if row:
                return row[1]
    return None


def _mapped(section: Section) -> tuple[Range, ...] | Unknown:
    """What running processes map, without maps of all ids (the host's own) and of single ids."""
    ranges: list[Range] = []
    for kind, name in (("u", "uid_map"), ("g", "gid_map")):
        text = section.text(name)
        if isinstance(text, Unknown):
            return text
        rows = [tuple(map(int, line.split())) for line in text.splitlines() if len(line.split()) == 3]
        if not rows:
            return Unknown(f"/proc/*/{name}: no answer")
        taken = [row[1:] for row in rows if row[1] and row[2] > 1]
        ranges += [Range(kind, start, count, "running processes", f"/proc/*/{name}") for start, count in taken]
    return tuple(ranges)


def _parents(block: Block | None) -> dict[str, str]:
    pairs = (line.partition(" ") for line in block.text.splitlines()) if block else ()
    return {path: mode for mode, _, path in pairs if re.fullmatch("[0-7]{1,4}", mode) and path.startswith("/")}


def _overlaps(
    ranges: tuple[Range, ...] | Unknown,
    passwd: dict[str, int] | Unknown,
    group: dict[str, int] | Unknown,
    machines: tuple[Range, ...] | Unknown,
    lxc: tuple[Range, ...] | Unknown,
) -> tuple[Overlap, ...] | Unknown:
    """Ranges of different owners that share ids, whether a file gives them or a machine or container of LXC takes them;
    and ranges that contain another user's or group's id: for each range one overlap, with a range that does not begin
    later.

    A row for root that equals another owner's is allowed: LXD's packages write `root:N:M` beside `lxd:N:M`, and root
    may use any id anyway.
    """
    if isinstance(ranges, Unknown) or isinstance(passwd, Unknown) or isinstance(group, Unknown):
        return next(r for r in (ranges, passwd, group) if isinstance(r, Unknown))
    if isinstance(machines, Unknown) or isinstance(lxc, Unknown):
        return next(r for r in (machines, lxc) if isinstance(r, Unknown))
    people = [Range("u", uid, 1, name, "passwd") for name, uid in passwd.items()]
    people += [Range("g", gid, 1, name, "group") for name, gid in group.items()]
    of_others = {(row.kind, row.start, row.count) for row in (*ranges, *people) if row.owner != "root"}
    rows = [row for row in ranges if row.owner != "root" or (row.kind, row.start, row.count) not in of_others]
    place = {id(row): number for number, row in enumerate([*rows, *people])}
    pairs = (sorted(pair, key=lambda row: place[id(row)]) for pair in _clashes(rows, people))
    found = sorted(pairs, key=lambda pair: [place[id(row)] for row in pair])
    others = [row for row in ranges if row.owner != "root"]
    # LXC's default serves users too, for whom the range in it is their own.
    nobodys = [row for row in others if passwd.get(row.owner, 0) < FIRST_PERSON]
    defaults = [row for row in lxc if row.owner == LXC_DEFAULT]
    used = [
        *_used_by_others(others, [*machines, *(row for row in lxc if row.owner != LXC_DEFAULT)]),
        *_used_by_others(nobodys, defaults),
    ]
    return tuple(Overlap(first, second) for first, second in (*found, *used))


def _used_by_others(rows: list[Range], users: list[Range]) -> Iterator[tuple[Range, Range]]:
    """Rows of the files whose ids somebody else uses without a row: machines, and containers of LXC, which root starts
    and which may use root's rows. Containers may share a range with each other: LXC's default gives all the same."""
    shared = [replace(row, owner="LXC" if "lxc" in row.source else f"machine {row.owner}") for row in users]
    origin = {id(other): row for other, row in zip(shared, users, strict=True)}
    for pair in _clashes([*rows, *shared], []):
        if any(id(row) in origin for row in pair):
            first, second = sorted(pair, key=lambda row: id(row) in origin)
            yield origin.get(id(first), first), origin.get(id(second), second)


def _clashes(rows: list[Range], people: list[Range]) -> Iterator[tuple[Range, Range]]:
    """From the lowest id up. To find an overlap with earlier rows, two of them are enough: the one that ends last, and
    the one that ends last among the other owners' rows."""
    persons = {id(row) for row in people}
    last: Range | None = None
    other: Range | None = None
    for row in sorted([*rows, *people], key=lambda row: (row.kind, row.start, id(row) in persons)):
        if last is None or last.kind != row.kind:
            last = other = None
        before = other if last and last.owner == row.owner else last
        if before and before.overlaps(row):
            yield before, row
        if id(row) in persons:
            continue
        if last is None or row.end > last.end:
            last, other = row, last if last and last.owner != row.owner else other
        elif row.owner != last.owner and (other is None or row.end > other.end):
            other = row
