"""The main job on a badly configured host: red, hardened, proved, green, watched, undone. In this order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, executions, fingerprint, outcomes, prove, run, settle_boot

VARIANT = "weak"
STRICT = ("--data", "policy=strict")
ACCEPT = ("--data", "accept=userns-remap,container-restart,network-isolation,host-services")

# What the strict policy leaves to the policies of users, SELinux among it.
NOT_ASKED = {"bridges/siblings", "apparmor/stricter_than_dockers_own/raw_socket",
             "apparmor/stricter_than_dockers_own/packet_socket", "selinux/stopped/siblings_file",
             "selinux/stopped/hosts_file"}  # fmt: skip
# What Docker keeps from containers without being told.
KEPT = {f"containers/namespaces/docker/{what}" for what in ("process", "signal", "mount", "memory", "name")}
# Engines that are not here, or whose containers are what each call says of them.
OTHERS = {"podman", "podman_api", "podman-user", "lxc", "nspawn", "libvirt", "containerd"}
# Docker 20.10's own profile lets it through: a call that the default allows proves nothing about it.
IO_URING = "containers/forbidden_call/docker/io_uring_setup"
# What only a boot takes away: boot parameters, and the profile that Docker loaded when it had a parser.
AT_BOOT = ("kernel.boot.", "apparmor.docker-profile")
RECORD = "files.own"  # not applicable before the first run; the record of what was undone stays, and is judged
# What was there before has gone out of sight with the ids that it was mapped to.
PUBLISH = (
    "docker import /var/lib/lab/busybox.tar lab/busybox:1 >/dev/null &&"
    "docker run -d --name published -p 8080:80 -p 127.0.0.1:8081:81 lab/busybox:1 sleep 1000000000"
)

pytestmark = [pytest.mark.lab, pytest.mark.story]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """What earlier tests of this module saw."""
    return {}


def test_drift_tells_what_is_wrong_in_one_execution_and_changes_nothing(
    vm: Vm, distribution: str, story: dict[str, Any]
) -> None:
    untouched, started = fingerprint(vm), executions(vm)
    before = run(vm, "drift.py", *STRICT)
    # `executions` is itself two commands here: the fingerprint's and its own.
    assert executions(vm) - started == 2, "one execution for drift, one for asking"
    assert fingerprint(vm) == untouched
    assert before.code == 2, before.out + before.err
    wrong = before.not_holding()
    expected = {
        "apparmor.installed", "docker.insecure-registries", "docker.no-tcp",
        "docker.file-modes", "docker.group-members", "docker.no-new-privileges", "docker.live-restore",
        "networks.icc", "seccomp.default-profile", "userns.docker-remap", "kernel.sysctl.kernel.dmesg_restrict",
        "kernel.forwarding",
    }  # fmt: skip
    if distribution == "debian12":
        expected |= {"apparmor.enabled"}
    assert expected <= set(wrong), sorted(wrong)
    assert "unknown" not in before.states().values(), wrong
    story["before"] = before


def test_escapes_work_before_hardening(vm: Vm, distribution: str, story: dict[str, Any]) -> None:
    story["proofs"] = prove(vm, *STRICT)
    asked = {key: row for key, row in story["proofs"].items() if not OTHERS & set(key.split("/"))}
    stopped = {key: row["evidence"] for key, row in asked.items() if row["outcome"] != "failed"}
    untold = NOT_ASKED | KEPT | ({IO_URING} if distribution == "debian12" else set())
    assert set(stopped) == untold, stopped


def test_dry_shows_the_plan_and_touches_nothing(vm: Vm) -> None:
    untouched = fingerprint(vm)
    dry = run(vm, "harden.py", *STRICT, *ACCEPT, "--dry", "--diff", yes=False)
    assert dry.code in (0, 2), dry.err
    assert fingerprint(vm) == untouched
    for words in ("/etc/docker/daemon.json", "userns-remap", "restarts docker", "+"):
        assert words in dry.out, dry.out


def test_hardening_holds_after_a_reboot_and_a_second_run_changes_nothing(vm: Vm) -> None:
    harden = run(vm, "harden.py", *STRICT, *ACCEPT)
    assert harden.code == 0, harden.out + harden.err
    assert harden.host()["changes"]
    boot = "/proc/cmdline /boot/grub/grub.cfg /etc/default/grub.d/*"
    assert vm.ssh(f"grep -l lockdown= {boot}", check=False).stdout == "", "no entry has it before one boot was well"
    vm.reboot()
    settle_boot(vm)
    vm.ssh(PUBLISH)  # without a proxy, dockerd itself listens on its ports
    untouched, started = fingerprint(vm), executions(vm)
    again = run(vm, "harden.py", *STRICT, *ACCEPT)
    assert again.not_holding() == {}, again.out
    assert executions(vm) - started == 2, "one execution for harden, one for asking"
    assert again.code == 0, again.out + again.err
    assert again.host()["changes"] == []
    assert fingerprint(vm) == untouched
    vm.ssh("docker rm -f published && docker image rm lab/busybox:1")


def test_escapes_fail_after_hardening(vm: Vm, story: dict[str, Any]) -> None:
    after = prove(vm, *STRICT)
    assert outcomes(after, "failed") == {}
    untold = set(outcomes(story["proofs"], "failed")) - set(outcomes(after, "passed"))
    # Since Linux 6.6 the strict policy has the kernel refuse it, before any filter is asked.
    assert untold <= {IO_URING}, untold
    assert all("by a sysctl" in after[key]["evidence"] for key in untold)


def test_drift_names_what_moved_and_its_cause(vm: Vm) -> None:
    vm.ssh("sysctl -w kernel.dmesg_restrict=0; sed -i '/live-restore/s/true/false/' /etc/docker/daemon.json")
    drift = run(vm, "drift.py", *STRICT, *ACCEPT)
    assert drift.code == 2
    assert "/etc/docker/daemon.json was changed" in drift.reason("docker.live-restore")
    assert "not by hullproof" in drift.reason("docker.live-restore")
    assert "what changed the running system is not recorded" in drift.reason("kernel.sysctl.kernel.dmesg_restrict")
    vm.ssh("sysctl -w kernel.dmesg_restrict=1; sed -i '/live-restore/s/false/true/' /etc/docker/daemon.json")


def test_rollback_brings_the_findings_of_before_back(vm: Vm, distribution: str, story: dict[str, Any]) -> None:
    vm.ssh("sed -i '0,/{/s//{ \"max-concurrent-downloads\": 2,/' /etc/docker/daemon.json")
    vm.ssh("echo deploy:3000000000:65536 | tee -a /etc/subuid >>/etc/subgid")
    undone = run(vm, "rollback.py", *STRICT)
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert json.loads(vm.ssh("cat /etc/docker/daemon.json").stdout)["max-concurrent-downloads"] == 2
    assert [vm.ssh(f"cat /etc/{file}").stdout.splitlines()[-1] for file in ("subuid", "subgid")] == [
        "deploy:3000000000:65536",
        "deploy:3000000000:65536",
    ]
    assert "dockremap" not in vm.ssh("cat /etc/subuid").stdout
    if distribution == "debian12":
        vm.reboot()
        assert moved(run(vm, "drift.py", *STRICT), story["before"]) == {}
    else:  # all else is back at once, with no other look than the rollback's own
        assert [control for control in moved(undone, story["before"]) if not control.startswith(AT_BOOT)] == []


def moved(now: Result, before: Result) -> dict[str, tuple[str, str | None]]:
    """The states that are not those of before; the words may name other numbers."""
    return {
        control: (state, now.states().get(control))
        for control, state in before.states().items()
        if now.states().get(control) != state and control != RECORD
    }
