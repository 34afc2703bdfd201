"""Each of Podman's containers has ids of its own (userns=auto), out of a range that nobody else has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from deploys.core.change import Blocked, Change, Context, Obstacle, Part, Remark, Undoing
from deploys.core.control import Severity, some
from deploys.engines.podman.rules import PodmanRules
from deploys.engines.podman.settings import Row, said, setting
from deploys.userns.controls import RANGES, another_range
from deploys.userns.ranges import PODMAN, NoRange, giving, others, people, plan_range
from facts.containers import Containers
from facts.core.reading import UnknownReading, known
from facts.core.record import JournalEntry
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.podman.podman import Podman, PodmanReading
from facts.engines.rootless.rootless import Rootless
from facts.userns import PODMAN_USER, SUBGID, SUBUID, Range, Userns, UsernsReading

REMAP = "podman-userns"  # accepting it: containers that are made again do not own their volumes
KEY = "containers.userns"
SIZE = 64 * 65536  # each container takes 1,024 ids, or more where its image has more


def _shared(podman: PodmanReading, wanted: Any) -> str:
    value = setting(podman, KEY, "")
    return "" if isinstance(value, str) and value.partition(":")[0] == "auto" else said(podman, KEY, "host")


def _owner(reading: UsernsReading) -> str:
    return known(reading.podman_auto) or PODMAN_USER


def _counts(survey: Survey) -> dict[str, int]:
    """How many ids each file gives the owner."""
    reading = survey[Userns]
    rows = [row for row in known(reading.ranges) if row.owner == _owner(reading)]
    return {path: sum(row.count for row in rows if row.kind == kind) for kind, path in (("u", SUBUID), ("g", SUBGID))}


def _rows_missing(survey: Survey) -> str:
    """Without a range no container starts any more, and with a small one none whose image has more ids."""
    owner, needed, counts = _owner(survey[Userns]), known(survey[Podman].auto_ids).needed, _counts(survey)
    if none := [path for path, count in counts.items() if not count]:
        return f"{' and '.join(none)} have no ids for {owner}, out of which containers get theirs"
    few = [f"{path} has {count} ids for {owner}" for path, count in counts.items() if count < needed]
    return f"{some(few)}, and one container may need {needed}" if few else ""


def _half(reading: UsernsReading, needed: int) -> Range | None:
    """The owner's row that one file alone has, and whose ids are free in the other: containers may have them."""
    owner = _owner(reading)
    rows = [row for row in known(reading.ranges) if row.owner == owner]
    if len(rows) != 1 or rows[0].count < needed:
        return None
    twin = replace(rows[0], kind="g" if rows[0].kind == "u" else "u")
    taken = [*others(known(reading.ranges), owner), *people(reading), *known(reading.machines), *known(reading.lxc)]
    taken += known(reading.libvirt)
    return None if any(twin.overlaps(row) for row in taken) else twin


def _range(survey: Survey) -> tuple[int, int]:
    """The first id of what the owner is to get, and how many. NoRange where none is free."""
    reading, needed = survey[Userns], known(survey[Podman].auto_ids).needed
    if half := _half(reading, needed):
        return half.start, half.count
    size = max(SIZE, needed)
    return plan_range(reading, size, _owner(reading), PODMAN), size


def _rows(context: Context) -> Iterator[Change]:
    reading, what = context.survey[Userns], "have Podman give each new container ids of its own"
    if (lost := _consequences(context.survey)) and not context.accepts(REMAP):
        yield Blocked("podman", what, why=lost, accepts=(REMAP,))
        return
    if not _rows_missing(context.survey):
        return
    try:
        start, size = _range(context.survey)
    except (NoRange, UnknownReading) as error:
        yield Blocked("podman", what, why=str(error))
        return
    # Ids of rows that are there may be those of containers.
    yield from giving("podman", reading, start, _owner(reading), size, beside=True)


def _there(survey: Survey) -> list[str]:
    """What of root's Podman's may have ids of its own, or will when it is made again."""
    listed = known(survey[Containers].containers)
    running = sorted(each.name for each in listed if each.engine == "podman" and not each.user)
    there = ((running, "containers"), (sorted(known(survey[Podman].volumes)), "volumes"))
    return [f"{len(names)} {kind} ({some(names, 8)})" for names, kind in there if names]


def _users(survey: Survey) -> list[str]:
    """Who uses Podman without root just now, with their containers: containers.conf is theirs too."""
    found = present.of_users(survey, "podman")
    for socket in known(survey[Rootless].listening):
        if not socket.at.endswith("/docker.sock"):
            found.setdefault(present.user_name(socket.uid, survey), [])
    return [f"{user} ({some(have, 8)})" if have else user for user, have in sorted(found.items())]


def _consequences(survey: Survey) -> str:
    """What containers that are made again would own no longer; "" where Podman has nothing."""
    theirs = [f"Podman has {' and '.join(parts)}"] if (parts := _there(survey)) else []
    theirs += [f"users' Podman reads the same file: {some(users)}"] if (users := _users(survey)) else []
    if not theirs:
        return ""
    return (
        f"{'; '.join(theirs)}. Containers go on as they are, but one that is made again has other ids, and reads its "
        "volumes and the host's folders only where they are mounted with :U or :idmap"
    )


def held(survey: Survey) -> str:
    """What may own ids of the range; "" for nothing."""
    stored = known(survey[Podman].held)
    stopped = [f"{len(stored)} containers on disk ({some((each[:12] for each in stored), 8)})"] if stored else []
    return " and ".join([*_there(survey), *stopped])


def remarks(undoing: Undoing) -> Iterator[Remark]:
    """The range stays while something may use its ids: nobody else may get them."""
    survey = undoing.context.survey
    rows = [entry for entry in undoing.entries if entry.path in (SUBUID, SUBGID) and _is_ours(entry, survey)]
    for entry in rows:
        if why := _owning(survey):
            yield Remark(entry.id, stays=Obstacle(why=why, by_hand="remove those that do, and roll back once more"))


def _owning(survey: Survey) -> str:
    try:
        parts = held(survey)
    except UnknownReading as error:
        return f"what may own ids of that range is not known: {error}"
    return f"Podman has {parts}, which may own ids of that range" if parts else ""


def _is_ours(entry: JournalEntry, survey: Survey) -> bool:
    given = entry.subject == "userns" and entry.what.startswith(f"give {_owner(survey[Userns])} ")
    return entry.subject == "podman" or given


def _move(context: Context) -> Iterator[Change]:
    reading, needed = context.survey[Userns], known(context.survey[Podman].auto_ids).needed
    owner, size = _owner(reading), max(SIZE, needed)
    yield from giving("userns", reading, plan_range(reading, size, owner, PODMAN), owner, size)


def _another(context: Context) -> Iterator[Change]:
    survey = context.survey
    yield from another_range(
        context,
        _owner(survey[Userns]),
        uses=lambda: survey[Podman].installed and context.policy[PodmanRules].user_namespace is not None,
        held=lambda: held(survey),
        move=lambda: _move(context),
    )


PART = Part(controls=(), plan=_another, facts=(Userns, Podman, Containers), mends=(RANGES,))
DEFAULT = Row(
    name="user-namespace",
    title="Each of Podman's containers gets ids of its own (userns=auto)",
    severity=Severity.HIGH,
    why="Whoever gets out of a container as root is root on the host, unless its ids are mapped to others.",
    references=("CIS-Docker-2.9", "NIST-800-190-4.4.3"),
    wrong=_shared,
    beside=_rows_missing,
    put=lambda podman, wanted: {KEY: "auto"},
    first=_rows,
    by_hand="set userns to auto in /etc/containers/containers.conf, and give user containers a range of ids in "
    f"{SUBUID} and {SUBGID}",
)
