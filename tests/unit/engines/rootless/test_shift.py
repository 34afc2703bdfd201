"""A user's stored files get the ids of another range: with the real script, on real files, cut off at any point."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploys.core.change import WriteFile
from deploys.engines.rootless import shift
from facts.engines.rootless.stored import Stored
from tests.support import userns
from tests.support.journal import Host, host
from tests.support.shifting import NEW, OLD, ROWS, UID, expected, planned, script, state, storage

__all__ = ["host"]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("getfattr"), reason="needs root, and getfattr (package attr)"
)


def shifted(host: Host, at: Path) -> str:
    """What the host said of the step."""
    return "\n".join(host.sh(script(planned(host, at))))


@contextmanager
def process(user: int) -> Iterator[None]:
    """A process that runs with this id."""
    running = subprocess.Popen(["sleep", "1000"], user=user, group=user, extra_groups=[])
    try:
        yield
    finally:
        running.kill()
        running.wait()


def test_all_that_has_the_old_ids_has_the_new_ones_and_nothing_else_has_changed(host: Host) -> None:
    at = storage(host)
    before, outside = state(at), (host.root / "outside").stat()
    said = shifted(host, at)
    assert " fail " not in said, said
    assert state(at) == expected(before)
    assert (host.root / "outside").stat()[:8] == outside[:8], "a link is not followed"
    assert (host.root / "subuid").read_text() == f"bob:{OLD}:65536\nalice:{NEW}:65536\n"
    assert all(not outcome.error for outcome in host.undo().values())
    assert state(at) == before
    assert (host.root / "subuid").read_text() == ROWS
    assert (host.root / "outside").stat()[:8] == outside[:8]


def test_ids_of_several_rows_stay_one_after_the_other() -> None:
    rows = "alice:700000:10\nalice:900000:70000\nbob:700000:9\n"
    reading = userns.reading(rows, rows, passwd={"root": 0, "alice": UID}, group={"root": 0})
    own = [row for row in reading.ranges if row.owner == "alice"]  # type: ignore[union-attr]
    nothing = Stored((), (), (), 0, 0, more=False, processes=0, tools=True)
    change = next(shift._changes(reading, "alice", own, nothing))
    assert isinstance(change, WriteFile)
    assert change.text.endswith(f"alice:{NEW}:70010\n")
    assert change.service is not None
    assert f"u:700000:10:{NEW} u:900000:70000:{NEW + 10} g:700000:10:{NEW}" in change.service.activate


@pytest.mark.parametrize("user", [UID, OLD + 99, NEW + 1])
def test_while_a_process_has_these_ids_nothing_is_changed(host: Host, user: int) -> None:
    at = storage(host)
    before = state(at)
    with process(user):
        said = shifted(host, at)
    assert "these processes run as the user or with these ids: sleep (" in said
    assert "was left alone" in said
    assert state(at) == before
    assert (host.root / "subuid").read_text() == ROWS


def test_a_file_that_has_a_name_outside_too_is_nobodys_to_shift(host: Host) -> None:
    at = storage(host)
    bobs = host.root / "bobs"
    bobs.write_text("bob's")
    os.chown(bobs, OLD + 3, OLD + 3)
    os.link(bobs, at / "taken")
    before = state(at)
    assert "has a name outside of it too" in shifted(host, at)
    assert state(at) == before
    assert bobs.stat().st_uid == OLD + 3


def test_a_folder_of_another_owner_is_not_entered(host: Host) -> None:
    at = storage(host)
    os.chown(at, UID + 1, UID)
    before = state(at)
    assert "does not belong to the user" in shifted(host, at)
    assert state(at) == before


def test_a_folder_that_is_a_link_is_the_one_that_it_leads_to(host: Host) -> None:
    at = storage(host)
    before = state(at)
    elsewhere = host.root / "data"
    at.rename(elsewhere)
    at.symlink_to(elsewhere)
    assert " fail " not in shifted(host, at)
    assert state(elsewhere) == expected(before)
    assert at.is_symlink()


def test_where_attributes_cannot_be_kept_nothing_is_changed(host: Host) -> None:
    at = storage(host)
    before = state(at)
    said = "\n".join(host.sh(script(planned(host, at), ("getfattr -h", "no-such-program -h"))))
    assert "no-such-program" in said
    assert state(at) == before
    assert (host.root / "subuid").read_text() == ROWS


def test_a_file_that_cannot_be_changed_takes_all_of_it_back(host: Host) -> None:
    at = storage(host)
    before = state(at)
    said = "\n".join(host.sh(script(planned(host, at), ("xargs -0 -r chmod", "xargs -0 -r false"))))
    assert "put back" in said
    assert state(at) == before
    assert (host.root / "subuid").read_text() == ROWS


def test_an_undo_leaves_what_is_another_file_by_now_and_says_so(host: Host) -> None:
    at = storage(host)
    before = state(at)
    shifted(host, at)
    (at / "plain").unlink()
    (at / "plain").write_text("made since")
    os.chown(at / "plain", NEW + 1, NEW + 1)
    (at / "made").write_text("too")
    os.chown(at / "made", NEW, NEW)
    (at / "layer/usr/bin/su").chmod(0o755)
    os.chown(at / "twice", UID, UID)
    note = next(outcome.note for outcome in host.undo().values() if outcome.note)
    after = state(at)
    left = {"plain", "made", "layer/usr/bin/su", "twice", "layer/again"}
    assert {path: value for path, value in after.items() if path not in left} == {
        path: value for path, value in before.items() if path not in left
    }
    assert after["plain"][:2] == (NEW + 1, NEW + 1)
    assert after["made"][:2] == (NEW, NEW)
    assert after["twice"][:2] == (UID, UID)
    assert after["layer/usr/bin/su"][:3] == (*before["layer/usr/bin/su"][:2], "0o100755")
    assert "3 files in" in note
    assert "2 files in" in note


def test_a_folder_that_is_gone_keeps_nothing_from_being_undone(host: Host) -> None:
    at = storage(host)
    shifted(host, at)
    shutil.rmtree(at)
    said = host.undo()
    assert all(not outcome.error for outcome in said.values())
    assert f"{at} is gone" in said["0001"].note
    assert (host.root / "subuid").read_text() == ROWS


def test_no_folder_at_all_is_shifted_too(host: Host) -> None:
    storage(host)
    said = "\n".join(host.sh(script(planned(host))))
    assert " fail " not in said
    assert NEW in {int(line.split(":")[1]) for line in (host.root / "subuid").read_text().splitlines()}
    assert all(not outcome.error for outcome in host.undo().values())
    assert (host.root / "subuid").read_text() == ROWS


def test_several_folders_are_shifted_together_or_none_is(host: Host) -> None:
    at = storage(host)
    docker = at.with_name("docker with blanks")
    shutil.copytree(at, docker, symlinks=True)
    for path in (docker, *docker.rglob("*")):
        os.chown(path, OLD + 9, OLD + 9, follow_symlinks=False)
    before = state(at), state(docker)
    assert "does not belong to the user" in "\n".join(host.sh(script(planned(host, at, docker))))
    assert (state(at), state(docker)) == before
    os.chown(docker, UID, UID)
    before = state(at), state(docker)
    shutil.rmtree(host.journal)
    assert " fail " not in "\n".join(host.sh(script(planned(host, at, docker))))
    assert {found[:2] for path, found in state(docker).items() if path != "."} == {(NEW + 9, NEW + 9)}
    assert state(at) == expected(before[0])
    assert all(not outcome.error for outcome in host.undo().values())
    assert (state(at), state(docker)) == before


def test_a_folder_that_is_not_there_is_not_passed_over(host: Host) -> None:
    at = storage(host)
    before = state(at)
    assert "nowhere is not there" in "\n".join(host.sh(script(planned(host, at, at.with_name("nowhere")))))
    assert state(at) == before
    assert (host.root / "subuid").read_text() == ROWS
