"""An undo loses nothing: run for real in a folder that stands for a host, planned from what its own survey says."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Change, Command, MergeJson, RemoveFile, WriteFile
from deploys.run import journal, step_script
from deploys.run.script import JOURNAL, WORDS, Fate, Script
from deploys.run.steps import arrange
from deploys.run.undo import read_files
from deploys.run.undo_plan import UndoPlan, begin, chosen, compare
from facts.core.frame import survey_script
from facts.core.record import Record, RecordReading
from facts.core.survey import Survey
from tests.unit.test_journal import RUN, Host, host, service, write

__all__ = ["host"]


def other(number: int) -> dict[str, str]:
    return RUN | {"id": f"20260101T0000{number:02d}Z-000000"}


def apply(host: Host, *changes: Change, run: dict[str, str] = RUN) -> list[str]:
    """The errors of a whole run."""
    errors, first = [], 1
    for step in arrange(changes, ["test"]):
        compiled = step_script.compile_step(step, run, first)
        first += len(compiled.entries)
        try:
            errors += [outcome.error for outcome in compiled.outcomes(host.sh(compiled.script.text)).values()]
        except step_script.Refused as error:
            errors += [str(error)] * len(compiled.entries)
        host.sh(journal.ended_script(run["id"]))
    return errors


def record(host: Host) -> RecordReading:
    script = survey_script([Record]).replace("/var/lib/hullproof", str(host.root))
    return Survey.parse([Record], host.sh(script))[Record]


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


def test_a_file_that_was_changed_since_is_kept_and_named(host: Host) -> None:
    apply(host, write(host, "first", "x", None), write(host, "f", "ours\n", None))
    (host.root / "f").write_text("ours\ntheirs\n")
    (why,) = plan(host).refused
    assert str(host.root / "f") in why
    assert f"skip={RUN['id']}/0002" in why


def test_what_the_host_alone_sees_is_kept_too_and_ends_the_undo_there(host: Host) -> None:
    """It was changed between the survey and the undo."""
    apply(host, write(host, "first", "x", None), write(host, "f", "ours\n", None))
    made = plan(host)
    (host.root / "f").write_text("theirs\n")
    script = journal.undo_script(made.orders(()), RUN)
    said = script.answer(host.sh(script.text))
    assert list(said) == ["0002"]
    assert "was changed after this run had written it" in said["0002"].error
    assert host.files()["f"] == "theirs\n"
    assert "first" in host.files(), "it may be needed by what stays"


def test_a_change_that_is_skipped_stays_and_the_run_stands_no_more(host: Host) -> None:
    apply(host, write(host, "first", "x", None), write(host, "f", "ours\n", None))
    (host.root / "f").write_text("theirs\n")
    assert undo(host, skip=[f"{RUN['id']}/0002"]) == {"0002": ("", "left as it is"), "0001": ("", "")}
    assert {name for name in host.files() if not name.startswith("lock")} == {"f"}
    assert record(host).journals == ()
    assert record(host).spent == (RUN["id"],)
    assert record(host).watched == (), "it is no business of drift any more"


def test_a_name_to_skip_that_is_not_there_is_refused(host: Host) -> None:
    apply(host, write(host, "f", "x", None))
    (why,) = plan(host, skip=[f"{RUN['id']}/0007"]).refused
    assert "0007" in why


def test_a_file_that_is_as_it_was_already_is_undone_already(host: Host) -> None:
    (host.root / "f").write_text("theirs\n")
    apply(host, write(host, "f", "ours\n", "theirs\n", mode=""), write(host, "g", "ours\n", None))
    (host.root / "f").write_text("theirs\n")
    (host.root / "g").unlink()
    assert undo(host) == {"0002": ("", ""), "0001": ("", "")}
    assert host.files() == {"f": "theirs\n"}


def test_a_file_of_ours_that_is_gone_is_not_made_anew(host: Host) -> None:
    (host.root / "f").write_text("theirs\n")
    apply(host, write(host, "f", "ours\n", "theirs\n", mode=""))
    (host.root / "f").unlink()
    assert "it is gone" in plan(host).refused[0]


def test_a_removed_file_that_was_made_again_stays_theirs(host: Host) -> None:
    (host.root / "f").write_text("old\n")
    apply(host, RemoveFile("test", "remove f", path=str(host.root / "f"), before="old\n"))
    (host.root / "f").write_text("new\n")
    assert plan(host).notes["0001"] == [f"{host.root}/f was created again since this run removed it: it stays as it is"]
    assert undo(host)["0001"] == ("", f"{host.root}/f was created again since this run removed it: it stays as it is")
    assert host.files() == {"f": "new\n"}


def test_a_link_in_the_place_of_our_file_is_theirs(host: Host) -> None:
    apply(host, write(host, "f", "ours\n", None))
    (host.root / "real").write_text("ours\n")
    (host.root / "f").unlink()
    (host.root / "f").symlink_to("real")
    ((error, _),) = undo(host).values()
    assert "was changed" in error
    assert (host.root / "f").is_symlink()


def test_what_is_no_file_in_the_place_of_ours_is_theirs(host: Host) -> None:
    apply(host, write(host, "f", "ours\n", None))
    (host.root / "f").unlink()
    os.mkfifo(host.root / "f")
    ((error, _),) = undo(host).values()
    assert "was changed" in error


def test_a_mode_that_was_given_since_is_kept(host: Host) -> None:
    (host.root / "f").write_text("theirs\n")
    (host.root / "f").chmod(0o644)
    apply(host, write(host, "f", "ours\n", "theirs\n", mode=""))
    (host.root / "f").chmod(0o600)
    ((error, note),) = undo(host).values()
    assert (error, "keeps the mode" in note) == ("", True)
    assert host.files() == {"f": "theirs\n"}
    assert (host.root / "f").stat().st_mode & 0o777 == 0o600


def test_keys_and_rows_of_others_stay_in_files_that_they_own_too(host: Host) -> None:
    before = '{\n    "log-level": "info"\n}\n'
    (host.root / "conf").write_text(before)
    (host.root / "rows").write_text("ops:1:2\n")
    rows = WriteFile("test", "a row", path=str(host.root / "rows"), text="ops:1:2\nours:5:6\n", before="ops:1:2\n",
                     mode="", owner="", shared="lines")  # fmt: skip
    assert apply(host, rows, merge(host, {"icc": False}, before)) == ["", "", ""]
    keys = json.loads((host.root / "conf").read_text())
    (host.root / "conf").write_text(json.dumps(keys | {"dns": ["10.0.0.1"]}, indent=4))
    (host.root / "rows").write_text("ops:1:2\nours:5:6\nbob:9:9\n")
    assert all(error == "" for error, _ in undo(host).values())
    assert json.loads((host.root / "conf").read_text()) == {"log-level": "info", "dns": ["10.0.0.1"]}
    assert (host.root / "rows").read_text() == "ops:1:2\nbob:9:9\n"
    assert (host.root / "live").read_text() == (host.root / "conf").read_text(), "the service took that up"


def test_a_key_that_was_changed_once_more_is_theirs(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    apply(host, merge(host, {"icc": False}, "{}\n"))
    (host.root / "conf").write_text('{"icc": true, "dns": []}')
    assert "icc was changed once more" in plan(host).refused[0]


def test_two_writes_of_one_file_in_one_run_are_taken_out_one_after_the_other(host: Host) -> None:
    (host.root / "rows").write_text("a\n")
    one, two = (WriteFile("test", "w", path=str(host.root / "rows"), text=text, before=before, mode="", owner="",
                          shared="lines") for text, before in (("a\nb\n", "a\n"), ("a\nb\nc\n", "a\nb\n")))  # fmt: skip
    apply(host, one, two)
    (host.root / "rows").write_text("a\nb\nc\ntheirs\n")
    undo(host)
    assert host.files() == {"rows": "a\ntheirs\n"}


def test_what_an_earlier_rollback_would_have_merged_does_not_come_back(host: Host) -> None:
    keys = host.root / "keys"
    apply(host, WriteFile("test", "w", path=str(keys), text='{"a": 1}', before=None, owner="", shared="json"))
    keys.write_text('{\n  "a": 1\n}')
    (host.journal / RUN["id"] / "0001" / "merged").write_text('{"theirs": "gone since"}')
    assert [error for error, _ in undo(host).values()] == [""]
    assert host.files() == {}


def test_a_merge_that_did_not_reach_the_journal_removes_nothing(host: Host) -> None:
    keys = host.root / "keys"
    apply(host, WriteFile("test", "w", path=str(keys), text='{"a": 1}', before=None, owner="", shared="json"))
    keys.write_text('{"a": 1, "theirs": 1}')
    made = plan(host)
    del made.amended["0001", "merged"]
    script = journal.undo_script(made.orders(()), RUN)
    assert "the journal lacks" in script.answer(host.sh(script.text))["0001"].error
    assert host.files() == {"keys": '{"a": 1, "theirs": 1}'}


def test_a_merge_that_its_validator_refuses_is_not_put_in_place(host: Host) -> None:
    (host.root / "conf").write_text("{}")
    change = merge(host, {"a": 1}, "{}")
    apply(host, MergeJson(**{**change.__dict__, "validate": "! grep -q worse {}"}))
    (host.root / "conf").write_text('{"a": 1, "worse": 1}')
    said = undo(host)
    assert "would not be valid" in said["0002"][0]
    assert json.loads((host.root / "conf").read_text()) == {"a": 1, "worse": 1}


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


def test_a_service_step_that_failed_is_taken_back_in_report_and_journal(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    errors = apply(host, merge(host, {"bad": 1}, "{}\n"))
    assert errors[1] == WORDS[Fate.PUT_BACK]
    assert "daemon runs as before" in errors[0]
    assert record(host).journals == (), "the next rollback must not restart the daemon for nothing"


def test_a_service_that_was_left_alone_is_not_activated_for_what_is_put_back(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    change, daemon = merge(host, {"a": 1}, "{}\n"), service(host)
    alone = type(daemon)(**{**daemon.__dict__, "activate": f"echo ran >>{host.root}/log; echo not now; exit 3"})
    errors = apply(host, MergeJson(**{**change.__dict__, "service": alone}))
    assert "daemon was left alone. It said: not now" in errors[0]
    assert host.files() == {"conf": "{}\n", "log": "ran\n"}
    assert record(host).journals == ()


def test_a_service_file_that_somebody_changed_at_once_is_not_put_back_over_it(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    change = merge(host, {"bad": 1}, "{}\n")
    meddling = f"echo theirs >{host.root}/conf; false"
    daemon = service(host)
    errors = apply(
        host, MergeJson(**{**change.__dict__, "service": type(daemon)(**{**daemon.__dict__, "activate": meddling})})
    )
    assert "was changed after this run had written it" in errors[0]
    assert (host.root / "conf").read_text() == "theirs\n"
    assert len(record(host).journals) == 1


def test_a_service_that_does_not_take_up_the_old_files_gets_the_new_ones_again(host: Host) -> None:
    (host.root / "conf").write_text('{"x": 1}')
    apply(host, write(host, "first", "x", None), merge(host, {"x": 2}, '{"x": 1}'))
    daemon = host.journal / RUN["id"] / "0002" / "undo"
    daemon.write_text(f"! grep -q '\"x\": 1' {host.root}/conf && cp {host.root}/conf {host.root}/live")
    said = undo(host)
    assert list(said) == ["0003", "0002"]
    assert said["0003"][0] == WORDS[Fate.PUT_BACK]
    assert "put back" in said["0002"][0]
    assert json.loads((host.root / "conf").read_text()) == {"x": 2} == json.loads((host.root / "live").read_text())
    assert [entry.id for entry in record(host).journals[0].left] == ["0003", "0002", "0001"]


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


def test_what_a_hook_has_to_say_reaches_the_operator(host: Host) -> None:
    apply(host, Command("test", "go", script=":", undo='echo "web was removed since" >>"$NOTE"; echo noise'))
    assert undo(host) == {"0001": ("", "web was removed since")}


def test_accepted_names_reach_the_hooks(host: Host) -> None:
    apply(host, Command("test", "go", script=":", undo='[ "$ACCEPT" = "a b" ] || { echo "not accepted"; exit 1; }'))
    script = journal.undo_script(plan(host).orders({"b", "a"}), RUN)
    assert script.answer(host.sh(script.text))["0001"].error == ""


def test_what_the_host_tells_of_files_is_not_believed_without_the_nonce() -> None:
    packed = base64.b64encode(b"x").decode()
    lines = [f"@evil file 0001 now {packed}", f"@n0 file 0001 now {packed}", "@n0 file 0001 original -",
             "@n0 file 0001 wrote ?", "@n0 file 0002 now %%%", "noise"]  # fmt: skip
    assert read_files(Script("", "n0"), lines)["0001"].texts == {"now": b"x", "original": None}


def test_files_too_large_to_be_told_are_left_to_the_host(host: Host) -> None:
    apply(host, write(host, "f", "ours\n", None))
    (host.root / "f").write_text("x" * 100_000)
    assert plan(host).refused == []
    ((error, _),) = undo(host).values()
    assert "was changed" in error


@pytest.mark.parametrize("wanted", ["nothing", ""])
def test_a_run_that_is_not_there_is_named(host: Host, wanted: str, tmp_path: Path) -> None:
    apply(host, write(host, "f", "x", None))
    with pytest.raises(Exception, match=f"the runs that can be rolled back are {RUN['id']}"):
        chosen(record(host), wanted)
    undo(host)
    with pytest.raises(Exception, match="rolled back already, or changed nothing"):
        chosen(record(host), RUN["id"])
    assert chosen(record(host), None) is None
