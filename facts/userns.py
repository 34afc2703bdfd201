"""User namespaces: what the kernel allows, and every range of ids that is in use on the host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.lines import Lines
from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown, attempt, known
from facts.id_ranges import LIBVIRT_CONTAINERS, LXC_CONTAINERS, find_overlaps, outside
from facts.id_ranges import LXC_DEFAULT as LXC_DEFAULT
from facts.id_ranges import Overlap as Overlap
from facts.id_ranges import Range as Range

SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"
LIMIT_FILE = "/etc/sysctl.d/99-zz-hullproof-userns.conf"
DOCKER_USER = "dockremap"
PODMAN_USER = "containers"  # where storage.conf names nobody (containers-storage.conf(5))
Ranges = tuple[Range, ...] | Unknown
Ids = dict[str, int] | Unknown
LIBVIRT = ("/etc/libvirt/lxc/", "/run/libvirt/lxc/")  # its containers, declared and running


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
    ranges: Ranges  # every row of both files
    machines: Ranges  # nspawn: the owners of /var/lib/machines/*
    lxc: Ranges  # lxc.idmap lines
    libvirt: Ranges  # <idmap> of libvirt's LXC containers, whether they run or not
    mapped: Ranges  # what running processes have in their uid_map and gid_map
    passwd: Ids
    group: Ids
    podman_auto: str | Unknown | None  # storage.conf root-auto-userns-user; None: not set
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
        libvirt, mapped = denied or _libvirt(settings), _mapped(section)
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
            libvirt=libvirt,
            mapped=mapped,
            passwd=passwd,
            group=group,
            podman_auto=denied or _podman_auto(settings),
            data_parents=_parents(section.blocks.get("parents")),
            overlaps=attempt("ids", lambda: _overlaps(ranges, passwd, group, machines, lxc, libvirt, mapped)),
        )


def _overlaps(
    ranges: Ranges, passwd: Ids, group: Ids, machines: Ranges, lxc: Ranges, libvirt: Ranges, mapped: Ranges
) -> tuple[Overlap, ...]:
    """What runs within one owner's range is taken to be that owner's."""
    used: dict[str, list[Range]] = {LXC_CONTAINERS: [*known(lxc)], LIBVIRT_CONTAINERS: [*known(libvirt)]}
    for each in known(machines):
        used.setdefault(f"machine {each.owner}", []).append(each)
    claims = (*known(ranges), *known(machines), *known(lxc), *known(libvirt))
    used["running processes"] = [*outside(known(mapped), claims)]
    return find_overlaps(known(ranges), known(passwd), known(group), used)


def _supported(section: Section) -> bool | Unknown:
    names = section.text("ns")
    return names if isinstance(names, Unknown) else "user" in names.split()


def _rows(subuid: str | Unknown | None, subgid: str | Unknown | None, passwd: Ids) -> Ranges:
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


def _names(text: str | Unknown, always: str) -> Ids:
    """Names and ids, as `getent` prints them. An answer without root is incomplete."""
    if isinstance(text, Unknown):
        return text
    pairs = (line.partition(":") for line in text.splitlines())
    names = {name: found for name, _, number in pairs if (found := whole_number(number)) is not None}
    return names if always in names else Unknown(f"getent: {text.strip()[:120] or 'no answer'}")


def _machines(block: Block | Unknown) -> Ranges:
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
            row = re.match(r"\s*lxc\.id_?map\s*=\s*([ug])\s+[0-9]+\s+([0-9]{1,10})\s+([0-9]{1,10})\b", line)
            if row:
                owner = path.split("/")[-2] if path.endswith("/config") else LXC_DEFAULT
                ranges.append(Range(row[1], int(row[2]), int(row[3]), owner, path))
    return tuple(ranges)


def _libvirt(settings: Lines) -> tuple[Range, ...]:
    """libvirt writes the rows of <idmap> itself, in this form alone."""
    ranges: list[Range] = []
    for path, lines in settings.found.items():
        for line in lines if path.startswith(LIBVIRT) else ():
            if row := re.match(r"\s*<([ug])id start='[0-9]+' target='([0-9]{1,10})' count='([0-9]{1,10})'/>", line):
                name = path.rpartition("/")[2].removesuffix(".xml")
                ranges.append(Range(row[1], int(row[2]), int(row[3]), name, path))
    return tuple(ranges)


def _podman_auto(settings: Lines) -> str | None:
    """root-auto-userns-user: the administrator's storage.conf before the distribution's."""
    for path in ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf"):
        for line in settings.found.get(path, []):
            row = re.match(r"\s*root-auto-userns-user\s*=\s*[\"']?([^\"'\s]+)", line)
            if row:
                return row[1]
    return None


def _mapped(section: Section) -> Ranges:
    """What running processes map to other ids, without maps of single ids."""
    ranges: list[Range] = []
    for kind, name in (("u", "uid_map"), ("g", "gid_map")):
        text = section.text(name)
        if isinstance(text, Unknown):
            return text
        rows = [tuple(map(int, line.split())) for line in text.splitlines() if len(line.split()) == 3]
        if not rows:
            return Unknown(f"/proc/*/{name}: no answer")
        taken = [row[1:] for row in rows if row[0] != row[1] and row[2] > 1]
        ranges += [Range(kind, start, count, "running processes", f"/proc/*/{name}") for start, count in taken]
    return tuple(ranges)


def _parents(block: Block | None) -> dict[str, str]:
    pairs = (line.partition(" ") for line in block.text.splitlines()) if block else ()
    return {path: mode for mode, _, path in pairs if re.fullmatch("[0-7]{1,4}", mode) and path.startswith("/")}
