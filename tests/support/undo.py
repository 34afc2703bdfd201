"""A rollback in a folder that stands for a host, planned from what its own survey says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploys.core.change import MergeJson
from deploys.run import journal
from deploys.run.undo import read_files
from deploys.run.undo_plan import UndoPlan, begin, chosen, compare
from tests.support.journal import Host, other, record, service


def plan(host: Host, wanted: str | None = None, skip: Sequence[str] = ()) -> UndoPlan:
    reading = record(host)
    past = chosen(reading, wanted)
    assert past is not None
    made = begin(reading, past, skip)
    if made.refused:
        return made
    script = journal.files_script(past.run, [entry.id for entry in made.entries])
    compare(made, read_files(script, host.sh(script.text)))
    return made


def undo(host: Host, wanted: str | None = None, skip: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """What became of each entry: the error, and what is to be known."""
    made = plan(host, wanted, skip)
    assert made.refused == []
    script = journal.undo_script(made.orders(()), other(59))
    said = script.answer(host.sh(script.text))
    host.sh(journal.ended_script(other(59)["id"]))
    return {entry: (outcome.error, outcome.note) for entry, outcome in said.items()}


def merge(host: Host, put: dict[str, Any], before: str | None, drop: tuple[str, ...] = ()) -> MergeJson:
    return MergeJson("test", "set keys", path=str(host.root / "conf"), before=before, put=put, drop=drop,
                     service=service(host))  # fmt: skip
