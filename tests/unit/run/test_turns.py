"""Runs take turns on a host: a lock where root alone writes, which says who has it and keeps no host from reverting."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploys.core.change import Change, Command, MergeJson, RemoveFile
from deploys.run import journal, step_script
from deploys.run.script import JOURNAL
from deploys.run.steps import Step
from tests.support.armed import Host as ArmedHost
from tests.support.armed import write as armed_write
from tests.support.journal import RUN, Host, apply, host, other, service, write

__all__ = ["host"]
WHO = f"{RUN['id']} harden by ops on laptop"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HULLPROOF_QUIET", "2")


def lock(host: Host, text: str = "", age: int = 0) -> Path:
    """The lock as another run left it."""
    host.journal.mkdir(exist_ok=True)
    path = host.journal / "lock"
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


HELD = f"{other(7)['id']} 2026-01-01T00:00:00Z harden by ops on laptop\n"


@contextmanager
def at_work(host: Host) -> Iterator[None]:
    with lock(host, HELD).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_who_has_the_lock_is_told_once(host: Host) -> None:
    with at_work(host):
        errors = apply(host, write(host, "f", "x", None))
    assert errors == [
        f"another run is changing this host: {other(7)['id']}, harden by ops on laptop, since 2026-01-01T00:00:00Z. "
        "Run again when it has ended"
    ]
    assert host.files() == {}


def test_between_two_steps_of_a_run_no_other_one_begins(host: Host) -> None:
    path, ended = lock(host, HELD), threading.Event()

    def work() -> None:
        while not ended.wait(0.3):
            path.touch()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        (error,) = apply(host, write(host, "f", "x", None))
    finally:
        ended.set()
        thread.join()
    assert "another run is changing this host" in error


def test_a_run_that_ended_or_died_is_nobody_in_the_way(host: Host) -> None:
    lock(host, HELD + "ended\n")
    assert apply(host, write(host, "f", "x", None)) == [""]
    lock(host, HELD)
    assert apply(host, write(host, "g", "x", None), run=other(1)) == [""], "it is waited for as long as it may be quiet"
    lock(host, HELD, age=-3600)
    assert "another" not in apply(host, write(host, "h", "x", None), run=other(2))[0], "clocks go wrong"


def test_a_run_says_on_the_host_who_it_is_and_that_it_ended(host: Host) -> None:
    step = step_script.compile_step(Step("test", (write(host, "f", "x", None),)), RUN, 1)
    host.sh(step.script.text)
    run, since, kind, _, who = (host.journal / "lock").read_text().strip().split(" ", 4)
    assert (run, kind, since[-1]) == (RUN["id"], "harden", "Z")
    assert " on " in who
    host.sh(journal.ended_script(other(1)["id"]))
    assert "ended" not in (host.journal / "lock").read_text(), "that was another run's end"
    host.sh(journal.ended_script(RUN["id"]))
    assert (host.journal / "lock").read_text().endswith("\nended\n")


def test_a_run_that_another_one_came_between_does_not_go_on(host: Host) -> None:
    host.sh(step_script.compile_step(Step("test", (write(host, "f", "x", None),)), RUN, 1).script.text)
    lock(host, HELD + "ended\n")
    step = step_script.compile_step(Step("test", (write(host, "g", "x", None),)), RUN, 2)
    with pytest.raises(step_script.Refused, match="another run has changed this host since this one began: "):
        step.outcomes(host.sh(step.script.text))
    assert set(host.files()) == {"f"}


@pytest.mark.parametrize("taking", [False, True])
def test_a_run_whose_changes_wait_to_be_confirmed_is_not_overtaken(tmp_path: Path, taking: bool) -> None:
    host = ArmedHost(tmp_path)
    assert host.apply(armed_write(host, "a")) == [""]
    os.utime(host.journal / "lock", (time.time() - 60, time.time() - 60))
    if taking:
        (host.journal / RUN["id"] / "armed").rename(host.journal / RUN["id"] / "taking")
    step = step_script.compile_step(Step("test", (armed_write(host, "b", commit_confirmed=False),)), other(7), 1)
    with pytest.raises(step_script.Refused, match=f"changes of run {RUN['id']} wait to be confirmed"):
        step.outcomes(host.sh(step.script.text))
    assert not (host.root / "b").exists()
    host.timer()
    assert not (host.root / "a").exists()
    assert [outcome.error for outcome in step.outcomes(host.sh(step.script.text)).values()] == [""]


def test_what_a_step_leaves_running_does_not_keep_the_lock(host: Host) -> None:
    free = "[ ! -e /proc/$$/fd/9 ]"
    (host.root / "conf").write_text("{}\n")
    daemon = service(host)
    daemon = replace(daemon, activate=f"{free} && {daemon.activate}", healthy=f"{free} && {daemon.healthy}")
    changes: list[Change] = [
        write(host, "f", "x", None, validate=free, activate=free),
        Command("test", "go", script=free, undo=free),
        MergeJson("test", "set", path=str(host.root / "conf"), before="{}\n", put={"a": 1}, service=daemon),
    ]
    assert [error for error in apply(host, *changes) if error] == []
    assert len(said := host.undo()) == 4
    assert [outcome.error for outcome in said.values() if outcome.error] == []


def test_a_rollback_takes_its_turn_under_its_own_name(host: Host) -> None:
    apply(host, write(host, "f", "x", None))
    with at_work(host):
        script = journal.undo_script(journal.Orders(RUN["id"]), other(59) | {"kind": "rollback"})
        assert other(7)["id"] in script.answer(host.sh(script.text))[JOURNAL].error
    lock(host)
    host.sh(script.text)
    assert (host.journal / "lock").read_text().startswith(f"{other(59)['id']} ")


def test_what_lies_in_the_place_of_the_lock_is_named(host: Host) -> None:
    (host.journal / "lock").mkdir(parents=True)
    (error,) = apply(host, write(host, "f", "x", None))
    assert f"{host.journal}/lock is no plain file, so nothing was changed: remove it" in error
    (host.journal / "lock").rmdir()
    (host.journal / "lock").symlink_to("/dev/null")
    (error,) = apply(host, write(host, "f", "x", None))
    assert "is no plain file" in error
    assert host.files() == {}


def test_a_journal_behind_a_link_is_refused(host: Host, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    host.journal.symlink_to("elsewhere")
    (error,) = apply(host, write(host, "f", "x", None))
    assert "is a symbolic link, not a folder, " not in error
    assert "is a symbolic link, not a folder" in error
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_journal_that_belongs_to_another_user_is_refused(host: Host) -> None:
    host.journal.mkdir()
    os.chown(host.journal, 12345, 12345)
    (error,) = apply(host, write(host, "f", "x", None))
    assert "does not belong to root" in error


def test_the_journal_is_roots_alone(host: Host) -> None:
    host.journal.mkdir(mode=0o777)
    host.journal.chmod(0o777)
    apply(host, write(host, "f", "x", None))
    assert host.journal.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("spoiled", [False, True])
def test_nothing_keeps_the_host_from_taking_back_what_nobody_confirmed(tmp_path: Path, spoiled: bool) -> None:
    host = ArmedHost(tmp_path)
    assert host.apply(armed_write(host, "a"), Command("test", "go", script=":", undo="", commit_confirmed=True)) == [
        "",
        "",
    ]
    lock = host.journal / "lock"
    lock.unlink()
    if spoiled:
        lock.mkdir()
    host.timer()
    assert not (host.root / "a").exists()
    assert not host.armed()


def test_a_revert_takes_its_file_back_though_it_was_changed_meanwhile(tmp_path: Path) -> None:
    """Half a network is none: what an admin wrote in these two minutes is kept in the journal alone."""
    host = ArmedHost(tmp_path)
    host.apply(armed_write(host, "a"))
    (host.root / "a").write_text("an admin's\n")
    host.timer()
    assert not (host.root / "a").exists()
    assert (host.journal / RUN["id"] / "0001" / "replaced").read_text() == "an admin's\n"
    assert "/0001/replaced" in (host.journal / RUN["id"] / "0001" / "note").read_text()


@pytest.mark.parametrize("removal", [False, True])
def test_what_was_written_after_an_undo_is_kept_where_the_host_takes_that_undo_back(
    tmp_path: Path, removal: bool
) -> None:
    host, entry = ArmedHost(tmp_path), tmp_path / "state" / "journal" / RUN["id"] / "0001"
    path = host.root / "a"
    if removal:
        path.write_text("old\n")
    remove = RemoveFile("test", "remove", path=str(path), before="old\n", commit_confirmed=True)
    assert host.apply(remove if removal else armed_write(host, "a")) == [""]
    host.confirm()
    script = journal.undo_script(journal.Orders(RUN["id"]), RUN)
    assert script.answer(host.sh(script.text))["0001"].error == ""
    path.write_text("an admin's\n")
    host.timer()
    assert (path.read_text() if path.exists() else None) == (None if removal else "new\n")
    (kept,) = entry.glob("kept-*")
    assert kept.read_text() == "an admin's\n"
    assert str(kept) in (entry / "note").read_text()


def test_an_undo_that_is_taken_back_keeps_no_copy_of_what_nobody_wrote(tmp_path: Path) -> None:
    host, entry = ArmedHost(tmp_path), tmp_path / "state" / "journal" / RUN["id"] / "0001"
    host.apply(armed_write(host, "a"))
    host.confirm()
    host.sh(journal.undo_script(journal.Orders(RUN["id"]), RUN).text)
    host.timer()
    assert (host.root / "a").read_text() == "new\n"
    assert not list(entry.glob("kept-*"))
