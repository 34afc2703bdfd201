"""containerd: what its plugin for Kubernetes gives new containers is declared, put in force, read back from containerd
itself, proved from within a pod, watched key by key, and rolled back, while containers of Docker's and pods go on.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run
from tests.support import cri

VARIANT = "stock"
IMAGE = "lab/pod:1"
POLICY = """\
containerd: {seccomp: true, confined: true, restrict_oom_score_adj: true, systemd_cgroup: true, devices: true,
  registries: tls, image_verifier: true, socket: root, tcp: none}
"""
ACCEPT = "containerd-cgroups"
CONFIG = "/etc/containerd/config.toml"
WANTED = (
    'unset_seccomp_profile = "runtime/default"', "restrict_oom_score_adj = true", "SystemdCgroup = true",
    "privileged_without_host_devices = true", "disable_apparmor = false",
)  # fmt: skip
# What is done to the host, the control that names it, and a word of the reason.
BREAKS = {
    "seccomp": (f"sed -i '/unset_seccomp_profile/d' {CONFIG}", "unset_seccomp_profile is ''"),
    "confined": (f"sed -i 's/^\\( *\\)restrict_oom/\\1disable_apparmor = true\\n\\1restrict_oom/' {CONFIG}",
                 "disable_apparmor is True"),
    "restrict-oom-score-adj": (f"sed -i 's/restrict_oom_score_adj.*/restrict_oom_score_adj = false/' {CONFIG}",
                               "restrict_oom_score_adj is False"),
    "systemd-cgroup": (f"sed -i 's/SystemdCgroup.*/SystemdCgroup = false/' {CONFIG}", "SystemdCgroup is False"),
    "devices": (f"sed -i '/privileged_without/d' {CONFIG}", "privileged_without_host_devices is False"),
    "registries": ("printf '[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"r\"]\\nendpoint = [\"http://r\"]\\n'"
                   f" >>{CONFIG}", "r by http://r"),
    "socket": ("chmod 666 /run/containerd/containerd.sock", "is 0666 root:root"),
    "tcp": (f"printf '[metrics]\\naddress = \"0.0.0.0:1338\"\\n' >>{CONFIG}", "address is '0.0.0.0:1338'"),
    "settings": (f"echo '[plugins' >>{CONFIG}", f"{CONFIG}: not TOML"),
}  # fmt: skip
MEND = f"cp -p /root/kept.toml {CONFIG}; chmod 660 /run/containerd/containerd.sock; systemctl restart containerd"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, accept: str = ACCEPT) -> Result:
    path: Path = vm.folder / "containerd.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}")


def in_force(vm: Vm) -> str:
    """The settings as containerd itself puts them together."""
    return vm.ssh("containerd config dump").stdout


def pids(vm: Vm) -> str:
    """The first processes of containers, which no restart may have changed."""
    files = "/run/containerd/io.containerd.runtime.v2.task/*/*/init.pid"
    return vm.ssh(f"for f in {files}; do echo $f $(cat $f); test -d /proc/$(cat $f) || exit 1; done").stdout


def not_holding(result: Result) -> dict[str, str]:
    return {name: why for name, why in result.not_holding().items() if name.startswith("containerd.")}


def test_where_docker_alone_uses_containerd_nothing_of_kubernetes_is_asked(vm: Vm) -> None:
    # Debian 12's stock host has no AppArmor parser, and Docker looks for it when it starts.
    vm.ssh("apt-get -qq install --no-install-recommends apparmor 2>&1 && systemctl restart docker", timeout=600)
    vm.ssh("docker run --detach --name web lab/busybox:1 sleep 1000000000", timeout=120)
    drift = deploy(vm, "drift.py")
    assert drift.states()["containerd.seccomp"] == "not-applicable", drift.out
    assert drift.states()["containerd.socket"] == "pass"


def attacks(vm: Vm, pod: str) -> dict[str, bool]:
    """What a pod's container can do that names no seccomp profile."""
    said = cri.inside(vm, pod, "grep Seccomp: /proc/self/status; unshare -U true; echo status $?")
    return {"has no filter": "Seccomp:\t0" in said, "makes a user namespace": "status 0" in said}


def test_before_kubernetes_gets_no_filter(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f'docker import --change \'CMD ["/bin/sleep", "1000000000"]\' /var/lib/lab/busybox.tar {IMAGE}', timeout=300)
    pause = vm.ssh("containerd config dump | sed -nE 's/^ *sandbox_image = \"(.*)\"/\\1/p'").stdout.strip()
    names = f"ctr -n k8s.io images tag docker.io/{IMAGE} {pause}"
    vm.ssh(f"docker save {IMAGE} | ctr -n k8s.io images import - && {names}", timeout=300)
    story["old"] = cri.pod(vm, "old", f"docker.io/{IMAGE}")
    assert all(attacks(vm, story["old"]).values()), attacks(vm, story["old"])
    assert 'unset_seccomp_profile = ""' in in_force(vm)
    vm.ssh(f"cp -p {CONFIG} /root/first.toml")


def test_after_it_does_and_what_ran_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    began = pids(vm)
    harden = deploy(vm, "harden.py")
    assert not_holding(harden) == {}, harden.out + harden.err
    assert "these keep running: " in harden.out
    story["runs"] = [harden.report["run"]["id"]]
    assert pids(vm) == began
    assert all(line in in_force(vm) for line in WANTED), in_force(vm)
    assert " error" not in vm.ssh("ctr plugins ls | grep ' cri '").stdout
    new = cri.pod(vm, "new", f"docker.io/{IMAGE}")
    assert not any(attacks(vm, new).values()), attacks(vm, new)
    assert all(attacks(vm, story["old"]).values()), "a running one keeps what it has"
    assert "web" in vm.ssh("docker ps --format '{{.Names}}'; docker exec web true", timeout=120).stdout
    vm.ssh(f"cp -p {CONFIG} /root/kept.toml")


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    again = deploy(vm, "harden.py")
    assert again.host()["changes"] == [], again.out


@pytest.mark.parametrize("control", BREAKS)
def test_what_is_broken_is_named(vm: Vm, control: str) -> None:
    script, word = BREAKS[control]
    vm.ssh(script)
    drift = deploy(vm, "drift.py")
    assert drift.states()[f"containerd.{control}"] == "fail", drift.out
    assert word in drift.reason(f"containerd.{control}")
    vm.ssh(MEND)


def test_a_changed_key_is_put_right_and_other_lines_stay(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"sed -i 's/SystemdCgroup.*/SystemdCgroup = false # by hand/' {CONFIG}; systemctl restart containerd")
    again = deploy(vm, "harden.py")
    story["runs"].append(again.report["run"]["id"])
    assert not_holding(again) == {}, again.out
    assert "SystemdCgroup = true  # by hand" in vm.ssh(f"cat {CONFIG}").stdout


def test_a_rollback_puts_all_back_and_what_runs_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    began = pids(vm)
    for each in reversed(story["runs"]):
        back = run(vm, "rollback.py", "--data", f"run={each}")
        assert back.host()["status"] == "ok", back.out + back.err
        if each == story["runs"][-1]:  # what somebody else had changed before it is back: put right by hand
            vm.ssh(MEND)
    assert vm.ssh(f"cmp /root/first.toml {CONFIG} 2>&1", check=False).stdout == ""
    assert 'unset_seccomp_profile = ""' in in_force(vm)
    assert pids(vm) == began
