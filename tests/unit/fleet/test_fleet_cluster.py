"""A run over a scheduler and workers as processes, some of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hullproof.commands.fleet import SCHEDULER
from tests.support.dask_workers import Cluster, cluster, until
from tests.support.entry_points import ROOT, report

# Each host leaves a file with the pids of what surveys it; a slow one goes on when there is a file NAME.go.
WAITS = """
import time
print(host, os.getpid(), os.getppid(), file=open("FOLDER/" + host + ".attempts", "a"), flush=True)
while host.startswith("slow") and not Path("FOLDER/" + host + ".go").exists(): time.sleep(0.05)
"""


def attempts(tmp_path: Path, host: str) -> list[str]:
    path = tmp_path / f"{host}.attempts"
    return path.read_text().splitlines() if path.exists() else []


def drift(made: Cluster, *hosts: str) -> subprocess.Popen[str]:
    """`hullproof drift` of hosts; `name@region`, where they have one."""
    each = (host.partition("@") for host in hosts)
    named = [(name, {"region": region} if region else {}) for name, _, region in each]
    (made.folder / "hosts.py").write_text(f"fleet = {named!r}\n")
    command = [sys.executable, "-m", "hullproof", "drift", str(made.folder / "hosts.py")]
    return subprocess.Popen(
        [*command, "--scheduler", made.address, "--report", str(made.folder / "out")], cwd=ROOT, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def ends(made: Cluster) -> dict[str, Any]:
    return {name: host["error"] or host["status"] for name, host in report(made.folder / "out")["hosts"].items()}


def waits(tmp_path: Path) -> str:
    return WAITS.replace("FOLDER", str(tmp_path))


def test_the_hosts_of_a_worker_that_is_killed_are_surveyed_by_another(tmp_path: Path) -> None:
    with cluster(tmp_path, waits(tmp_path)) as made:
        for _ in range(4):
            made.worker()
        run = drift(made, "slow", "b", "c", "d", "e", "f", "g", "h")
        until(lambda: attempts(tmp_path, "slow"), run)
        _, part, worker = attempts(tmp_path, "slow")[0].split()
        os.kill(int(worker), signal.SIGKILL)
        until(lambda: len(attempts(tmp_path, "slow")) == 2, run)
        assert not Path(f"/proc/{part}/cmdline").exists() or not Path(f"/proc/{part}/cmdline").read_bytes()
        (tmp_path / "slow.go").touch()
        out, err = run.communicate()
    assert ends(made) == dict.fromkeys(["slow", "b", "c", "d", "e", "f", "g", "h"], "ok"), err
    assert out.count("Exit code") == 1
    assert {len(attempts(tmp_path, host)) for host in "cdefgh"} == {1}
    ids = [part["id"] for part in report(tmp_path / "out")["run"]["parts"]]
    assert len(set(ids)) == 4, "each attempt is a run of its own in the hosts' journals"


def test_a_second_death_is_the_last(tmp_path: Path) -> None:
    with cluster(tmp_path, waits(tmp_path)) as made:
        for _ in range(3):
            made.worker()
        run = drift(made, "slow", "b", "c")
        until(lambda: len(attempts(tmp_path, "slow")) == 1, run)
        os.kill(int(attempts(tmp_path, "slow")[0].split()[2]), signal.SIGKILL)
        until(lambda: len(attempts(tmp_path, "slow")) == 2, run)
        os.kill(int(attempts(tmp_path, "slow")[1].split()[2]), signal.SIGKILL)
        run.communicate()
    assert ends(made) == {
        "slow": "two workers died, one after the other, while they had this host", "b": "ok", "c": "ok"
    }  # fmt: skip
    assert report(tmp_path / "out")["hosts"]["slow"]["status"] == "unreachable"
    assert run.returncode == 1


def test_hosts_go_to_workers_of_their_region(tmp_path: Path) -> None:
    with cluster(tmp_path, waits(tmp_path)) as made:
        workers = {"eu": made.worker("eu").pid, "us": made.worker("us").pid}
        run = drift(made, "a@eu", "b@us", "c@eu", "d@mars", "e")
        _, err = run.communicate()
    for host, region in {"a": "eu", "b": "us", "c": "eu"}.items():
        assert [line.split()[2] for line in attempts(tmp_path, host)] == [str(workers[region])]
    assert ends(made) | {"d": ""} == dict.fromkeys("abce", "ok") | {"d": ""}
    assert ends(made)["d"] == "no worker of the region mars is connected to the scheduler"
    assert run.returncode == 1, err


def test_a_scheduler_that_goes_away_loses_nothing_that_came(tmp_path: Path) -> None:
    with cluster(tmp_path, waits(tmp_path)) as made:
        made.worker()
        made.worker()
        run = drift(made, "slow", "b")
        assert run.stderr
        until(lambda: "1 of 2 hosts" in run.stderr.readline())  # type: ignore[union-attr]
        until(lambda: attempts(tmp_path, "slow"), run)
        made.scheduler.kill()
        out, err = run.communicate()
    why = f"the scheduler at {made.address} went away"
    assert ends(made) == {"slow": f"{why} while a worker had this host", "b": "ok"}
    assert report(tmp_path / "out")["run"]["problem"] == why
    assert why in " ".join(out.split())
    assert "Traceback" not in err, err
    assert run.returncode == 1


def test_ctrl_c_waits_for_what_is_under_way(tmp_path: Path) -> None:
    with cluster(tmp_path, waits(tmp_path)) as made:
        made.worker("eu")
        run = drift(made, "slow@eu", *(f"h{number}@eu" for number in range(300)))
        until(lambda: attempts(tmp_path, "slow"), run)
        run.send_signal(signal.SIGINT)
        (tmp_path / "slow.go").touch()
        run.communicate()
    found = ends(made)
    assert found["slow"] == found["h0"] == "ok"
    assert found["h299"] == "the run was ended (SIGINT) before it came to this host"
    assert run.returncode == 1


def test_without_a_worker_nothing_begins(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        until(lambda: "Scheduler at" in (tmp_path / "0.log").read_text())
        run = drift(made, "a")
        _, err = run.communicate()
    assert run.returncode == 1
    assert f"no worker is connected to the scheduler at {made.address}" in err


def test_a_scheduler_that_would_try_again_by_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULER, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "3")
    with cluster(tmp_path) as made:
        made.worker()
        _, err = drift(made, "a").communicate()
    assert "would give a part to 4 workers without asking" in err
