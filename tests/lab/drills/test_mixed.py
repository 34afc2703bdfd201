"""A host on which every engine runs containers: one policy, one run and one report cover them all, what they run goes
on, what worked from a new container of each is stopped, a second run changes nothing, drift names who moved an engine's
default, and all of it is rolled back.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploys.kernel.rollout import library
from tests.lab import Vm
from tests.lab.machine.drive import Result, executions, outcomes, prove, run

VARIANT = "engines"
ENGINES = ("docker", "podman", "lxc", "nspawn", "libvirt", "containerd")
POLICY = """\
extends: {baseline}
kernel: {{sysctls: {{}}, boot_parameters: [], weakening_parameters: [kvm]}}
audit: {{denials: true}}
networks: {{icc: true}}
cgroups: {{version: v2, delegation: true, memory: 80, pids: 50, cpu: 50}}
podman: {{capabilities: [CHOWN, FOWNER, SETGID, SETUID], pids: 300, memory: 100663296}}
lxc: {{seccomp: strict, capabilities: [MKNOD, NET_RAW], no_new_privileges: true, pids: 300, memory: 100663296,
  host_ids: [common, plain, shared]}}
nspawn: {{capabilities: [MKNOD, NET_RAW], no_new_privileges: true, pids: 300, memory: 100663296,
  refused_calls: [unshare, "@keyring", userfaultfd, io_uring_setup, bpf]}}
rootless: {{users: [ops]}}
"""
ACCEPT = (
    "userns-remap,container-restart,podman-userns,podman-api,nspawn-settings,nspawn-limits,libvirt-api,"
    "containerd-cgroups,network-isolation,container-profile"
)
UNIT = "/etc/systemd/system/systemd-nspawn@.service.d"
START = "[Service]\\nExecStart=\\nExecStart=systemd-nspawn --machine=%%i\\n"
LATER = "/etc/containers/containers.conf.d/zzz.conf"
CONFIG = "/etc/containerd/config.toml"
JSON = "/etc/docker/daemon.json"
# Whose default is moved, by what, and in which file.
MOVED = {
    "podman.pids": (f"printf '[containers]\\npids_limit = 0\\n' >{LATER}", LATER),
    "lxc.confined": ("echo 'lxc.apparmor.profile = unconfined' >>/etc/lxc/default.conf", "/etc/lxc/default.conf"),
    "nspawn.private-network": (f"printf '{START}' >{UNIT}/zzz.conf; systemctl daemon-reload", f"{UNIT}/zzz.conf"),
    "libvirt.seccomp-sandbox": ("echo 'seccomp_sandbox = 0' >>/etc/libvirt/qemu.conf", "/etc/libvirt/qemu.conf"),
    "containerd.seccomp": (f"sed -i '/unset_seccomp_profile/d' {CONFIG}", CONFIG),
    "docker.no-new-privileges": (f'sed -i \'s/"no-new-privileges": true/"no-new-privileges": false/\' {JSON}', JSON),
}
# What works before from a container of each engine that is made without a word.
WORKS = {
    "docker": {"setuid", "uid_map", "root_only_file"},
    "podman": {"setuid", "uid_map", "root_only_file"},
    "lxc": {"setuid", "uid_map", "root_only_file", "confined/core_pattern", "confined/sysrq", "forbidden_call/unshare",
            "forbidden_call/keyctl"},
    "nspawn": {"setuid", "forbidden_call/unshare", "forbidden_call/userfaultfd", "forbidden_call/io_uring_setup"},
    "libvirt": {"confined/core_pattern", "confined/sysrq", "forbidden_call/unshare"},
}  # fmt: skip
# All that carries the probes' name, but for the shell that looks, and what a user's Podman keeps.
LEFT = """p=hullproof; find / -xdev -name "*$p-probe*"; find /run /sys/fs/cgroup -name "*$p-probe*"
pgrep -af "$p-probe"; ctr namespace ls -q | grep "$p-probe"
grep -h "$p-probe" /proc/mounts /sys/kernel/security/apparmor/profiles
ls -d /home/ops/.local/share/containers /run/user/1000/libpod 2>/dev/null; pgrep -u ops -a podman; :"""
SHARED = '[containers]\npidns = "host"\nuserns = "host"\nutsns = "host"\nipcns = "host"\n'
STILL = {"podman": "podman ps -q | wc -l", "lxc": "lxc-ls -1 --running | wc -l", "nspawn": "pgrep -cx systemd-nspawn",
         "libvirt": "virsh -q -c lxc:/// list --name | grep -c .; virsh -q -c qemu:///system list --name | grep -c .",
         "containerd": "{ ctr -n other task ls -q; ctr -n k8s.io task ls -q; } | sort"}  # fmt: skip

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str) -> Result:
    path = vm.folder / "mixed.yml"
    path.write_text(POLICY.format(baseline=Path("inventories/policies/baseline.yml").resolve()))
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={ACCEPT}", *options)


def attacks(vm: Vm, which: str = "test_containers or test_capabilities or test_limits") -> dict[str, dict[str, str]]:
    """What came of the proofs, by the policy that was deployed last."""
    return prove(vm, "--data", f"policy={vm.folder / 'mixed.yml'}", "-k", which)


def of_engines(result: Result) -> dict[str, str]:
    """What of engines' own settings does not hold."""
    return {name: why for name, why in result.not_holding().items() if name.partition(".")[0] in (*ENGINES, "userns")}


def beyond(vm: Vm) -> bool:
    """Whether Podman passes over a limit of memory, as 4.3 does."""
    return "version 4.3" in vm.ssh("podman --version").stdout


def running(vm: Vm) -> dict[str, str]:
    return {engine: vm.ssh(script, check=False, timeout=300).stdout for engine, script in STILL.items()}


def test_before_each_engine_is_as_it_came(vm: Vm, story: dict[str, Any]) -> None:
    for number in range(4):
        vm.ssh(f"docker run -d --restart always --name more{number} lab/busybox:1 sleep 1000000", timeout=300)
        vm.ssh(f"podman run -d --name more{number} lab/busybox:1 sleep 1000000", timeout=300)
    before = executions(vm)
    drift = deploy(vm, "drift.py")
    assert executions(vm) - before == 2, "one execution for drift, one for asking"
    story["before"] = {name: state for name, state in drift.states().items() if state != "not-applicable"}
    assert {name.partition(".")[0] for name in of_engines(drift)} >= set(ENGINES), drift.out
    story["running"] = running(vm)


def test_before_an_escape_works_from_a_new_container_of_each(vm: Vm, story: dict[str, Any]) -> None:
    story["works"] = set(outcomes(attacks(vm), "failed"))
    for engine, tried in WORKS.items():
        names = {"/".join(["containers", *(what.split("/")[:1]), engine, *what.split("/")[1:]]) for what in tried}
        assert names <= story["works"], engine
    assert {f"limits/{what}/{each}" for what in ("processes", "memory") for each in ("podman", "lxc", "nspawn")} <= (
        story["works"]
    )
    assert vm.ssh(LEFT, timeout=300).stdout == ""


def test_one_run_hardens_all_of_them_and_what_they_run_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py")
    story["run"] = harden.report["run"]["id"]
    assert set(of_engines(harden)) == ({"podman.memory"} if beyond(vm) else set()), harden.out
    assert running(vm) == story["running"]
    assert vm.ssh("docker info -f '{{.SecurityOptions}}'").stdout.count("userns") == 1
    rows = vm.ssh("cat /etc/subuid").stdout.split()
    owners = {row.split(":")[0] for row in rows}
    assert owners >= {"dockremap", "containers", "root"}, rows


def test_after_what_worked_is_stopped(vm: Vm, story: dict[str, Any]) -> None:
    after = attacks(vm)
    works = {"limits/memory/podman"} if beyond(vm) else set()
    assert set(outcomes(after, "failed")) == works
    assert set(outcomes(after, "passed")) >= story["works"] - works
    assert vm.ssh(LEFT, timeout=300).stdout == "", "the proofs leave nothing"


def test_a_default_that_shares_the_hosts_namespaces_shows(vm: Vm) -> None:
    vm.ssh(f"printf '{SHARED}' >{LATER}")
    shown = outcomes(attacks(vm, "test_namespaces and podman and not user"), "failed")
    vm.ssh(f"rm {LATER}")
    assert set(shown) >= {f"containers/namespaces/podman/{what}" for what in ("process", "signal", "memory", "name")}


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    again = deploy(vm, "harden.py")
    assert again.host()["changes"] == [], again.out


def test_what_a_boot_starts_of_them_is_known(vm: Vm) -> None:
    """As the health check of a new kernel asks for it."""
    vm.ssh("echo 'lxc.start.auto = 1' >>/var/lib/lxc/plain/config; systemctl enable -q podman-restart")
    vm.ssh("podman update --restart always more0 >/dev/null 2>&1 || podman run -d --restart always --name again "
           "lab/busybox:1 sleep 1000000", timeout=300)  # fmt: skip
    kept = set(vm.ssh("sh -s", input=f"{library()}\nkept", timeout=300).stdout.splitlines())
    assert kept >= {"unit containerd.service", "unit docker.service", "unit lxc.service", "lxc plain"}, kept
    assert any(row.startswith("podman ") for row in kept), kept
    assert not {row for row in kept if "web" in row}, "what no boot starts"
    vm.ssh("sed -i '/start.auto/d' /var/lib/lxc/plain/config; systemctl disable -q podman-restart")


@pytest.mark.parametrize("control", MOVED)
def test_drift_names_who_moved_a_default(vm: Vm, control: str) -> None:
    script, path = MOVED[control]
    vm.ssh(f"rm -f /root/kept; [ ! -e {path} ] || cp -p {path} /root/kept")
    vm.ssh(script)
    drift = deploy(vm, "drift.py")
    assert drift.states()[control] in ("fail", "pending-restart"), drift.out
    told = next(row for row in drift.host()["findings"] if row["control"] == control)
    assert path in f"{told['reason']} {told.get('cause')}", told
    vm.ssh(f"rm -f {path}; [ ! -e /root/kept ] || cp -p /root/kept {path}; systemctl daemon-reload")


def test_all_of_it_is_rolled_back(vm: Vm, story: dict[str, Any]) -> None:
    back = deploy(vm, "rollback.py", "--data", f"run={story['run']}")
    assert {change["subject"] for change in back.host()["changes"]} >= {*ENGINES, "userns", "cgroups"}, back.out
    assert "Podman has 5 containers" in back.host()["error"], "their ids stay theirs while they are there"
    assert running(vm) == story["running"]
    vm.ssh("podman rm -fa -t 0", timeout=300)
    back = deploy(vm, "rollback.py", "--data", f"run={story['run']}")
    assert back.host()["status"] == "ok", back.out + back.err
    assert "containers" not in vm.ssh("cut -d: -f1 /etc/subuid").stdout.split()
    after = deploy(vm, "drift.py").states()
    moved = {name: (state, after[name]) for name, state in story["before"].items()
             if name.partition(".")[0] in ENGINES and after[name] != state}  # fmt: skip
    assert moved == {}
    assert vm.ssh("docker ps -q | wc -l", timeout=120).stdout.strip() == "5", "Docker sees its containers again"
