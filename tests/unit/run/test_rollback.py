"""A rollback as the controller makes it: shown before, refused as a whole, ended with what comes next."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploys.core.change import Command, Obstacle, Remark, Undoing
from deploys.core.policy import Policy
from deploys.run import baseline, ending, transport
from deploys.run.session import Session
from deploys.run.undo import choose, undo
from deploys.run.undo_plan import UndoPlan
from deploys.run.undo_view import render_undo
from facts.core.record import Journal, JournalEntry, Record
from facts.core.survey import Survey
from facts.core.system import System
from tests.support.journal import Host, apply, host, other, record, write

__all__ = ["host"]

FOR_GOOD = "leave it for good with --data skip=20260101T000000Z-abcdef/0001, and older runs can be rolled back"


class Remote:
    name = "h"
    connector = None

    def __init__(self) -> None:
        self.said: list[str] = []

    def log(self, text: str) -> None:
        self.said.append(text)


class Speaker:
    """A subject that remarks on the undo what it is told to."""

    name = "speaker"
    facts = ()
    controls = ()

    def __init__(self, *remarks: Remark | Exception) -> None:
        self.remarks = remarks

    def undoing(self, undoing: Undoing) -> Iterable[Remark]:
        for remark in self.remarks:
            if isinstance(remark, Exception):
                raise remark
            yield remark


def begin(host: Host, monkeypatch: pytest.MonkeyPatch, *remarks: Remark | Exception) -> Session:
    """The session of a rollback, surveyed."""
    remote: Any = Remote()
    subjects: Any = (Speaker(*remarks),)
    monkeypatch.setattr(transport, "execute", lambda _, script, seconds: host.sh(script))
    session = Session(remote, Policy("test", {}), subjects, other(59) | {"kind": "rollback"})
    system: Any = SimpleNamespace(uid=0)
    session.survey = Survey({System: system, Record: record(host)})
    return session


def shown(session: Session) -> str:
    return render_undo("h", session.undoing, session.errors)


def test_the_runs_are_rolled_back_one_by_one_and_each_names_the_next(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        apply(host, write(host, f"f{number}", "x", None), run=other(number))
    run = begin(host, monkeypatch)
    choose(run, None)
    assert f"rolls back run {other(2)['id']} (harden, " in shown(run)
    assert "  - 0001 write f2" in shown(run)
    undo(run)
    assert run.errors == []
    said: Any = run.host
    assert f"--data run={other(1)['id']}" in said.said[-1]

    run = begin(host, monkeypatch)
    choose(run, None)
    undo(run)
    assert host.files() == {}
    said = run.host
    assert "the journal of what was undone (/var/lib/hullproof/journal" in said.said[-1]

    run = begin(host, monkeypatch)
    choose(run, None)
    assert (shown(run), run.errors, run.undoing) == ("h: there is no run to roll back", [], None)
    choose(run, other(1)["id"])
    assert "rolled back already" in run.errors[0]
    assert "rolled back already" in shown(run)


def test_what_is_in_the_way_is_all_named_and_nothing_is_undone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(host, write(host, "f", "x", None), write(host, "g", "x", None))
    (host.root / "f").write_text("theirs")
    run = begin(host, monkeypatch, Remark("0002", refused=Obstacle(why="it would stop web")))
    choose(run, None)
    assert len(run.errors) == 3
    for words in (f"{host.root}/f was changed", "it would stop web", "nothing of run"):
        assert words in "; ".join(run.errors)
    assert "cannot be rolled back now:" in shown(run)
    assert "it would stop web" in shown(run)


def test_what_a_rollback_interrupts_is_shown_before(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(host, write(host, "f", "x", None))
    run = begin(host, monkeypatch, Remark("0001", interrupts="restarts docker"))
    choose(run, None)
    assert "! interrupts: restarts docker" in shown(run)


def test_an_undo_that_may_cut_us_off_says_how_it_is_put_back() -> None:
    made: Any = {"subject": "t", "path": None, "done": True, "undone": False}
    isolate = JournalEntry("0002", what="isolate", commit_confirmed=True, **made)
    entries = (JournalEntry("0001", what="go", **made), isolate)
    text = render_undo("h", UndoPlan(Journal("r", "harden", "2026", entries)), ())
    assert text.splitlines()[1:] == [
        "  - 0002 isolate",
        "         commit-confirmed: the host puts it back by itself unless a fresh connection confirms the undo",
        "  - 0001 go",
    ]


def test_what_stays_for_now_is_an_error_and_all_else_is_undone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(host, write(host, "f", "x", None), write(host, "g", "x", None))
    run = begin(host, monkeypatch, Remark("0001", stays=Obstacle(why="it holds data", accepts=("remove",))))
    choose(run, None)
    said = "it holds data. Allow it with --data accept=remove"
    assert f"not undone: 0001 write f: {said}" in shown(run)
    undo(run)
    assert run.errors == [f"not undone: write f: {said}; or {FOR_GOOD}"]
    assert set(host.files()) == {"f"}


def test_where_all_that_is_left_stays_for_now_that_alone_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(host, write(host, "f", "x", None))
    run = begin(host, monkeypatch, Remark("0001", stays=Obstacle(why="it holds data", accepts=("remove",))))
    choose(run, None)

    def nothing_to_do(*_: object) -> None:
        raise transport.Unreachable("the host gave no answer")

    monkeypatch.setattr(transport, "execute", nothing_to_do)
    undo(run)
    assert run.errors[0].startswith("not undone: write f: it holds data. Allow it with --data accept=remove; or leave")


def test_what_stays_of_a_file_costs_nobody_elses_lines_in_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where several subjects of one run give somebody a range of ids."""
    (host.root / "subuid").write_text("ops:1:2\n")
    texts = ["ops:1:2\n", "ops:1:2\npods:3:4\n", "ops:1:2\npods:3:4\ntill:5:6\n"]
    apply(host, *(write(host, "subuid", text, before, mode="", shared="lines") for before, text in pairwise(texts)))
    run = begin(host, monkeypatch, Remark("0002", stays=Obstacle(why="till may own them", accepts=("ids",))))
    choose(run, None)
    assert (run.undoing.refused if run.undoing else None) == []
    undo(run)
    assert [error.partition(": ")[0] for error in run.errors] == ["not undone"], run.errors
    assert host.files() == {"subuid": "ops:1:2\ntill:5:6\n"}
    run = begin(host, monkeypatch)
    choose(run, None)
    undo(run)
    assert (run.errors, host.files()) == ([], {"subuid": "ops:1:2\n"})


def test_a_script_of_today_takes_the_place_of_the_journals(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(host, Command("test", "go", script=":", undo="false"))
    run = begin(host, monkeypatch, Remark("0001", script=f"echo today >{host.root}/f"))
    choose(run, None)
    undo(run)
    assert run.errors == []
    assert host.files() == {"f": "today\n"}


def test_a_subject_that_fails_costs_the_rollback_and_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(host, write(host, "f", "x", None))
    run = begin(host, monkeypatch, KeyError("x"))
    choose(run, None)
    assert "speaker: the undo cannot be planned (KeyError: 'x')" in run.errors
    assert set(host.files()) == {"f"}


def test_what_fails_names_the_way_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(host, write(host, "f", "x", None), Command("test", "go", script=":", undo="echo why; exit 1"))
    run = begin(host, monkeypatch)
    choose(run, None)
    undo(run)
    name = "20260101T000000Z-abcdef/0002"
    assert run.errors == [
        f"undo of go: why (to go on without it: --data skip={name})",
        "not reached, so not yet undone: write f",
    ]
    run = begin(host, monkeypatch)
    choose(run, None, [name])
    assert "not undone: 0002 go: stays for good" in shown(run)
    undo(run)
    assert run.errors == []
    assert [row["what"] for row in run.done] == ["undone: write f"], "what was left as it is was not rolled back"


def test_a_rollback_that_only_left_things_as_they_are_rolled_nothing_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(host, write(host, "f", "x", None))
    run = begin(host, monkeypatch)
    choose(run, None, ["20260101T000000Z-abcdef/0001"])
    undo(run)
    assert (run.errors, run.done) == ([], [])
    assert "stays for good" in shown(run)


def test_where_nothing_of_ours_is_left_no_baseline_is_either(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apply(host, write(host, "f", "x", None))
    run = begin(host, monkeypatch)
    assert baseline.DROP not in ending.keep_script(run)
    choose(run, None)
    undo(run)
    run = begin(host, monkeypatch)
    assert baseline.DROP in ending.keep_script(run)
    host.sh(ending.keep_script(run).replace("/var/lib/hullproof", str(tmp_path)))
    assert not (tmp_path / "baseline.json").exists()
