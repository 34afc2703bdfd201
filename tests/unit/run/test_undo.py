"""An undo loses nothing: run for real in a folder that stands for a host, planned from what its own survey says."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from deploys.core.change import Command, RemoveFile
from deploys.run import journal
from deploys.run.script import Script
from deploys.run.undo import read_files
from deploys.run.undo_plan import chosen
from tests.support.journal import RUN, Host, apply, host, record, write
from tests.support.undo import plan, undo

__all__ = ["host"]


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
