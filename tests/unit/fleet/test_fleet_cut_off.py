"""A worker is killed while a step of its run is under way on a host: the host's journal and lock carry it over to the
second attempt. The host is a folder in which the journal's scripts run for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploys.run.journal import Orders, undo_script
from tests.support.dask_workers import Cluster, cluster, until
from tests.support.entry_points import ROOT, report
from tests.support.journal import Host

QUIET = "3"  # seconds, in place of 20, after which a run without a step counts as dead
HARDEN = """
from deploys.core.change import Command
from tests.support import journal as at
os.umask(0o022)
folder = Path("FOLDER", host)
at.RUN = at.RUN | {"id": f"20260101T0000{len(os.listdir(folder)):02d}Z-{os.getpid():06x}"[-23:]}
print(os.getppid(), at.RUN["id"], file=open("FOLDER/attempts", "a"), flush=True)
there = at.Host(folder)
before = (folder / "a").read_text()
changes = [at.write(there, "a", "new", before)] if before != "new" else []
script = f"until [ -e FOLDER/go ]; do sleep 0.1; done; echo live >{folder}/b"
changes += [Command("test", "set b", script=script, undo=f"rm -f {folder}/b")] if not (folder / "b").exists() else []
errors = [error for error in there.apply(*changes) if error]
print(errors, file=open("FOLDER/errors", "a"), flush=True)
"""
CLIENT = """
import sys
from hullproof.fleet import __main__, cluster
cluster.AGAIN_SECONDS = 0
address, report = sys.argv[1:]
words = ["-y", "--data", "batch=100%", "--data", "report=" + report]
sys.exit(__main__.main("harden", "a,b", words, scheduler=address))
"""


def harden(made: Cluster) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLIENT, made.address, str(made.folder / "out")]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_change_that_was_under_way_is_finished_by_the_host_and_found_by_the_second_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HULLPROOF_QUIET", QUIET)
    attempts = tmp_path / "attempts"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("old")
    with cluster(tmp_path, HARDEN.replace("FOLDER", str(tmp_path))) as made:
        for _ in range(3):
            made.worker()
        run = harden(made)
        until(lambda: all((tmp_path / name / "a").read_text() == "new" for name in ("a", "b")), run)
        killed, *_ = attempts.read_text().split()
        os.kill(int(killed), signal.SIGKILL)
        until(lambda: len(attempts.read_text().splitlines()) == 3, run)
        (tmp_path / "go").touch()
        _, err = run.communicate()
    assert (tmp_path / "errors").read_text() == "[]\n[]\n", err
    assert {host["status"] for host in report(tmp_path / "out")["hosts"].values()} == {"ok"}
    for name in ("a", "b"):
        host = Host(tmp_path / name)
        assert host.files() == {"a": "new", "b": "live\n"}
        for journal in sorted(host.journal.glob("*/run.json"), reverse=True):
            script = undo_script(Orders(journal.parent.name), {"id": "20260102T000000Z-abcdef", "kind": "rollback"})
            assert all(not outcome.error for outcome in script.answer(host.sh(script.text)).values())
        assert host.files() == {"a": "old"}
