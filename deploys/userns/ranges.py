"""The planner of subordinate id ranges: where on a host ids are free, and the rows that give them to somebody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deploys.core.change import WriteFile
from facts.core.reading import Unknown, known
from facts.userns import DOCKER_USER, SUBGID, SUBUID, Overlap, Range, UsernsReading

SIZE = 65536

# Where ranges are looked for, in this order; [first, end). No two of these meet: what one run plans for all of them is
# planned from one reading of the host.
Windows = Sequence[tuple[int, int]]
DOCKER: Windows = ((0x7800_0000, 0x7A00_0000), (0x0002_0000, 0x0008_0000))
PODMAN: Windows = ((0x7A00_0000, 0x7FFE_0000),)
LXC: Windows = ((0x7000_0000, 0x7200_0000),)
LIBVIRT: Windows = ((0x7200_0000, 0x7400_0000),)
PEOPLE: Windows = ((0x7400_0000, 0x7800_0000),)  # users who run containers without root


class NoRange(Exception):
    """No range is free; the text names what is in use."""


def plan_range(reading: UsernsReading, size: int = SIZE, owner: str = DOCKER_USER, windows: Windows = DOCKER) -> int:
    """The first id of a free range of `size` ids for `owner`, for users and groups alike. NoRange where none is free;
    UnknownReading where it is not known what others use.

    The base is a multiple of 65,536, as systemd's UIDS-GIDS.md advises: the upper half of an id then identifies its
    owner, and blocks never overlap in part.

    From 1879048192 (0x70000000) on is what the usual allocators of a host all leave alone:
    systemd-nspawn picks within 524288–1879048191 and systemd keeps 2147352576–2147418111 for foreign ids; useradd
    grows from 100000 up to SUB_UID_MAX, 600100000; LXD uses 1000000–1001000000, kubelet 65536 and up, `podman
    --userns=auto` from 2147483647 where its documentation is followed; SSSD and FreeIPA map directory users to
    200000–2000200000. Ids stay below 2^31, which is the most that Docker and several file formats take. Below
    524288 (Docker's last window) only useradd grows, and it reads our row before it picks.

    Not free are: every other owner's row in /etc/subuid and /etc/subgid (podman's `containers` among them),
    ids in passwd and group, nspawn's machines, LXC's and libvirt's idmaps, and what running processes have mapped.
    Users' own containers of LXC have ids out of their rows: newuidmap(1) gives them no others.
    """
    rows = [row for row in known(reading.ranges) if row.owner == owner]
    taken = [*others(known(reading.ranges), owner), *known(reading.machines), *known(reading.lxc)]
    taken += known(reading.libvirt)
    taken += [mapped for mapped in known(reading.mapped) if not _within(mapped, rows)]
    taken += people(reading)
    ordered = sorted(taken, key=lambda row: row.start)
    for first, end in windows:
        start = _first_free(ordered, first, size)
        if start + size <= end:
            return start
    raise NoRange(f"no {size} ids are free in {_shown(windows)}; in use are {'; '.join(map(str, taken[:5]))} …")


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


def shared(reading: UsernsReading, owner: str) -> Overlap | None:
    """What of the owner's rows somebody else has too, as far as that is known."""
    overlaps = () if isinstance(reading.overlaps, Unknown) else reading.overlaps
    rows = {row for row in known(reading.ranges) if row.owner == owner}
    return next((each for each in overlaps if rows & {each.first, each.second}), None)


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


def with_row(
    text: str | Unknown | None, start: int, owner: str = DOCKER_USER, size: int = SIZE, *, instead: Sequence[str] = ()
) -> str:
    """The text of /etc/subuid or /etc/subgid with one row for `owner`, other lines as they were, but for the rows of
    `instead`: names or numbers."""
    lines, row = (known(text) or "").splitlines(), f"{owner}:{start}:{size}"
    lines = [line for line in lines if line.partition(":")[0].strip() not in instead]
    return "\n".join([*lines, *([] if row in lines else [row]), ""])


def called(reading: UsernsReading, owner: str = DOCKER_USER) -> list[str]:
    """What a row may call its owner: the name, or the number."""
    number = known(reading.passwd).get(owner)
    return [owner] if number is None else [owner, str(number)]


def giving(
    subject: str, reading: UsernsReading, start: int, owner: str, size: int = SIZE, *, beside: bool = False
) -> Iterator[WriteFile]:
    """Both files with one row for `owner`, where they have another one or none; `beside`: whichever others they have.
    Subjects of one run may each give somebody a range: see deploys.run.steps."""
    instead = [] if beside else called(reading, owner)
    for path, before in ((SUBUID, reading.subuid), (SUBGID, reading.subgid)):
        old = known(before)
        if (text := with_row(old, start, owner, size, instead=instead)) == old:
            continue
        mode, own = ("0644", "root:root") if old is None else ("", "")  # "": as it was
        what = f"give {owner} the ids {start}–{start + size - 1} in {path}"
        yield WriteFile(subject, what, path=path, text=text, before=old, mode=mode, owner=own, shared="lines")


def _within(mapped: Range, rows: Iterable[Range]) -> bool:
    """Whether processes use a range because one of these rows gives it to them."""
    return any(row.kind == mapped.kind and row.start <= mapped.start and mapped.end <= row.end for row in rows)


def _shown(windows: Windows) -> str:
    return ", ".join(f"{first}–{end - 1}" for first, end in windows)
