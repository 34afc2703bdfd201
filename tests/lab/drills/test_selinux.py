"""From AppArmor to SELinux enforcing on Debian 13 and back, in stages with one reboot each way. What cuts SSH is taken
back by the host itself, live and at a boot.

The tests stand in the order of the story that they tell. From a host that is labelled, booted permissive and runs
containers there are two stories: one in which enforcing cuts us off, and the one to the end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, finish, prove, start

VARIANT = "stock"
POLICY = """\
lsm: {module: selinux}
selinux: {enforcing: true, observe_hours: 0, containers: true}
audit: {denials: true}
"""
CUT = "(deny sshd_t self (process (fork)))"  # no new login
COMPILED = "/etc/selinux/default/policy/policy.*"
LABELS = "cat $(docker inspect -f '/proc/{{.State.Pid}}/attr/current' one two) | tr '\\0' '\\n'"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]

Deploy = Callable[..., Result]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """The runs that changed something, the oldest first."""
    return {"runs": []}


@pytest.fixture(scope="module")
def deploy(vm: Vm, tmp_path_factory: pytest.TempPathFactory, story: dict[str, Any]) -> Deploy:
    """Run a deploy under a policy of SELinux alone."""
    path: Path = tmp_path_factory.mktemp("policy") / "selinux.yml"
    path.write_text(POLICY)

    def go(name: str, *options: str, accept: str = "container-restart", yes: bool = True) -> Result:
        words = ("--data", f"policy={path}", "--data", f"accept={accept}", *options)
        done = finish(*start(vm.inventory(), name, *words, yes=yes), minutes=40)  # a policy takes long to compile
        if name == "harden.py" and done.host()["changes"]:
            story["runs"].append(done.report["run"]["id"])
        return done

    return go


def enforce(vm: Vm) -> str:
    return vm.ssh("cat /sys/fs/selinux/enforce 2>/dev/null || echo off").stdout.strip()


def boot(vm: Vm) -> None:
    vm.reboot(timeout=1200)
    vm.ssh("timeout 400 sh -c 'until docker info; do sleep 3; done'", timeout=450)


def make(vm: Vm) -> None:
    """Two containers, made anew where they are there."""
    vm.ssh("docker rm -f one two 2>&1", check=False, timeout=120)
    for name in ("one", "two"):
        vm.ssh(f"docker run -d --name {name} --restart always lab/busybox:1 sleep 1000000", timeout=300)


def proofs(vm: Vm) -> set[str]:
    """How the proofs that containers are kept apart by their labels ended."""
    rows = prove(vm, "-k", "test_selinux")
    assert len(rows) == 2, rows
    return {row["outcome"] for row in rows.values()}


def test_dry_says_what_is_to_come_and_touches_nothing(vm: Vm, deploy: Deploy) -> None:
    dry = deploy("harden.py", "--dry", yes=False)
    assert dry.states()["lsm.module"] == "fail"
    assert "SELinux is disabled" in dry.reason("selinux.enforcing")
    assert "one reboot to come" in dry.reason("selinux.enforcing")
    for what in ("install SELinux's policy", "label every file", "boot parameters"):
        assert what in dry.out, dry.out
    assert enforce(vm) == "off"
    assert vm.ssh("ls /etc/selinux/default", check=False).returncode != 0


def test_packages_labels_and_the_command_line_in_one_run(vm: Vm, deploy: Deploy) -> None:
    prepared = deploy("harden.py")
    assert prepared.host()["status"] == "ok", prepared.out + prepared.err
    assert prepared.states()["selinux.enforcing"] == "pending-reboot"


def test_one_reboot_into_permissive_which_is_observed(vm: Vm, deploy: Deploy) -> None:
    boot(vm)
    assert enforce(vm) == "0"
    assert "init_t" in vm.ssh("cat /proc/1/attr/current").stdout, "the first process found its label"
    observed = deploy("harden.py")
    assert observed.host()["status"] == "ok", observed.out + observed.err
    assert observed.states()["lsm.module"] == "pass"
    assert observed.states()["selinux.docker-labels"] == "pass"
    assert "SELinux is permissive" in observed.reason("selinux.enforcing")


def test_containers_have_a_category_each_and_permissive_keeps_nobody_apart(vm: Vm) -> None:
    make(vm)
    first, second = vm.ssh(LABELS).stdout.split()
    assert ":container_t:s0:c" in first
    assert ":container_t:s0:c" in second
    assert first != second
    assert proofs(vm) == {"failed"}, "without enforcing the same attempts succeed"
    vm.save("permissive")


def test_a_policy_that_cuts_ssh_goes_back_by_itself(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    vm.ssh(f"echo '{CUT}' >/root/cut.cil && semodule -i /root/cut.cil", timeout=900)
    before = list(story["runs"])
    cut = deploy("harden.py", accept="container-restart,selinux-denials")
    assert cut.code == 1, cut.out
    assert "the host has taken it back by itself" in cut.host()["error"]
    assert enforce(vm) == "0", "permissive again, with no controller"
    assert "SELINUX=permissive" in vm.ssh("cat /etc/selinux/config").stdout
    story["runs"], story["cut"] = before, vm.ssh(f"gzip -c {COMPILED} | base64", timeout=300).stdout
    vm.load("permissive")


def test_what_this_boot_showed_holds_it_back(vm: Vm, deploy: Deploy) -> None:
    held = deploy("harden.py")
    assert held.host()["changes"] == []
    assert "stays permissive, since enforcing would have caused these denials" in held.reason("selinux.enforcing")


def test_it_enforces_once_a_fresh_connection_succeeded_and_is_on_disk_then(vm: Vm, deploy: Deploy) -> None:
    live = deploy("harden.py", accept="container-restart,selinux-denials")
    assert live.host()["status"] == "ok", live.out + live.err
    assert enforce(vm) == "1"
    assert "SELINUX=permissive" in vm.ssh("cat /etc/selinux/config").stdout
    assert vm.ssh("systemctl list-timers --all 'hullproof*' | grep -c hullproof", check=False).stdout.strip() == "0"
    kept = deploy("harden.py")
    assert kept.host()["status"] == "ok", kept.out + kept.err
    assert kept.not_holding() == {}, kept.out


def test_one_container_cannot_read_the_others_file(vm: Vm) -> None:
    assert proofs(vm) == {"passed"}


def test_podmans_containers_are_kept_apart_too(vm: Vm, deploy: Deploy) -> None:
    vm.ssh("apt-get -qq install podman 2>&1", timeout=900)
    vm.ssh("docker save lab/busybox:1 | podman load", timeout=600)
    vm.ssh("mkdir -p /srv/mine && echo mine >/srv/mine/file && chmod -R 777 /srv/mine")
    run, read = "podman run --network none", "lab/busybox:1 cat /mine/file"
    vm.ssh(f"{run} -d --name own -v /srv/mine:/mine:Z lab/busybox:1 sleep 1000000", timeout=600)
    # Its status tells: what a login's container prints is lost while SELinux enforces.
    vm.ssh("podman exec own sh -c '[ $(cat /mine/file) = mine ]'", timeout=300)
    assert vm.ssh(f"{run} --rm -v /srv/mine:/mine {read}", check=False, timeout=300).returncode != 0
    assert vm.ssh(f"docker run --rm -v /srv/mine:/mine {read}", check=False, timeout=300).returncode != 0
    drift = deploy("drift.py")
    assert "3 running containers were checked" in drift.reason("containers.own-category")
    vm.ssh("podman rm -f -t 0 own", timeout=300)


def test_drift_names_the_readings_that_moved(vm: Vm, deploy: Deploy) -> None:
    vm.ssh("setenforce 0; sed -i s/^SELINUX=.*/SELINUX=disabled/ /etc/selinux/config")
    moved = deploy("drift.py").reason("selinux.enforcing")
    assert "the kernel runs with SELinux permissive" in moved
    assert "/etc/selinux/config says disabled" in moved
    vm.ssh("setenforce 1; sed -i s/^SELINUX=.*/SELINUX=enforcing/ /etc/selinux/config")


def test_a_first_boot_that_cuts_ssh_goes_back_by_itself(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    vm.save("kept")
    vm.ssh(f"base64 -d | gzip -dc >/root/cut && cp /root/cut {COMPILED}", input=story["cut"])  # for the next boot
    vm.ssh("sed -i 's/ + 600))/ + 240))/' /etc/hullproof/selinux-gate.sh")  # this emulated host boots in less
    boot(vm)
    assert enforce(vm) == "0"
    assert "SELINUX=permissive" in vm.ssh("cat /etc/selinux/config").stdout
    assert "sshd does not answer on port 22" in deploy("drift.py").reason("selinux.enforcing")
    vm.load("kept")


def test_it_boots_enforcing(vm: Vm, deploy: Deploy) -> None:
    boot(vm)
    assert enforce(vm) == "1"
    drift = deploy("drift.py")
    assert drift.not_holding() == {}, drift.out
    assert vm.ssh("ls /var/lib/hullproof").stdout.split() == ["baseline.json", "journal"], "the gate has gone"


def test_undone_run_by_run_it_is_what_it_was(vm: Vm, deploy: Deploy, story: dict[str, Any]) -> None:
    *later, first = reversed(story["runs"])
    for run in later:
        undone = deploy("rollback.py", "--data", f"run={run}")
        assert undone.host()["status"] == "ok", undone.out + undone.err
    labelled = deploy("rollback.py", "--data", f"run={first}")
    assert "they do not start without SELinux: one two" in labelled.host()["error"], labelled.out
    make(vm)
    undone = deploy("rollback.py", "--data", f"run={first}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    boot(vm)
    assert enforce(vm) == "off"
    assert "apparmor" in vm.ssh("cat /sys/kernel/security/lsm").stdout
    assert vm.ssh("ls -d /etc/selinux/default /etc/default/grub.d/*hullproof*", check=False).stdout == ""
    assert "selinux" not in vm.ssh("cat /proc/cmdline; cat /etc/docker/daemon.json 2>/dev/null || :").stdout
    assert vm.ssh("docker inspect -f '{{.State.Running}}' one").stdout.strip() == "true"
