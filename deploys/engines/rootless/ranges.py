"""The subordinate ids of users who run containers without root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from deploys.core.change import Blocked, Change, Context, mending
from deploys.engines.rootless import shift
from deploys.engines.rootless.rules import users_of
from deploys.userns.controls import RANGES
from deploys.userns.ranges import PEOPLE, SIZE, NoRange, giving, plan_range
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.userns import SUBGID, SUBUID, Overlap, Range, Userns, UsernsReading

CONTROL = "rootless.ranges"
ACCEPT = "rootless-ranges"  # accepting it: a rollback takes users' ranges away, whatever of theirs may own the ids
FILES = {"u": SUBUID, "g": SUBGID}


def _owned(reading: UsernsReading, user: str) -> list[Range]:
    return [row for row in known(reading.ranges) if row.owner == user]


def _shared(reading: UsernsReading, user: str) -> list[Overlap]:
    rows = set(_owned(reading, user))
    return [each for each in known(reading.overlaps) if rows & {each.first, each.second}]


def _owners(overlap: Overlap) -> set[str]:
    return {overlap.first.owner, overlap.second.owner}


def wrong(survey: Survey, users: Sequence[str]) -> dict[str, str]:
    """By user: what is wrong with the ids, in words."""
    cut = shift.cut_off(survey)
    found = {user: f"has files with ids of both ranges, since run {run} was cut off" for user, (run, _) in cut.items()}
    return found | {user: why for user in users if user not in cut and (why := _wrong(survey[Userns], user))}


def _wrong(reading: UsernsReading, user: str) -> str:
    if user not in known(reading.passwd):
        return "is no user of this host"
    rows = _owned(reading, user)
    short = [path for kind, path in FILES.items() if sum(row.count for row in rows if row.kind == kind) < SIZE]
    if short:
        return f"has fewer than {SIZE} ids in {' and in '.join(short)}"
    shared = _shared(reading, user)
    return f"shares ids with another owner: {shared[0]}" if shared else ""


def plan(context: Context) -> Iterator[Change]:
    """A range for each user who has none at all. Whoever has one may have files of its ids: these are shifted."""
    survey, users = context.survey, users_of(context.policy)
    by_hand, reading = context.findings[CONTROL].control.by_hand, survey[Userns]
    found = wrong(survey, users)
    for user, why in found.items():
        what = f"give {user} ids for containers"
        if user in shift.cut_off(survey):
            changes = [shift.settle(survey, user)]
        elif user not in known(reading.passwd):
            changes = [Blocked("rootless", what, why=f"{user} {why}", by_hand=by_hand)]
        elif not _owned(reading, user):
            changes = _first(reading, user, what)
        elif shared := _shared(reading, user):
            later = set(users[users.index(user) :])
            if all(_owners(each) <= later for each in shared):
                continue  # the other one gets another range
            changes = list(mending(context.which(CONTROL, RANGES), shift.plan(context, reading, user, why, by_hand)))
        else:
            changes = [Blocked("rootless", what, why=f"{user} {why}", by_hand=by_hand)]
        yield from changes
        reading = replace(reading, ranges=(*known(reading.ranges), *shift.taken(changes)))


def _first(reading: UsernsReading, user: str, what: str) -> list[Change]:
    try:
        return [*giving("rootless", reading, plan_range(reading, SIZE, user, PEOPLE), user)]
    except (NoRange, UnknownReading) as error:
        return [Blocked("rootless", what, why=str(error))]
