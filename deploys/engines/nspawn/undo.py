"""What a rollback leaves: a start with the host's ids for machines whose files belong to ids of their own by now."""

from __future__ import annotations

from collections.abc import Iterable

from deploys.core.change import Obstacle, Remark, Undoing
from deploys.core.control import some
from deploys.engines.nspawn.start import FIRST, IDS, NO
from facts.core.record import JournalEntry
from facts.engines.nspawn.nspawn import DROP_IN, Nspawn, NspawnReading

BACK = "end them, and run systemd-nspawn --private-users=0 --private-users-ownership=chown -D FOLDER true for each"


def remarks(undoing: Undoing) -> Iterable[Remark]:
    for entry in () if undoing.context.accepts(IDS) else undoing.entries:
        ours = entry.subject == "nspawn" and entry.path == DROP_IN
        if ours and (paths := _shifted(undoing.context.survey[Nspawn], entry)):
            why = f"machines would start with the host's ids, and their files belong to others: {some(paths)}"
            yield Remark(entry.id, stays=Obstacle(why=why, by_hand=BACK, accepts=(IDS,)))


def _shifted(reading: NspawnReading, entry: JournalEntry) -> list[str]:
    """Of all machines where the run has given all of them ids; else of those whose files will say again that they have
    the host's."""
    shared = {word.machine for word in reading.words if word.key == "PrivateUsers" and word.value.lower() in NO}
    given = "--private-users=" in entry.what
    return [tree.path for tree in reading.trees if tree.owner >= FIRST and (given or tree.machine in shared)]
