"""From a stock host to SELinux enforcing on a new kernel, with the one reboot that both need: the files are labelled
and the boot parameters set before it, and enforcing takes none.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, fingerprint, finish, start
from tests.lab.machine.kernels import offer

VARIANT = "stock"
POLICY = """\
kernel: {running: newest-installed, update: security, reboot: now, deadline: 1200}
lsm: {module: selinux}
selinux: {enforcing: true, observe_hours: 0, containers: true}
"""
RUNS = "lab/busybox:1 sh -c 'trap exit TERM; sleep 1000000000 & wait'"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]

Deploy = Callable[..., Result]


@pytest.fixture(scope="module")
def new(vm: Vm, distribution: str) -> str:
    """The release that apt offers from now on."""
    return offer(vm, distribution)


@pytest.fixture(scope="module")
def deploy(vm: Vm, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    path: Path = tmp_path_factory.mktemp("policy") / "selinux.yml"
    path.write_text(POLICY)

    def go(name: str, *options: str, yes: bool = True) -> Result:
        accept = "accept=container-restart,selinux-denials"
        words = ("--data", f"policy={path}", "--data", accept, *options)
        return finish(*start(vm.inventory(), name, *words, yes=yes), minutes=60)

    return go


def boots(vm: Vm) -> int:
    return int(vm.ssh("journalctl -q --list-boots | wc -l").stdout)


def enforce(vm: Vm) -> str:
    return vm.ssh("cat /sys/fs/selinux/enforce 2>/dev/null || echo off").stdout.strip()


def test_dry_counts_the_reboots_and_touches_nothing(vm: Vm, new: str, deploy: Deploy) -> None:
    vm.ssh(f"docker run -d --name web --restart always {RUNS}", timeout=300)
    before = fingerprint(vm)
    dry = deploy("harden.py", "--dry", yes=False)
    assert fingerprint(vm) == before
    assert "one reboot to come" in dry.reason("selinux.enforcing")
    assert "the host reboots, because" in dry.out, dry.out


def test_one_run_and_its_one_reboot_bring_the_kernel_and_permissive(vm: Vm, new: str, deploy: Deploy) -> None:
    assert (boots(vm), enforce(vm)) == (1, "off")
    prepared = deploy("harden.py")
    assert prepared.host()["status"] == "ok", prepared.out + prepared.err
    assert (vm.ssh("uname -r").stdout.strip(), enforce(vm), boots(vm)) == (new, "0", 2)
    assert vm.ssh("docker inspect -f '{{.State.Running}}' web").stdout.strip() == "true"
    assert "init_t" in vm.ssh("cat /proc/1/attr/current").stdout
    assert prepared.states()["kernel.update"] == "pass"


def test_it_enforces_without_another(vm: Vm, new: str, deploy: Deploy) -> None:
    for stage in ("observe", "enforce live", "keep"):
        run = deploy("harden.py")
        assert run.host()["status"] == "ok", run.out + run.err
        if stage == "observe":  # Docker labels from now on what it makes
            vm.ssh(f"docker rm -f web && docker run -d --name web --restart always {RUNS}", timeout=300)
    assert run.not_holding() == {}, run.out
    assert (vm.ssh("uname -r").stdout.strip(), enforce(vm), boots(vm)) == (new, "1", 2)
    again = deploy("harden.py")
    assert again.host()["changes"] == []
    assert again.code == 0, again.out


def test_it_boots_so(vm: Vm, new: str, deploy: Deploy) -> None:
    vm.reboot(timeout=1200)
    vm.ssh("timeout 400 sh -c 'until docker info; do sleep 3; done'", timeout=450)
    assert (vm.ssh("uname -r").stdout.strip(), enforce(vm)) == (new, "1")
    drift = deploy("drift.py")
    assert drift.not_holding() == {}, drift.out
