"""`hullproof init`: what it writes is right, and what is there already stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploys.core.policy_file import load_policy
from deploys.subjects import SUBJECTS
from hullproof.command import main
from hullproof.inventory import ask_inventory
from tests.support.entry_points import ROOT


def init(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, words)])


def test_the_files_are_right_and_a_run_takes_them(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "hosts"
    done = init(folder)
    assert done.exit_code == 0
    assert done.output.endswith(f"Next: hullproof drift {folder}/inventory.py\n")
    (host,) = ask_inventory(str(folder / "inventory.py"))
    assert (host.name, host.data["policy"]) == ("@local", str(folder / "policy.yml"))
    assert host.data["ssh_strict_host_key_checking"] == "yes"
    assert load_policy(host.data["policy"], SUBJECTS).plain == load_policy("baseline", SUBJECTS).plain
    run = subprocess.run(
        [sys.executable, "-m", "hullproof", "drift", "hosts/inventory.py", "--report", "out"],
        cwd=folder.parent, env=os.environ | {"PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"}, capture_output=True,
    )  # fmt: skip
    report = json.loads((folder.parent / "out" / "report.json").read_bytes())
    assert run.returncode == report["exit_code"] != 1
    assert report["run"]["policy"] == str(folder / "policy.yml")


def test_what_the_comments_show_is_right_too(tmp_path: Path) -> None:
    init(tmp_path)
    policy = tmp_path / "policy.yml"
    shown = policy.read_text().replace("waivers: []\n", "waivers:\n")
    for line in ("docker:", "  trusted_users: [deploy]", "- control:", "  reason:", "  owner:", "  until:", "  only:"):
        assert f"\n# {line}" in shown
        shown = shown.replace(f"\n# {line}", f"\n{line}")
    policy.write_text(shown)
    assert [waiver.control for waiver in load_policy(str(policy), SUBJECTS).waivers] == ["containers.privileged"]
    inventory = tmp_path / "inventory.py"
    inventory.write_text(inventory.read_text().replace("# canary", "canary").replace("# databases", "databases"))
    assert {host.name for host in ask_inventory(str(inventory))} == {"@local", "canary.example.net", "db1.example.net"}


@pytest.mark.parametrize("name", ["inventory.py", "policy.yml", "group_data/all.py"])
def test_nothing_is_written_over_and_then_nothing_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(tmp_path / "elsewhere")  # what points nowhere is somebody's too
    done = init(tmp_path)
    assert (done.exit_code, done.output) == (1, f"Error: {tmp_path}: {name} is there already; nothing was written\n")
    assert [each for each in tmp_path.rglob("*") if not each.is_dir()] == [path]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "group_data").write_text("")
    done = init(tmp_path)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "nothing was written" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["group_data"]
    assert init(tmp_path / "group_data").exit_code == 1


def test_twice_is_refused(tmp_path: Path) -> None:
    assert [init(tmp_path).exit_code, init(tmp_path).exit_code] == [0, 1]
