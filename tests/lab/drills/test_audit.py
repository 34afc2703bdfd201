"""auditd on a stock host: rules in force live and after a boot, beside other people's, and taken back.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
POLICY = "audit: {enabled: true, engine_files: true, denials: true}\n"
WATCHED = ("/usr/sbin/dockerd", "/etc/docker", "/etc/docker/daemon.json", "/run/containerd/containerd.sock",
           "/usr/bin/containerd", "/usr/bin/runc", "/var/lib/docker")  # fmt: skip

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]

Deploy = Callable[..., Result]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


@pytest.fixture(scope="module")
def deploy(vm: Vm, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Run a deploy under a policy of auditing alone."""
    path: Path = tmp_path_factory.mktemp("policy") / "audit.yml"
    path.write_text(POLICY)
    return lambda name, *options: run(vm, name, "--data", f"policy={path}", *options)


def rules(vm: Vm) -> str:
    return vm.ssh("auditctl -l").stdout


def test_before_nothing_is_recorded(vm: Vm, deploy: Deploy) -> None:
    assert vm.ssh("command -v auditctl", check=False).returncode != 0
    before = deploy("drift.py")
    assert before.states()["audit.running"] == before.states()["audit.engine-files"] == "fail"
    assert "not installed" in before.reason("audit.engine-files")


def test_hardening_has_the_kernel_watch_now(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    vm.ssh("chgrp 100000 /var/lib/docker")  # as Docker does at its start with userns-remap
    harden = deploy("harden.py")
    story["run"] = harden.report["run"]["id"]
    assert harden.code == 0, harden.out + harden.err
    assert vm.ssh("stat -c %a:%g /var/lib/docker").stdout.strip().endswith(":100000"), "or no container would start"
    for path in WATCHED:
        assert f"={path} -F perm" in rules(vm) or f"-w {path} -p" in rules(vm), rules(vm)
    assert " 1" in vm.ssh("auditctl -s | grep enabled").stdout, "rules are not immutable unasked"


def test_a_change_of_the_engines_settings_is_on_record(vm: Vm) -> None:
    assert vm.ssh("ausearch --input-logs -k hullproof -f /etc/docker/daemon.json", check=False).returncode != 0
    vm.ssh("echo '{}' >/etc/docker/daemon.json; rm /etc/docker/daemon.json; sleep 2")
    assert "daemon.json" in vm.ssh("ausearch --input-logs -k hullproof -f /etc/docker/daemon.json").stdout


def test_a_second_run_changes_nothing(deploy: Deploy) -> None:
    assert deploy("harden.py").host()["changes"] == []


def test_rules_taken_away_live_come_back_and_others_stay(vm: Vm, deploy: Deploy) -> None:
    vm.ssh("auditctl -D -k hullproof; auditctl -w /etc/passwd -p wa -k theirs")
    drift = deploy("drift.py")
    assert "no loaded audit rule watches" in drift.reason("audit.engine-files")
    assert deploy("harden.py").code == 0
    assert "/usr/sbin/dockerd" in rules(vm)
    assert "/etc/passwd" in rules(vm), "a live rule of somebody else is on no disk, and was not lost"
    vm.save("rules")


def test_rules_are_there_after_a_boot_before_containerd_made_its_folder(vm: Vm, deploy: Deploy) -> None:
    vm.reboot(timeout=900)
    vm.ssh("timeout 400 sh -c 'until docker info; do sleep 3; done'", timeout=450)
    assert vm.ssh("systemctl is-active auditd").stdout.strip() == "active"
    drift = deploy("drift.py")
    assert drift.not_holding() == {}, drift.out


def test_immutable_rules_are_respected(vm: Vm, deploy: Deploy) -> None:
    vm.ssh("auditctl -D -k hullproof; auditctl -e 2")
    pending = deploy("harden.py")
    assert pending.states()["audit.engine-files"] == "pending-reboot"
    assert pending.host()["changes"] == []
    vm.load("rules")


def test_rollback_takes_rules_and_auditd_away_again(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    undone = deploy("rollback.py", "--data", f"run={story['run']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    time.sleep(1)
    left = "command -v auditctl; ls /etc/audit/rules.d/*hullproof* /etc/tmpfiles.d/hullproof-audit.conf"
    assert vm.ssh(left, check=False).stdout == "", "the package's own configuration stays: it is removed, not purged"
    assert vm.ssh("docker info >/dev/null && echo up").stdout.strip() == "up"
