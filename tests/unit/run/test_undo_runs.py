"""Which runs an undo takes back, and in which order: later runs first, and those of older versions too."""

from __future__ import annotations

import json
import shutil

from deploys.core.change import Command
from deploys.run import journal
from deploys.run.script import JOURNAL
from tests.support.journal import RUN, Host, apply, host, other, record, write
from tests.support.undo import merge, plan, undo

__all__ = ["host"]


def test_a_later_run_on_the_same_file_goes_first(host: Host) -> None:
    apply(host, write(host, "f", "1", None), write(host, "g", "1", None), run=other(1))
    apply(host, write(host, "f", "2", "1", mode=""), run=other(2))
    (why,) = plan(host, other(1)["id"]).refused
    assert other(2)["id"] in why
    assert str(host.root / "f") in why
    assert str(host.root / "g") not in why
    undo(host)
    undo(host, other(1)["id"])
    assert host.files() == {}


def test_a_later_run_on_what_is_live_goes_first(host: Host) -> None:
    for number in (1, 2):
        apply(host, Command("test", "set", script=":", undo="echo back"), run=other(number))
    assert "the live state of test" in plan(host, other(1)["id"]).refused[0]
    assert plan(host, other(2)["id"]).refused == []


def test_a_run_that_was_made_after_the_survey_is_not_passed_over(host: Host) -> None:
    apply(host, write(host, "f", "1", None), run=other(1))
    made = plan(host)
    apply(host, write(host, "g", "1", None), run=other(2))
    script = journal.undo_script(made.orders(()), other(59))
    assert f"run {other(2)['id']} was made here meanwhile" in script.answer(host.sh(script.text))[JOURNAL].error
    assert set(host.files()) == {"f", "g"}


def test_a_run_whose_only_change_failed_does_not_stand(host: Host) -> None:
    apply(host, write(host, "f", "1", None), run=other(1))
    failing = [
        Command("test", "fail", script="false", undo=""),
        write(host, "f", "2", "1", mode="", activate=f"grep -q 1 {host.root}/f"),
        write(host, "f", "2", "other", mode=""),
    ]
    for number, change in enumerate(failing, 2):
        assert apply(host, change, run=other(number)) != [""]
    assert [past.run for past in record(host).journals] == [other(1)["id"]]


def test_every_run_of_which_something_is_left_is_found(host: Host) -> None:
    apply(host, write(host, "f", "x", None), run=other(0))
    spend(host, 30)
    reading = record(host)
    assert [past.run for past in reading.journals] == [other(0)["id"]]
    apply(host, write(host, "g", "x", None), run=other(31))
    assert len(record(host).spent) == 20, "a new run drops the oldest of those of which nothing is left"
    undo(host)
    undo(host)
    assert host.files() == {}


def spend(host: Host, count: int) -> None:
    """Runs 1, 2 … `count`, all undone."""
    apply(host, write(host, "spent", "x", None), run=other(1))
    undo(host, other(1)["id"])
    for number in range(2, count + 1):
        shutil.copytree(host.journal / other(1)["id"], host.journal / other(number)["id"])


def test_a_run_with_a_change_that_was_skipped_is_kept_for_its_original(host: Host) -> None:
    (host.root / "f").write_text("the only original")
    apply(host, write(host, "f", "x", "the only original", mode=""), run=other(0))
    undo(host, skip=[f"{other(0)['id']}/0001"])
    spend(host, 21)
    apply(host, write(host, "g", "x", None), run=other(22))
    assert (host.journal / other(0)["id"] / "0001" / "original").read_text() == "the only original"
    assert not (host.journal / other(1)["id"]).exists()


def test_a_journal_that_an_older_version_wrote_is_undone(host: Host) -> None:
    """Its entries lack what was added since; its service's script is what it was then, unless we bring another one."""
    (host.root / "conf").write_text("{}\n")
    (host.root / "f").write_text("old")
    apply(host, write(host, "f", "new", "old", mode=""), merge(host, {"x": 1}, "{}\n"))
    for entry in (host.journal / RUN["id"]).glob("0*"):
        for name in ("as", "wrote", "validate", "service"):
            (entry / name).unlink(missing_ok=True)
        meta = json.loads((entry / "entry.json").read_text())
        (entry / "entry.json").write_text(json.dumps({key: meta[key] for key in ("subject", "what", "kind")}))
    (host.journal / RUN["id"] / "0002" / "undo").write_text("false")
    made = plan(host)
    made.amended["0002", "undo"] = f"cp {host.root}/conf {host.root}/live".encode()
    script = journal.undo_script(made.orders(()), RUN)
    assert {o.error for o in script.answer(host.sh(script.text)).values()} == {""}
    assert host.files() | {"live": ""} == {"f": "old", "conf": "{}\n", "live": ""}
    assert (host.root / "live").read_text() == "{}\n"


def test_an_older_journal_cannot_be_merged_and_says_how_to_go_on(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    apply(host, merge(host, {"x": 1}, "{}\n"))
    (host.journal / RUN["id"] / "0002" / "wrote").unlink()
    (host.root / "conf").write_text('{"x": 1, "theirs": 1}')
    assert "it is no longer what the run wrote" in plan(host).refused[0]
