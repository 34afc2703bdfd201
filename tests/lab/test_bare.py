"""A bare Debian host becomes a hardened, proved Docker host in one run."""

from __future__ import annotations

import pytest

from tests.lab import Vm
from tests.lab.drive import run

VARIANT = "bare"
STRICT = ("--data", "policy=strict")

pytestmark = [pytest.mark.lab, pytest.mark.on("debian13")]


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
