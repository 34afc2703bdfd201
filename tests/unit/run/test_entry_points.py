"""The entry points as commands: from any folder, with every kind of inventory, with their exit codes and reports."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.entry_points import PYINFRA, ROOT, report

# Nothing listens on the discard port of loopback: refused at once.
CLOSED = '("closed", {"ssh_hostname": "127.0.0.1", "ssh_port": 9, "ssh_strict_host_key_checking": "no"})'


def pyinfra(*words: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYINFRA, "-y", *words], cwd=cwd, env=os.environ | {"PYINFRA_PROGRESS": "off"} | env, text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def test_drift_runs_from_any_folder_past_packages_that_shadow_ours(tmp_path: Path) -> None:
    for name in ("facts", "deploys"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the wrong package')")
    done = pyinfra(
        str(ROOT / "inventory"), str(ROOT / "deploys" / "drift.py"), "--data", f"report={tmp_path}/out",
        cwd=tmp_path, PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode in (0, 2, 3), done.stderr
    (host,) = report(tmp_path / "out")["hosts"].values()
    assert host["status"] == "ok"
    assert host["findings"]


def test_a_host_out_of_reach_is_reported_beside_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "hosts.py").write_text(f'hosts = ["@local", {CLOSED}]')
    done = pyinfra(str(tmp_path / "hosts.py"), "deploys/drift.py", "--data", f"report={tmp_path}")
    assert done.returncode == 1
    hosts = report(tmp_path)["hosts"]
    assert {name: host["status"] for name, host in hosts.items()} == {"@local": "ok", "closed": "unreachable"}
    assert hosts["@local"]["findings"]


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (["inventory", "--limit", "typo"], []),
        (["nosuch.py"], []),
        (["HOSTS"], ["closed"]),
    ],
)
def test_nobody_to_judge_is_an_error(tmp_path: Path, words: list[str], hosts: list[str]) -> None:
    (tmp_path / "hosts.py").write_text(f"hosts = [{CLOSED}]")
    named = [word.replace("HOSTS", str(tmp_path / "hosts.py")) for word in words]
    done = pyinfra(*named, "deploys/drift.py", "--data", f"report={tmp_path}")
    assert done.returncode == 1
    assert list(report(tmp_path)["hosts"]) == hosts
    assert report(tmp_path)["exit_code"] == 1


def test_a_policy_with_a_typo_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("extends: baseline\nwaiver: []\n")
    done = pyinfra(
        "inventory", "deploys/harden.py", "--data", f"report={tmp_path}", "--data", f"policy={tmp_path}/p.yml"
    )
    assert done.returncode == 1
    assert 'p.yml:2: waiver: no such key; did you mean "waivers"?' in done.stderr
    assert "Traceback" not in done.stderr
    (host,) = report(tmp_path)["hosts"].values()
    assert host["status"] == "error"
    assert "waivers" in host["error"]


def test_a_part_of_the_controls_is_judged_and_said_to_be_a_part(tmp_path: Path) -> None:
    done = pyinfra("@local", "deploys/drift.py", "--data", "only=kernel,low", "--data", f"report={tmp_path}")
    found = report(tmp_path)
    (host,) = found["hosts"].values()
    assert {row["subject"] for row in host["findings"] if row["severity"] != "low"} == {"kernel"}
    asked = {"asked": ["kernel", "low"], "controls": len(host["findings"]), "of": found["run"]["only"]["of"]}
    assert found["run"]["only"] == asked
    said = " ".join(done.stdout.split())
    assert f"Judged only {asked['controls']} of {asked['of']} controls (only=kernel,low)." in said


@pytest.mark.parametrize(
    ("words", "data", "said"),
    [
        (["drift.py", "--data", "only=kernle"], {}, "only=kernle: no control or subject has this name"),
        (["rollback.py", "--data", "only=kernel"], {}, "only= is for drift and harden"),
        (["drift.py"], {"only": "kernel"}, "the inventory's data gives only: it is for one run"),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(
    tmp_path: Path, words: list[str], data: dict[str, str], said: str
) -> None:
    (tmp_path / "hosts.py").write_text(f"hosts = [('@local', {data!r})]\n")
    done = pyinfra(str(tmp_path / "hosts.py"), f"deploys/{words[0]}", *words[1:], "--data", f"report={tmp_path}")
    assert done.returncode == 1
    assert said in " ".join(done.stdout.split())
    assert [host["findings"] for host in report(tmp_path)["hosts"].values() if host["status"] != "error"] == []


def test_a_dry_harden_says_what_it_would_do_and_leaves_no_trace(tmp_path: Path) -> None:
    done = subprocess.run(
        [PYINFRA, "inventory", "deploys/harden.py", "--dry", "--data", f"report={tmp_path}"], cwd=ROOT, text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=120, env=os.environ | {"PYINFRA_PROGRESS": "off"},
    )  # fmt: skip
    assert done.returncode in (0, 2, 3), done.stderr
    assert report(tmp_path)["run"]["kind"] == "harden"
    (host,) = report(tmp_path)["hosts"].values()
    assert host["changes"] == []


def test_json_output_stays_json(tmp_path: Path) -> None:
    done = pyinfra("inventory", "deploys/drift.py", "--json", "--data", f"report={tmp_path}")
    assert json.loads(done.stdout)
