"""The subordinate ids of users who run containers without root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploys.core.change import Blocked, Change, Context
from deploys.engines.rootless.rules import RootlessRules
from deploys.userns.ranges import PEOPLE, SIZE, NoRange, giving, plan_range
from facts.core.reading import UnknownReading, known
from facts.userns import SUBGID, SUBUID, Range, Userns, UsernsReading

CONTROL = "rootless.ranges"
ACCEPT = "rootless-ranges"  # accepting it: a rollback takes users' ranges away, whatever of theirs may own the ids
FILES = {"u": SUBUID, "g": SUBGID}


def _owned(reading: UsernsReading, user: str) -> list[Range]:
    return [row for row in known(reading.ranges) if row.owner == user]


def wrong(reading: UsernsReading, user: str) -> str:
    """What is wrong with the ids of a user, in words; "" where nothing is."""
    if user not in known(reading.passwd):
        return "is no user of this host"
    rows = _owned(reading, user)
    short = [path for kind, path in FILES.items() if sum(row.count for row in rows if row.kind == kind) < SIZE]
    if short:
        return f"has fewer than {SIZE} ids in {' and in '.join(short)}"
    shared = next((each for each in known(reading.overlaps) if each.first in rows or each.second in rows), None)
    return f"shares ids with another owner: {shared}" if shared else ""


def plan(context: Context) -> Iterator[Change]:
    """A range for each user who has none at all. Whoever has one may have files of its ids."""
    reading = context.survey[Userns]
    for user in context.policy[RootlessRules].users or []:
        if not (why := wrong(reading, user)):
            continue
        what = f"give {user} ids for containers"
        if user not in known(reading.passwd) or _owned(reading, user):
            by_hand = context.findings[CONTROL].control.by_hand
            yield Blocked("rootless", what, why=f"{user} {why}", by_hand=by_hand)
            continue
        try:
            start = plan_range(reading, SIZE, user, PEOPLE)
        except (NoRange, UnknownReading) as error:
            yield Blocked("rootless", what, why=str(error))
            return
        yield from giving("rootless", reading, start, user)
        taken = (Range(kind, start, SIZE, user, path) for kind, path in FILES.items())
        reading = replace(reading, ranges=(*known(reading.ranges), *taken))
