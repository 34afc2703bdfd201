"""The root of LXC's containers is not the host's: they get a range of ids, which root has to have in the files of
subordinate ids where newuidmap(1) is installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.core.change import Blocked, Change, Context
from deploys.core.control import Severity
from deploys.engines.defaults import Put
from deploys.engines.lxc.settings import Row, outside
from deploys.userns.ranges import LXC, SIZE, NoRange, called, giving, people, plan_range
from facts.containers import Containers
from facts.core.numbers import whole_number
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.incus.incus import Incus
from facts.engines.lxc.lxc import Lxc, LxcReading
from facts.lxc_files import Line
from facts.userns import LXC_DEFAULT, SUBGID, SUBUID, Range, Userns, UsernsReading

KEY = "lxc.idmap"
OWNER = "root"  # who starts them
ACCEPT = "lxc-rows"  # accepting it: root gets a row although others take root's rows for their own
OTHERS = {"incus": "Incus", "lxd": "LXD"}  # who do
WHAT = "have LXC give new containers ids of their own"
FIRST = 65536  # below it are ids of people and services


def maps(lines: Iterable[Line], *, of_root: bool = False) -> Iterator[Range]:
    """`of_root`: those alone that the container's own root is in."""
    for line in lines:
        words = line.value.split()
        numbers = [whole_number(word) for word in words[1:]]
        if len(numbers) == 3 and None not in numbers and not (of_root and numbers[0]):
            start, count = numbers[1] or 0, numbers[2] or 0
            for kind in ("u", "g") if words[0] == "b" else words[0]:
                yield Range(kind, start, count, OWNER, line.at)


def _unmapped(lxc: LxcReading, wanted: str) -> str:
    mapped = list(maps(lxc.all(KEY)))
    if {each.kind for each in mapped} != {"u", "g"}:
        return f"no {KEY} gives new containers ids of their own: their root is the host's"
    low = [each for each in mapped if each.start < FIRST]
    return f"{KEY} gives new containers the host's own ids from {low[0].start} on ({low[0].source})" if low else ""


def shared(survey: Survey) -> str:
    """Which other owner has ids of new containers' too, as far as that is known; "" for none."""
    overlaps, mapped = survey[Userns].overlaps, list(maps(survey[Lxc].all(KEY)))
    for each in () if isinstance(overlaps, Unknown) else overlaps:
        for own, other in ((each.first, each.second), (each.second, each.first)):
            if own.owner in (OWNER, LXC_DEFAULT) and any(other.overlaps(ids) for ids in mapped):
                return f"new containers get ids that are another owner's: {each}"
    return ""


def _beside(survey: Survey) -> str:
    return _rows_missing(survey) or shared(survey)


def _rows_missing(survey: Survey) -> str:
    """newuidmap refuses what no row gives, to root too."""
    rows = known(survey[Userns].ranges)
    for each in maps(survey[Lxc].all(KEY)):
        own = (row for row in rows if row.owner == OWNER and row.kind == each.kind)
        if not any(row.start <= each.start and each.end <= row.end for row in own):
            return f"{SUBUID if each.kind == 'u' else SUBGID} does not give root the ids {each.start}–{each.end - 1}"
    return ""


def start_of(reading: UsernsReading) -> int:
    """The first id of root's range: the one of an earlier run, where nobody else has taken it since."""
    rows = [row for row in known(reading.ranges) if row.owner == OWNER and row.count == SIZE]
    others = [*(row for row in known(reading.ranges) if row.owner != OWNER), *people(reading)]
    for row in rows:
        twin = Range("g" if row.kind == "u" else "u", row.start, row.count, OWNER, row.source)
        both = any((twin.kind, twin.start) == (other.kind, other.start) for other in rows)
        free = not any(each.overlaps(other) for each in (row, twin) for other in others)
        if both and free and row.start % SIZE == 0 and any(first <= row.start < end for first, end in LXC):
            return row.start
    return plan_range(reading, SIZE, "", LXC)


def given(reading: UsernsReading, start: int) -> bool:
    """Whether root has that range in both files."""
    rows = {row.kind for row in known(reading.ranges) if (row.owner, row.start, row.count) == (OWNER, start, SIZE)}
    return rows == {"u", "g"}


def in_the_way(context: Context, start: int) -> str:
    """Why root is not given that range as it is: Incus maps all of root's rows, LXD the first one; "" where it may
    be given, or root has it."""
    survey = context.survey
    if context.accepts(ACCEPT) or given(survey[Userns], start):
        return ""
    there = {*survey[Containers].engines, *(each.name for each in survey[Incus].daemons)}
    names = [name for key, name in OTHERS.items() if key in there]
    owners = called(survey[Userns], OWNER)
    rows = [row for row in known(survey[Userns].ranges) if row.owner in owners and row.count > SIZE]
    if not names and not rows:
        return ""
    why = (
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} there"
        if names
        else f"root has the row {rows[0]}, as for Incus or LXD"
    )
    return f"{why}: Incus and LXD take root's rows for their own, and with another row their instances may not start"


def _put(lxc: LxcReading, wanted: str) -> Put:
    return {KEY: "a range of its own"}


def lines(context: Context) -> list[str]:
    """What is written: what others have written before it counts no longer."""
    start = start_of(context.survey[Userns])
    before = [""] if outside(context.survey[Lxc], context.survey[Lxc].all(KEY)) else []
    return [*before, *(f"{kind} 0 {start} {SIZE}" for kind in ("u", "g"))]


def _rows(context: Context) -> Iterator[Change]:
    reading = context.survey[Userns]
    try:
        start = start_of(reading)
        why = in_the_way(context, start)
    except (NoRange, UnknownReading) as error:
        yield Blocked("lxc", WHAT, why=str(error))
        return
    if why:
        yield Blocked("lxc", WHAT, why=why, accepts=(ACCEPT,))
        return
    yield from giving("lxc", reading, start, OWNER, beside=True)


DEFAULT = Row(
    name="user-namespace",
    title="The root of LXC's containers is not the host's",
    severity=Severity.HIGH,
    why="Whoever gets out of a container as root is root on the host, unless its ids are mapped to others.",
    references=("NIST-800-190-4.4.3",),
    wrong=_unmapped,
    beside=_beside,
    put=_put,
    first=_rows,
    by_hand=f"set {KEY} in the file that lxc-create copies, and give root these ids in {SUBUID} and {SUBGID}",
)
