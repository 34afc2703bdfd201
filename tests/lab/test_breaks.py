"""The break matrix: what is broken on a hardened host is noticed, by name, and mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.breaks import BATCHES
from tests.lab.machine.drive import run, settle_boot

VARIANT = "weak"
POLICY = ("--data", f"policy={Path(__file__).with_name('breaks') / 'policy.yml'}")
ACCEPT = (
    "--data",
    "accept=userns-remap,container-restart,network-isolation,host-services,forward-drop,container-profile",
)
PROFILE = "/etc/apparmor.d/lab-tool"

pytestmark = [pytest.mark.lab, pytest.mark.on("debian13")]


@pytest.fixture(scope="module")
def hardened(vm: Vm) -> Vm:
    """All that can be demanded at once holds here, and after a boot."""
    vm.ssh(f"mkdir -p /etc/apparmor.d; echo 'profile lab-tool {{ }}' >{PROFILE}")
    run(vm, "harden.py", *POLICY, *ACCEPT)
    vm.reboot()
    settle_boot(vm)
    vm.ssh("docker import /var/lib/lab/busybox.tar lab/busybox:1")
    again = run(vm, "harden.py", *POLICY, *ACCEPT)
    assert again.not_holding() == {}, again.out
    vm.save("hardened")
    return vm


@pytest.mark.parametrize("name", BATCHES)
def test_what_is_broken_is_noticed_and_mended(hardened: Vm, name: str) -> None:
    batch = BATCHES[name]
    hardened.load("hardened")
    for row in batch:
        hardened.ssh(row.script)
    drift = run(hardened, "drift.py", *POLICY, *ACCEPT)
    says = {control: state for row in batch for control, state in row.says.items()}
    assert {control: drift.states()[control] for control in says} == says, drift.out
    silent = [(row.how, control) for row in batch for control in row.says if row.names not in drift.reason(control)]
    assert silent == [], drift.out
    for row in batch:
        hardened.ssh(row.undo or ":")
    run(hardened, "harden.py", *POLICY, *ACCEPT)
    after = run(hardened, "drift.py", *POLICY, *ACCEPT)
    assert after.not_holding() == {}, after.out
