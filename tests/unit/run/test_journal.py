"""The journal's script, run for real in a folder of its own: writes, refusals, put back, undo, cut off midway."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from deploys.core.change import Change, Command, Install, MergeJson, RemoveFile, WriteFile
from deploys.run.script import Fate, Outcome, Script
from deploys.run.step_script import compile_step
from deploys.run.steps import Step, arrange
from tests.support.journal import RUN, Host, host, service, write

__all__ = ["host"]


def test_writes_and_undoes_a_new_file_and_an_old_one(host: Host) -> None:
    (host.root / "old").write_text("before\n")
    (host.root / "old").chmod(0o640)
    assert host.apply(write(host, "old", "after\n", "before\n", mode=""), write(host, "sub/new", "né", None)) == [
        "",
        "",
    ]
    assert host.files() == {"old": "after\n", "sub/new": "né"}
    assert (host.root / "old").stat().st_mode & 0o777 == 0o640
    assert all(not outcome.error for outcome in host.undo().values())
    assert host.files() == {"old": "before\n"}
    assert not (host.root / "sub").exists(), "a folder that was made for a file goes with it"
    assert host.undo() == {}, "an undone run is undone once"


def test_all_may_go_through_the_folders_that_are_made_for_a_file(host: Host) -> None:
    """Users' programs read such files too, and some end where they may not go through a folder."""
    assert host.apply(write(host, "outer/inner/new", "x", None)) == [""]
    assert [(host.root / path).stat().st_mode & 0o777 for path in ("outer", "outer/inner")] == [0o755, 0o755]


def test_refuses_a_file_that_changed_since_the_survey(host: Host) -> None:
    (host.root / "f").write_text("somebody's\n")
    (error,) = host.apply(write(host, "f", "ours\n", "what we read\n"))
    assert "was changed after the survey had read it, so nothing was written" in error
    assert host.files() == {"f": "somebody's\n"}


def test_follows_a_link_and_leaves_it_a_link(host: Host) -> None:
    (host.root / "real").write_text("a")
    (host.root / "link").symlink_to("real")
    assert host.apply(write(host, "link", "b", "a")) == [""]
    assert (host.root / "link").is_symlink()
    assert host.files()["real"] == "b"


def test_refuses_a_directory(host: Host) -> None:
    (host.root / "d").mkdir()
    (error,) = host.apply(write(host, "d", "x", None))
    assert "is a directory" in error


def test_a_file_that_its_validator_refuses_is_never_put_in_place(host: Host) -> None:
    (host.root / "f").write_text("good")
    (error,) = host.apply(
        write(host, "f", "bad", "good", validate="grep -q good {} || { echo line 1 is bad; exit 1; }")
    )
    assert "line 1 is bad" in error
    assert host.files() == {"f": "good"}


def test_a_file_that_cannot_be_made_live_is_put_back(host: Host) -> None:
    (host.root / "f").write_text("good")
    (error,) = host.apply(write(host, "f", "bad", "good", activate=f"grep -q good {host.root}/f"))
    assert "put back" in error
    assert host.files() == {"f": "good"}


def test_removal_is_undone_with_mode_and_content(host: Host) -> None:
    (host.root / "f").write_text("theirs")
    (host.root / "f").chmod(0o604)
    assert host.apply(RemoveFile("test", "remove f", path=str(host.root / "f"), before="theirs")) == [""]
    assert host.files() == {}
    host.undo()
    assert host.files() == {"f": "theirs"}
    assert (host.root / "f").stat().st_mode & 0o777 == 0o604


def test_a_failing_command_is_taken_back_and_ends_its_step(host: Host) -> None:
    command = Command("test", "set", script=f"echo 1 >{host.root}/live; false", undo=f"rm -f {host.root}/live")
    first, second = host.apply(command, write(host, "f", "x", None))
    assert first
    assert "not reached" in second
    assert host.files() == {}


def test_commands_are_undone_in_reverse_order(host: Host) -> None:
    log = host.root / "log"
    commands = [Command("test", n, script="true", undo=f"echo {n} >>{log}") for n in ("one", "two", "three")]
    assert host.apply(*commands) == ["", "", ""]
    host.undo()
    assert log.read_text().split() == ["three", "two", "one"]


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="needs an unprivileged user")
def test_nothing_is_touched_where_the_journal_cannot_be_written(host: Host) -> None:
    host.journal.write_text("a file where the journal should be")
    (error,) = host.apply(write(host, "f", "x", None))
    assert "nothing was changed" in error
    assert set(host.files()) == {"journal"}


def test_a_script_cut_off_on_its_way_does_nothing(host: Host) -> None:
    (step,) = arrange([write(host, "f", "x", None)], ["test"])
    script = compile_step(step, RUN, 1).script.text
    for part in (0.3, 0.9, 0.999):
        host.sh(script[: int(len(script) * part)])
        assert host.files() == {}


def merge(host: Host, put: dict[str, object], before: str) -> MergeJson:
    return MergeJson("test", "set keys", path=str(host.root / "conf"), before=before, put=put, service=service(host))


def test_a_service_takes_up_all_merges_of_its_file_at_once_and_gives_them_back(host: Host) -> None:
    before = '{\n    "theirs": [1],\n    "icc": true\n}'
    (host.root / "conf").write_text(before)
    assert host.apply(merge(host, {"icc": False}, before), merge(host, {"x": "y"}, before)) == ["", ""]
    assert (
        host.root / "conf"
    ).read_text() == '{\n    "theirs": [\n        1\n    ],\n    "icc": false,\n    "x": "y"\n}'
    assert (host.root / "live").read_text() == (host.root / "conf").read_text()
    assert not any(outcome.error for outcome in host.undo().values())
    assert (host.root / "conf").read_text() == before
    assert (host.root / "live").read_text() == before, "the service took up the old settings after the undo"


def test_a_service_that_does_not_come_up_is_put_back_as_it_was(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    errors = host.apply(merge(host, {"bad": 1}, "{}\n"))
    assert "its last words" in errors[0]
    assert "daemon runs as before" in errors[0]
    assert (host.root / "conf").read_text() == "{}\n"
    assert (host.root / "live").read_text() == "{}\n"


def test_a_later_file_that_fails_takes_the_earlier_ones_of_its_service_back(host: Host) -> None:
    (host.root / "conf").write_text("{}\n")
    second = WriteFile(
        "test", "w", path=str(host.root / "d"), text="x", before="other", owner="", service=service(host)
    )
    host.apply(merge(host, {"a": 1}, "{}\n"), second)
    assert host.files() == {"conf": "{}\n"}


def test_the_journal_says_what_was_done_in_words(host: Host) -> None:
    host.apply(write(host, "f", "x", None))
    entry = json.loads((host.journal / RUN["id"] / "0001" / "entry.json").read_text())
    assert entry == {"subject": "test", "what": "write f", "kind": "file"}


def test_an_answer_without_the_nonce_is_not_believed() -> None:
    said = Script("", "n0").answer(["@evil ok 0001", "@n0 fail 0002 why", "@n0 ok 0003", "@n0 put-back 0004", "noise"])
    assert said == {
        "0002": Outcome("0002", Fate.FAILED, "why"),
        "0003": Outcome("0003", Fate.MADE),
        "0004": Outcome("0004", Fate.PUT_BACK),
    }


def test_blocked_changes_and_unknown_kinds_are_never_compiled() -> None:
    with pytest.raises(TypeError):
        compile_step(Step("test", (Change("test", "nothing"),)), RUN, 1)


def test_install_is_compiled_for_the_hosts_own_package_manager(host: Host) -> None:
    (step,) = arrange([Install("test", "install", packages=("apparmor",))], ["test"])
    assert "install_packages 0001" in compile_step(step, RUN, 1).script.text
