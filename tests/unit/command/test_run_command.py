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


@pytest.mark.parametrize("own_config", [False, True])
@pytest.mark.parametrize("words", [["@local", "--limit", "nope"], ["nosuch.py"], ["empty.py"]])
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


def test_what_begins_no_run_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("hosts = [\n")
    done = hullproof("drift", "broken.py", cwd=tmp_path)
    assert done.returncode == 1
