"""`hullproof drift` as an operator types it: real runs, from any folder, with every kind of inventory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.entry_points import ROOT, report


def hullproof(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hullproof", *words], cwd=cwd, text=True, capture_output=True, stdin=subprocess.DEVNULL,
        env=os.environ | {"PYINFRA_PROGRESS": "off", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_drift_of_this_host_from_another_folder(tmp_path: Path) -> None:
    done = hullproof("drift", "@local", "--report", "out", cwd=tmp_path)
    assert done.returncode == report(tmp_path / "out")["exit_code"] != 1, done.stderr
    assert done.stderr.startswith(f"runs: pyinfra @local {ROOT}/deploys/drift.py -y --data report=out")


def test_what_is_found_is_added_to_a_history(tmp_path: Path) -> None:
    words = ("drift", "@local", "--report", "out", "--history")
    done = hullproof(*words, "history", cwd=tmp_path)
    found = report(tmp_path / "out")
    assert done.returncode == found["exit_code"], done.stderr
    assert [path.stem for path in (tmp_path / "history").glob("*/*.parquet")] == [found["run"]["id"]]
    assert "<h2>Until now</h2>\n<svg" in (tmp_path / "out/report.html").read_text()
    done = hullproof(*words, "out/report.json/history", cwd=tmp_path)
    assert "hullproof: not added to the history in out/report.json/history: out/report.json/" in done.stderr
    assert done.stderr.endswith(". Exit code 1.\n")
    assert done.returncode == 1


@pytest.mark.parametrize("own_config", [False, True])
@pytest.mark.parametrize("words", [["@local", "--limit", "nope"], ["empty.py"]])
def test_nobody_to_judge_ends_with_1(tmp_path: Path, words: list[str], own_config: bool) -> None:
    (tmp_path / "empty.py").write_text("hosts = []\n")
    if own_config:
        (tmp_path / "config.py").write_text("")
    done = hullproof("drift", *words, cwd=tmp_path)
    assert done.returncode == 1
    if own_config:
        assert "pyinfra exited 0 before the run came to its end" in done.stderr
    else:
        assert "no host in the inventory, or none in --limit" in done.stdout


def test_an_inventory_that_is_not_there_is_said_and_no_report_is_lost(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/report.json").write_text("of the run before")
    done = hullproof("drift", "nosuch.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "Error: there is no inventory nosuch.py: nothing was run\n")
    assert (tmp_path / "reports/report.json").read_text() == "of the run before"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/empty.py").write_text("hosts = []\n")
    assert "no host in the inventory" in hullproof("drift", "empty.py", "--chdir", "other", cwd=tmp_path).stdout


def test_what_begins_no_run_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("hosts = [\n")
    done = hullproof("drift", "broken.py", cwd=tmp_path)
    assert done.returncode == 1


def test_to_look_at_past_runs_writes_no_report(tmp_path: Path) -> None:
    done = hullproof("runs", "@local", "--data", "report=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "can be rolled back" in done.stdout
    assert "Exit code 0: all journals were read." in done.stdout
    assert not (tmp_path / "out").exists()
