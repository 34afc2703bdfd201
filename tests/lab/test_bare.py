"""A bare Debian host becomes a hardened, proved Docker host in one run."""

from __future__ import annotations

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import run

VARIANT = "bare"
STRICT = ("--data", "policy=strict")
LEDGER = "find /var/lib/docker -path '*/volumes/ledger/_data/ledger' -exec cat {} +"

pytestmark = [pytest.mark.lab, pytest.mark.story, pytest.mark.on("debian13")]


def test_a_host_without_docker_is_judged_without_it(vm: Vm) -> None:
    drift = run(vm, "drift.py", *STRICT)
    assert drift.code == 2
    assert drift.states()["docker.live-restore"] == "not-applicable"
    assert "unknown" not in drift.states().values(), drift.not_holding()


def test_provisioning_installs_hardens_and_proves(vm: Vm) -> None:
    provision = run(vm, "provision.py")
    assert provision.host()["status"] == "ok", provision.out + provision.err
    left = provision.not_holding()
    assert {control: reason for control, reason in left.items() if not reason.startswith("pending-reboot")} == {}
    assert provision.report["proved"] is True, provision.out[-4000:]
    assert provision.code == 0
    assert run(vm, "drift.py").not_holding() == left


def test_a_rollback_keeps_an_engine_that_holds_data(vm: Vm) -> None:
    vm.ssh("docker import /var/lib/lab/busybox.tar lab/busybox:1; docker volume create ledger", timeout=240)
    vm.ssh("docker run --name db -v ledger:/data lab/busybox:1 sh -c 'echo 4711 >/data/ledger'", timeout=240)
    refused = run(vm, "rollback.py")
    assert "accept=userns-remap" in str(refused.host()["error"]), refused.out + refused.err
    assert refused.host()["changes"] == []
    assert vm.ssh("docker ps -aq -f name=db").stdout, "it would go out of sight"
    undone = run(vm, "rollback.py", "--data", "accept=userns-remap")
    assert "accept=remove-engine" in str(undone.host()["error"]), undone.out + undone.err
    assert undone.states()["docker.live-restore"] == "fail", "all else of the run was undone"
    assert vm.ssh(LEDGER).stdout == "4711\n"


def test_an_engine_that_is_removed_leaves_its_data(vm: Vm) -> None:
    undone = run(vm, "rollback.py", "--data", "accept=remove-engine")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert vm.ssh("command -v dockerd", check=False).stdout == ""
    assert vm.ssh(LEDGER).stdout == "4711\n"
    assert undone.states()["docker.live-restore"] == "not-applicable"
