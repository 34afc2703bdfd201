"""From AppArmor to SELinux enforcing on Debian 13, in stages with one reboot; and a policy that cuts SSH goes back.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.drive import Result, finish, start

VARIANT = "stock"
POLICY = """\
lsm: {module: selinux}
selinux: {enforcing: true, observe_hours: 0, containers: true}
audit: {denials: true}
"""
CUT = "(deny sshd_t self (process (fork)))"  # no new login

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.on("debian13")]

Deploy = Callable[..., Result]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


@pytest.fixture(scope="module")
def deploy(vm: Vm, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Run a deploy under a policy of SELinux alone."""
    path: Path = tmp_path_factory.mktemp("policy") / "selinux.yml"
    path.write_text(POLICY)

    def go(name: str, *options: str, accept: str = "container-restart", yes: bool = True) -> Result:
        words = ("--data", f"policy={path}", "--data", f"accept={accept}", *options)
        return finish(*start(vm.inventory(), name, *words, yes=yes), minutes=40)  # a policy takes long to compile

    return go


def enforce(vm: Vm) -> str:
    return vm.ssh("cat /sys/fs/selinux/enforce 2>/dev/null || echo off").stdout.strip()


def test_before_apparmor_is_the_one(vm: Vm, deploy: Deploy) -> None:
    before = deploy("drift.py")
    assert before.states()["lsm.module"] == "fail"
    assert "SELinux disabled" in before.reason("selinux.enforcing")
    assert enforce(vm) == "off"


def test_dry_says_what_is_to_come_and_touches_nothing(vm: Vm, deploy: Deploy) -> None:
    dry = deploy("harden.py", "--dry", yes=False)
    assert "install SELinux's policy" in dry.out, dry.out
    assert "one reboot is to come" in dry.reason("selinux.enforcing")
    assert vm.ssh("ls /etc/selinux/default", check=False).returncode != 0


def test_packages_then_labels_and_the_command_line(vm: Vm, deploy: Deploy) -> None:
    packages = deploy("harden.py")
    assert packages.host()["status"] == "ok", packages.out + packages.err
    assert "Next: all files are labelled" in packages.reason("selinux.enforcing")
    prepared = deploy("harden.py")
    assert prepared.host()["status"] == "ok", prepared.out + prepared.err
    assert prepared.states()["selinux.enforcing"] == "pending-reboot"
    assert deploy("harden.py").host()["changes"] == [], "nothing goes on before the reboot"


def test_one_reboot_into_permissive(vm: Vm, deploy: Deploy) -> None:
    vm.reboot(timeout=1200)
    vm.ssh("timeout 400 sh -c 'until docker info; do sleep 3; done'", timeout=450)
    assert enforce(vm) == "0"
    assert "init_t" in vm.ssh("cat /proc/1/attr/current").stdout, "the first process found its label"
    drift = deploy("drift.py")
    assert drift.states()["lsm.module"] == "pass"
    assert "SELinux permissive" in drift.reason("selinux.enforcing")


def test_it_is_observed_with_labelled_containers(vm: Vm, deploy: Deploy) -> None:
    observed = deploy("harden.py")
    assert observed.host()["status"] == "ok", observed.out + observed.err
    assert observed.states()["selinux.docker-labels"] == "pass"
    vm.ssh("docker run -d --name one --restart always lab/busybox:1 sleep 1000000", timeout=300)
    vm.ssh("docker run -d --name two --restart always lab/busybox:1 sleep 1000000", timeout=300)


def test_a_policy_that_cuts_ssh_goes_back_by_itself(vm: Vm, deploy: Deploy) -> None:
    vm.save("permissive")
    vm.ssh(f"echo '{CUT}' >/root/cut.cil && semodule -i /root/cut.cil", timeout=600)
    began = time.monotonic()
    cut = deploy("harden.py", accept="container-restart,selinux-denials")
    assert cut.code == 1, cut.out
    vm.wait_ssh(timeout=600)
    assert enforce(vm) == "0", "permissive again, with no controller"
    assert time.monotonic() - began > 60
    assert "SELINUX=permissive" in vm.ssh("cat /etc/selinux/config").stdout
    vm.load("permissive")


def test_it_enforces_once_a_fresh_connection_succeeded(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    live = deploy("harden.py", accept="container-restart,selinux-denials")
    assert live.host()["status"] == "ok", live.out + live.err
    assert enforce(vm) == "1"
    assert vm.ssh("systemctl is-active hullproof-selinux-revert.timer", check=False).stdout.strip() != "active"
    story["kept"] = deploy("harden.py")
    assert story["kept"].host()["status"] == "ok", story["kept"].out
    drift = deploy("drift.py")
    assert drift.not_holding() == {}, drift.out


def test_one_container_cannot_read_the_others_file(vm: Vm) -> None:
    labels = vm.ssh("for c in one two; do cat /proc/$(docker inspect -f '{{.State.Pid}}' $c)/attr/current; echo; done")
    first, second = (line.strip("\0") for line in labels.stdout.split())
    assert ":container_t:s0:c" in first
    assert ":container_t:s0:c" in second
    assert first != second
    mine = "mkdir -p /srv/mine && echo secret >/srv/mine/file && chmod 777 /srv/mine && chmod 666 /srv/mine/file"
    vm.ssh(f"{mine}; docker run --rm -v /srv/mine:/mine:Z lab/busybox:1 cat /mine/file", timeout=300)
    read = "docker run --rm -v /srv/mine:/mine lab/busybox:1 cat /mine/file"
    assert vm.ssh(read, check=False, timeout=300).returncode != 0, "another category"
    vm.ssh("mkdir -p /srv/host && echo host >/srv/host/file && chmod -R 777 /srv/host")
    host = "docker run --rm -v /srv/host:/host lab/busybox:1 cat /host/file"
    assert vm.ssh(host, check=False, timeout=300).returncode != 0, "a file of another type"
    vm.ssh("setenforce 0")
    assert vm.ssh(host, timeout=300).stdout.strip() == "host", "it is SELinux that refuses"
    vm.ssh("setenforce 1")


def test_drift_names_the_reading_that_moved(vm: Vm, deploy: Deploy) -> None:
    vm.ssh("setenforce 0")
    assert "the kernel runs with SELinux permissive" in deploy("drift.py").reason("selinux.enforcing")
    vm.ssh("setenforce 1; sed -i s/^SELINUX=.*/SELINUX=disabled/ /etc/selinux/config")
    assert "/etc/selinux/config says disabled" in deploy("drift.py").reason("selinux.enforcing")
    vm.ssh("sed -i s/^SELINUX=.*/SELINUX=enforcing/ /etc/selinux/config")


def test_it_boots_enforcing(vm: Vm, deploy: Deploy) -> None:
    vm.reboot(timeout=1200)
    vm.ssh("timeout 400 sh -c 'until docker info; do sleep 3; done'", timeout=450)
    assert enforce(vm) == "1"
    drift = deploy("drift.py")
    assert drift.not_holding() == {}, drift.out


def test_rollback_of_the_last_stage(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    undone = deploy("rollback.py", "--data", f"run={story['kept'].report['run']['id']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert "SELINUX=permissive" in vm.ssh("cat /etc/selinux/config").stdout
