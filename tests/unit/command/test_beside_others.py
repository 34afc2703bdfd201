"""Beside a pyinfra repository of somebody's own, with packages of the names that ours have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.entry_points import PYINFRA, ROOT, report


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Their folder: two packages, an inventory, group data, and a config.py."""
    for name in ("deploys", "facts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("HOSTS = ['@local']\n")
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data" / "all.py").write_text("policy = 'strict'\nreport = 'out'\n")
    (tmp_path / "config.py").write_text("from pyinfra import config\nconfig.PARALLEL = 2\n")
    (tmp_path / "hosts.py").write_text("hosts = ['@local']\n")
    return tmp_path


def call(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYINFRA_PROGRESS": "off", "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=cwd, env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL)


def test_their_inventory_and_group_data_are_used_with_our_packages(theirs: Path) -> None:
    done = call(sys.executable, "-m", "hullproof", "drift", "hosts.py", cwd=theirs)
    found = report(theirs / "out")
    assert done.returncode == found["exit_code"] != 1, done.stderr
    assert found["run"]["policy"] == "strict"


@pytest.mark.parametrize("name", ["deploys", "facts"])
def test_a_package_of_theirs_that_is_loaded_already_is_refused_in_a_sentence(theirs: Path, name: str) -> None:
    (theirs / "hosts.py").write_text(f"from {name} import HOSTS\nhosts = HOSTS\n")
    env = {"PYTHONPATH": ""}
    done = subprocess.run(
        [PYINFRA, "hosts.py", str(ROOT / "deploys" / "drift.py"), "-y"], cwd=theirs, env=os.environ | env, text=True,
        capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    where = f"the package {name} of {theirs} is loaded in this process, and hullproof in {ROOT} has one of that name"
    said = " ".join(done.stderr.split())
    assert where in said
    assert "run hullproof's deploys in a run of their own" in said
