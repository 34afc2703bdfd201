"""A journal that another version of hullproof kept: rolled back as its own would have, or refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploys.run.run import Run
from deploys.run.runs_view import render_runs
from facts.core.record import SCHEMA
from tests.support.journal import RUN, Host, host, record
from tests.support.undo import plan, undo

__all__ = ["host"]

# What release 0.2.0 left in a folder that stood for a host (@HOST@): files written and removed, keys merged into a file
# of others and taken up by a daemon, a live change.
KEPT = json.loads((Path(__file__).parents[2] / "support" / "journal-0.2.0.json").read_text())


@pytest.fixture
def older(host: Host) -> Host:
    for name, text in KEPT.items():
        path = host.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("@HOST@", str(host.root)))
    return host


def test_what_the_release_before_did_is_rolled_back(older: Host) -> None:
    shared = older.root / "shared.json"
    shared.write_text(json.dumps(json.loads(shared.read_text()) | {"since": 2}))
    assert {error for error, _ in undo(older).values()} == {""}
    files = older.files()
    assert json.loads(files.pop("shared.json")) == json.loads(files.pop("taken")) == {"theirs": 1, "since": 2}
    assert files == {"plain": "before\n", "gone": "was here\n"}
    assert record(older).journals == ()


@pytest.mark.parametrize(("schema", "said"), [(SCHEMA + 1, str(SCHEMA + 1)), ("next", "0")])
def test_a_journal_of_a_form_to_come_is_refused_in_a_sentence(older: Host, schema: int | str, said: str) -> None:
    head = older.journal / RUN["id"] / "run.json"
    head.write_text(json.dumps(RUN | {"schema": schema}) + "\n")
    before = older.files()
    (why,) = plan(older).refused
    assert why == (
        f"the journal of run {RUN['id']} (harden, 2026-01-01T00:00:00Z) has form {said}, and this version of hullproof "
        f"reads form {SCHEMA}: roll it back with the version that made it"
    )
    assert f"! {why}" in render_runs("h", record(older))
    assert older.files() == before


def test_a_run_names_the_form_of_the_journal_that_it_keeps() -> None:
    assert Run("harden").meta("baseline")["schema"] == SCHEMA
