"""A shift that is cut off, wherever that is: what was begun is taken back, or finished, and nothing of it is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from deploys.core.change import Blocked, Change
from deploys.engines.rootless import shift
from deploys.run.journal import Orders, undo_script
from facts.core.record import Record
from facts.core.survey import Survey
from facts.userns import Userns
from tests.support import userns
from tests.support.journal import RUN, Host, apply, host, other, record
from tests.support.shifting import NEW, OLD, ROWS, UID, expected, planned, script, state, storage

__all__ = ["host"]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("getfattr"), reason="needs root, and getfattr (package attr)"
)

# A program of the script counts its calls, and at the last one ends it with all that it runs.
COUNTING = """\
#!/bin/sh
echo >>{count}
[ $(wc -l <{count}) != {most} ] || kill -9 0
exec {program} "$@"
"""
POINTS = [
    *(("mkdir", number) for number in (1, 4, 6)),
    *(("mv", number) for number in range(4, 12)),
    *(("chown", number) for number in range(1, 12)),
    *(("chmod", number) for number in (2, 3, 4)),
    *(("setfattr", number) for number in (1,)),
    *(("rm", number) for number in (1,)),
    ("stat", 4), ("getfattr", 1), ("sync", 17),
]  # fmt: skip


def run(host: Host, text: str, program: str, most: int) -> bool:
    """Whether the script was cut off at that call."""
    folder = host.root / "programs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    real, count = shutil.which(program), folder / "count"
    (folder / program).write_text(COUNTING.format(count=count, most=most, program=real))
    (folder / program).chmod(0o755)
    env = os.environ | {"HULLPROOF_JOURNAL": str(host.journal)}
    text = text.replace("PATH=/usr/local/sbin", f"PATH={folder}:/usr/local/sbin", 1)
    done = subprocess.run(
        ["sh", "-s"], input=text, text=True, capture_output=True, env=env, start_new_session=True, check=False
    )
    shutil.rmtree(folder)
    return done.returncode == -9


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was cut off counts as dead after a second."""
    monkeypatch.setenv("HULLPROOF_QUIET", "1")


def rows(host: Host) -> set[str]:
    return {(host.root / name).read_text() for name in ("subuid", "subgid")}


@pytest.mark.parametrize(("program", "number"), POINTS)
def test_an_undo_takes_back_what_was_cut_off(host: Host, program: str, number: int) -> None:
    at = storage(host)
    before = state(at)
    assert run(host, script(planned(host, at)), program, number), "it came to its end"
    assert all(not outcome.error for outcome in host.undo().values())
    assert (state(at), rows(host)) == (before, {ROWS})


def settled(host: Host) -> Change:
    """What the next run has for it."""
    texts = ((host.root / name).read_text() for name in ("subuid", "subgid"))
    reading = userns.reading(*texts, passwd={"root": 0, "alice": UID}, group={"root": 0})
    return shift.settle(Survey({Record: record(host), Userns: reading}), "alice")


@pytest.mark.parametrize(("program", "number"), [("mkdir", 6), ("chown", 1), ("chown", 6), ("setfattr", 1), ("rm", 1)])
def test_the_next_run_finishes_what_was_cut_off_once_the_rows_were_there(host: Host, program: str, number: int) -> None:
    at = storage(host)
    before = state(at)
    assert run(host, script(planned(host, at)), program, number), "it came to its end"
    change = settled(host)
    assert change.what == f"finish the shift of alice's ids, which run {RUN['id']} had begun"
    assert apply(host, replace(change, subject="test"), run=other(9)) == [""]
    assert state(at) == expected(before)
    assert shift.cut_off(Survey({Record: record(host)})) == {}
    undoing = undo_script(Orders(RUN["id"]), other(10))
    assert all(not outcome.error for outcome in undoing.answer(host.sh(undoing.text)).values())
    assert (state(at), rows(host)) == (before, {ROWS})


def test_a_run_that_was_cut_off_before_the_rows_has_begun_nothing(host: Host) -> None:
    at = storage(host)
    before = state(at)
    assert run(host, script(planned(host, at)), "base64", 1)
    change = settled(host)
    assert change.what.startswith("take back the shift of alice's ids")
    assert apply(host, replace(change, subject="test"), run=other(9)) == [""]
    assert shift.cut_off(Survey({Record: record(host)})) == {}
    assert (state(at), rows(host)) == (before, {ROWS})


def test_between_the_two_files_only_a_rollback_knows_what_is_whose(host: Host) -> None:
    at = storage(host)
    assert run(host, script(planned(host, at)), "base64", 2)
    change = settled(host)
    assert isinstance(change, Blocked)
    assert change.by_hand == f"roll that back (--data run={RUN['id']})"


@pytest.mark.parametrize(
    ("program", "number"),
    [("chown", 1), ("chown", 2), ("chown", 6), ("setfattr", 1), ("chmod", 2), ("mv", 6), ("rm", 2), ("rm", 3)],
)
def test_an_undo_that_was_cut_off_goes_on(host: Host, program: str, number: int) -> None:
    at = storage(host)
    before = state(at)
    host.sh(script(planned(host, at)))
    text = undo_script(Orders(RUN["id"]), RUN).text
    assert run(host, text, program, number), "it came to its end"
    assert all(not outcome.error for outcome in host.undo().values())
    assert (state(at), rows(host)) == (before, {ROWS})


def test_an_undo_that_may_not_go_on_leaves_the_files_with_the_rows(host: Host) -> None:
    at = storage(host)
    before = state(at)
    host.sh(script(planned(host, at)))
    running = subprocess.Popen(["sleep", "1000"], user=UID, group=UID, extra_groups=[])
    try:
        said = host.undo()
    finally:
        running.kill()
        running.wait()
    assert "these processes run as the user" in said["0001"].error
    assert state(at) == expected(before)
    assert rows(host) == {f"bob:{OLD}:65536\nalice:{NEW}:65536\n"}
    assert all(not outcome.error for outcome in host.undo().values())
    assert (state(at), rows(host)) == (before, {ROWS})


def test_a_folder_that_is_closed_is_not_given_up_under_another_name(host: Host) -> None:
    at = storage(host)
    before = state(at)
    assert run(host, script(planned(host, at)), "chown", 6)
    moved = at.with_name("moved")
    at.rename(moved)
    at.mkdir()
    os.chown(at, UID, UID)
    assert "is no longer the folder that was closed" in host.undo()["0001"].error
    at.rmdir()
    moved.rename(at)
    assert all(not outcome.error for outcome in host.undo().values())
    assert (state(at), rows(host)) == (before, {ROWS})
