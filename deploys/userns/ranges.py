"""The planner of subordinate id ranges: where on a host 65,536 ids are free."""

from __future__ import annotations

from collections.abc import Iterable

from facts.core.reading import Unknown, known
from facts.userns import DOCKER_USER, Range, UsernsReading

SIZE = 65536

# Where a range is looked for, in this order; [first, end).
WINDOWS = (
    (0x7800_0000, 0x7FFE_0000),
    (0x7000_0000, 0x7800_0000),
    (0x0002_0000, 0x0008_0000),
)


class NoRange(Exception):
    """No range is free; the text names what is in use."""


def plan_range(reading: UsernsReading, size: int = SIZE, owner: str = DOCKER_USER) -> int:
    """The first id of a free range of `size` ids for `owner`, for users and groups alike. NoRange where none is free;
    UnknownReading where it is not known what others use.

    The base is a multiple of 65,536, as systemd's UIDS-GIDS.md advises: the upper half of an id then identifies its
    owner, and blocks never overlap in part.

    The first choice is 2013265920 (0x78000000), which the usual allocators of a host all leave alone:
    systemd-nspawn picks within 524288–1879048191 and systemd keeps 2147352576–2147418111 for foreign ids; useradd
    grows from 100000 up to SUB_UID_MAX, 600100000; LXD uses 1000000–1001000000, kubelet 65536 and up, `podman
    --userns=auto` from 2147483647 where its documentation is followed; SSSD and FreeIPA map directory users to
    200000–2000200000. Ids stay below 2^31, which is the most that Docker and several file formats take. Below
    524288 (the last window) only useradd grows, and it reads our row before it picks.

    Not free are: every other owner's row in /etc/subuid and /etc/subgid (podman's `containers` among them),
    ids in passwd and group, nspawn's machines, LXC's idmaps, and what running processes have mapped.
    """
    rows = [row for row in known(reading.ranges) if row.owner == owner]
    taken = [*others(known(reading.ranges), owner), *known(reading.machines), *known(reading.lxc)]
    taken += [mapped for mapped in known(reading.mapped) if not _within(mapped, rows)]
    taken += people(reading)
    ordered = sorted(taken, key=lambda row: row.start)
    for first, end in WINDOWS:
        start = _first_free(ordered, first, size)
        if start + size <= end:
            return start
    raise NoRange(f"no {size} ids are free in {_windows()}; in use are {'; '.join(map(str, taken[:5]))} …")


def _first_free(taken: Iterable[Range], first: int, size: int) -> int:
    """From `first` on; `taken` by where they start."""
    start = first
    for row in taken:
        if row.start >= start + size:
            break
        if row.end > start:
            start = max(first, -(-row.end // SIZE) * SIZE)
    return start


def people(reading: UsernsReading) -> list[Range]:
    """The ids of users and groups."""
    users = [Range("u", uid, 1, name, "passwd") for name, uid in known(reading.passwd).items()]
    return users + [Range("g", gid, 1, name, "group") for name, gid in known(reading.group).items()]


def others(ranges: Iterable[Range], owner: str) -> list[Range]:
    return [row for row in ranges if row.owner != owner]


def own_start(reading: UsernsReading, owner: str = DOCKER_USER) -> int | None:
    """The first id of the owner's range where it is good as it is: one row in each file, both the same, aligned,
    of 65,536 ids, without an overlap."""
    rows = [row for row in known(reading.ranges) if row.owner == owner]
    if {row.kind for row in rows} != {"u", "g"} or len(rows) != 2:
        return None
    start = rows[0].start
    if any((row.start, row.count) != (start, SIZE) for row in rows) or start % SIZE:
        return None
    theirs = others([*known(reading.ranges), *people(reading)], owner)
    twin = {Range(row.kind, start, SIZE, "root", row.source) for row in rows}  # no clash: see facts.userns
    return None if any(row.overlaps(own) and row not in twin for own in rows for row in theirs) else start


def with_row(text: str | Unknown | None, start: int, owner: str = DOCKER_USER, size: int = SIZE) -> str:
    """The text of /etc/subuid or /etc/subgid with one row for `owner`, other people's lines as they were."""
    lines = [line for line in (known(text) or "").splitlines() if line.partition(":")[0].strip() != owner]
    return "\n".join([*lines, f"{owner}:{start}:{size}", ""])


def _within(mapped: Range, rows: Iterable[Range]) -> bool:
    """Whether processes use a range because one of these rows gives it to them."""
    return any(row.kind == mapped.kind and row.start <= mapped.start and mapped.end <= row.end for row in rows)


def _windows() -> str:
    return ", ".join(f"{first}–{end - 1}" for first, end in WINDOWS)
