"""What a rollback leaves: containers that were made meanwhile do not start without their ids and their filter."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploys.core.change import Obstacle, Remark, Undoing
from deploys.core.control import some
from deploys.engines.lxc.filters import PATHS
from facts.core.reading import known
from facts.core.record import JournalEntry
from facts.engines.lxc.lxc import Lxc
from facts.userns import LXC_DEFAULT, SUBGID, SUBUID, Userns

AGAIN = "destroy them, or take that out of their files, and roll back once more"


def remarks(undoing: Undoing) -> Iterable[Remark]:
    for entry in undoing.entries:
        if entry.subject == "lxc" and (names := _users(undoing, entry)):
            why = f"containers that were made since need it to start: {some(names)}"
            yield Remark(entry.id, stays=Obstacle(why=why, by_hand=AGAIN))


def _users(undoing: Undoing, entry: JournalEntry) -> list[str]:
    survey = undoing.context.survey
    if entry.path in PATHS.values():
        return sorted(survey[Lxc].users.get(entry.path or "", ()))
    ids = re.search("([0-9]+)–([0-9]+)", entry.what) if entry.path in (SUBUID, SUBGID) else None
    if not ids:
        return []
    first, last = int(ids[1]), int(ids[2])
    reading = survey[Userns]
    named = {row.owner for row in known(reading.lxc) if row.start <= last and row.end > first} - {LXC_DEFAULT}
    running = {row.owner for row in known(reading.mapped) if first <= row.start and row.end <= last + 1}
    return sorted(named or running)
