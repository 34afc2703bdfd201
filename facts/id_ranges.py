"""Ranges of ids, and which of them more than one owner has."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from facts.core.reading import Jsonable

LXC_DEFAULT = "LXC default"
LXC_CONTAINERS, LIBVIRT_CONTAINERS = "LXC's containers", "libvirt's containers"  # who uses ranges without a row
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

    def __str__(self) -> str:
        return f"{self.first} overlaps {self.second}"


def find_overlaps(
    ranges: Iterable[Range], passwd: Mapping[str, int], group: Mapping[str, int], used: Mapping[str, Iterable[Range]]
) -> tuple[Overlap, ...]:
    """Ranges of different owners that share ids, whether a file gives them or they are used without a row (`used`, by
    who uses them); and ranges that contain another user's or group's id: for each range one overlap, with a range that
    does not begin later.

    A row for root that equals another owner's is allowed: LXD's packages write `root:N:M` beside `lxd:N:M`, and root
    may use any id anyway.
    """
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
    defaults = {name: [row for row in rows if row.owner == LXC_DEFAULT] for name, rows in used.items()}
    named = {name: [row for row in rows if row.owner != LXC_DEFAULT] for name, rows in used.items()}
    more = [*_used_by_others(others, named), *_used_by_others(nobodys, defaults), *_peoples_own(named, people)]
    return tuple(Overlap(first, second) for first, second in (*found, *more))


def _used_by_others(rows: list[Range], used: Mapping[str, list[Range]]) -> Iterator[tuple[Range, Range]]:
    """Rows of the files whose ids are used without a row: by containers, which root starts and which may use root's
    rows, and by what runs. Containers of one engine may share a range: LXC's default gives all the same."""
    shared = [(replace(row, owner=name), row) for name, ranges in used.items() for row in ranges]
    origin = {id(other): row for other, row in shared}
    for pair in _clashes([*rows, *(other for other, _ in shared)], []):
        if any(id(row) in origin for row in pair):
            first, second = sorted(pair, key=lambda row: id(row) in origin)
            yield origin.get(id(first), first), origin.get(id(second), second)


def _peoples_own(used: Mapping[str, list[Range]], people: list[Range]) -> Iterator[tuple[Range, Range]]:
    """Ranges of containers that have a person's own id. A single id is passed through on purpose."""
    for name in (LXC_CONTAINERS, LIBVIRT_CONTAINERS):
        shared = [(replace(row, owner=name), row) for row in used.get(name, []) if row.count > 1]
        origin = {id(other): row for other, row in shared}
        for first, person in _clashes([other for other, _ in shared], people):
            yield origin[id(first)], person


def outside(mapped: Iterable[Range], claims: Iterable[Range]) -> Iterator[Range]:
    """Those of `mapped` that do not lie within one owner's claims."""
    starts: dict[str, list[int]] = {"u": [], "g": []}
    ends: dict[str, list[int]] = {"u": [0], "g": [0]}  # the last end so far
    for row in sorted(_joined(claims), key=lambda row: row.start):
        starts[row.kind].append(row.start)
        ends[row.kind].append(max(row.end, ends[row.kind][-1]))
    for each in mapped:
        if ends[each.kind][bisect_right(starts[each.kind], each.start)] < each.end:
            yield each


def _joined(rows: Iterable[Range]) -> Iterator[Range]:
    """Of each owner, ranges that meet are one."""
    one: Range | None = None
    for row in sorted(rows, key=lambda row: (row.kind, row.owner, row.start)):
        if one and (one.kind, one.owner) == (row.kind, row.owner) and row.start <= one.end:
            one = replace(one, count=max(one.end, row.end) - one.start)
            continue
        if one:
            yield one
        one = row
    if one:
        yield one


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
