"""All containers of a host together leave it its share: a fork bomb, a memory hog and a busy one in containers of
Docker and Podman stay inside, a fork bomb in a machine of systemd-nspawn that somebody starts by hand too, sshd answers
meanwhile, and a rollback lifts the limits under containers that go on.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facts.cgroups import DROP_IN
from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
IMAGE = "lab/busybox:1"
ENGINES = ("docker", "podman")
POLICY = """\
cgroups: {version: v2, delegation: true, below: [machine.slice], memory: 30, pids: 2, cpu: 20, io: 20}
"""
HOG = "dd if=/dev/zero of=/t/x bs=1M count=700 && echo took it"  # the host has 2 GB
BOMB = "n=0; while [ $n -lt 500 ]; do sleep 30 & n=$((n + 1)); done; echo forked $n"
SLICE = "/sys/fs/cgroup/machine.slice"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str) -> Result:
    path: Path = vm.folder / "cgroups.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", "--data", "accept=container-restart", *options)


def takes_memory(vm: Vm, engine: str) -> bool:
    run_ = f"{engine} run --rm --tmpfs /t:size=1g {IMAGE} sh -c '{HOG}'"
    return "took it" in vm.ssh(run_, check=False, timeout=300).stdout


def forks(vm: Vm, engine: str) -> bool:
    run_ = f"{engine} run --rm --pids-limit 0 {IMAGE} sh -c '{BOMB}'"
    return "forked 500" in vm.ssh(run_, check=False, timeout=300).stdout


def forks_by_hand(vm: Vm) -> bool:
    """In a machine that no unit's limits hold."""
    run_ = f"systemd-nspawn --quiet --pipe --directory=/srv/hand --machine=hand sh -c '{BOMB}'"
    return "forked 500" in vm.ssh(run_, check=False, timeout=300).stdout


def share(vm: Vm, engine: str) -> float:
    """Of the processor's time, what a busy container gets beside a busy service of the host's."""
    busy = "while :; do :; done"
    vm.ssh(f"{engine} run -d --name busy --cpuset-cpus 0 {IMAGE} sh -c '{busy}'", timeout=300)
    vm.ssh(f"systemd-run -q --unit busy taskset -c 0 sh -c '{busy}'")
    pid = vm.ssh(f"{engine} inspect -f '{{{{.State.Pid}}}}' busy").stdout.strip()
    used = "cut -d' ' -f14 /proc/{}/stat"
    script = (f"theirs() {{ {used.format(pid)}; }}; ours() {{ {used.format('$(systemctl show -P MainPID busy)')}; }}\n"
              "a=$(theirs) b=$(ours); sleep 15; echo $(($(theirs) - a)) $(($(ours) - b))")  # fmt: skip
    theirs, ours = map(int, vm.ssh(script, timeout=120).stdout.split())
    vm.ssh(f"systemctl stop busy; {engine} rm -f busy", timeout=300)
    return theirs / (theirs + ours)


def test_before_a_container_takes_what_it_likes(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends podman crun systemd-container 2>&1", timeout=900)
    vm.ssh("mkdir -p /srv/hand/usr; tar -xf /var/lib/lab/busybox.tar -C /srv/hand")
    assert forks_by_hand(vm)
    vm.ssh(f"podman import -q /var/lib/lab/busybox.tar {IMAGE}")
    for engine in ENGINES:
        assert (takes_memory(vm, engine), forks(vm, engine)) == (True, True), engine
    assert share(vm, "docker") > 0.4
    vm.ssh(f"docker run -d --restart always --name old {IMAGE} sleep 1000000")
    assert "system.slice" in vm.ssh("cat /proc/$(docker inspect -f '{{.State.Pid}}' old)/cgroup").stdout


def test_after_it_stays_inside_and_who_logs_in_gets_an_answer(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py")
    story["runs"] = [harden.report["run"]["id"]]
    assert {k for k in harden.not_holding() if k.startswith("cgroups.")} == {"cgroups.io"}, harden.out
    assert "counts for nothing on vda" in harden.reason("cgroups.io")
    vm.ssh(f"modprobe bfq && echo bfq >/sys/block/vda/queue/scheduler && cat {SLICE}/io.weight")
    assert {k for k in deploy(vm, "drift.py").not_holding() if k.startswith("cgroups.")} == set()
    assert "machine.slice" in vm.ssh("cat /proc/$(docker inspect -f '{{.State.Pid}}' old)/cgroup").stdout
    for engine in ENGINES:
        assert (takes_memory(vm, engine), forks(vm, engine)) == (False, False), engine
        vm.ssh(f"{engine} run -d --name bomb --pids-limit 0 {IMAGE} sh -c '{BOMB}; sleep 60'", check=False, timeout=300)
        assert vm.ssh("echo here", timeout=60).stdout.strip() == "here"
        vm.ssh(f"{engine} rm -f bomb", timeout=300)
    assert not forks_by_hand(vm)
    assert share(vm, "docker") < 0.35
    assert share(vm, "podman") < 0.35


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    assert deploy(vm, "harden.py").host()["changes"] == []


def test_what_the_kernel_does_not_have_yet_is_told_from_what_is_declared(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"cp -p {DROP_IN} /root/kept; sed -i 's/MemoryMax=.*/MemoryMax=90%/' {DROP_IN}; systemctl daemon-reload")
    drift = deploy(vm, "drift.py")
    assert drift.states()["cgroups.memory"] == "fail"
    story["runs"].append(deploy(vm, "harden.py").report["run"]["id"])
    vm.ssh(f"echo max >{SLICE}/pids.max")
    assert "is right on disk, but live" in deploy(vm, "drift.py").reason("cgroups.pids")
    story["runs"].append(deploy(vm, "harden.py").report["run"]["id"])
    assert {k for k in deploy(vm, "drift.py").not_holding() if k.startswith("cgroups.")} == set()


def test_a_rollback_lifts_the_limits_and_containers_go_on(vm: Vm, story: dict[str, Any]) -> None:
    for each in reversed(story["runs"]):
        back = run(vm, "rollback.py", "--data", f"run={each}", "--data", "accept=container-restart")
        assert back.host()["status"] == "ok", back.out + back.err
        if each != story["runs"][0]:  # what somebody else had changed before it is back: put right by hand
            vm.ssh(f"cp -p /root/kept {DROP_IN}; systemctl daemon-reload")
    assert vm.ssh(f"cat {SLICE}/memory.max {SLICE}/pids.max; ls {DROP_IN} 2>/dev/null", check=False).stdout.split() == [
        "max", "max",
    ]  # fmt: skip
    assert vm.ssh("docker ps --format '{{.Names}}'").stdout.split() == ["old"]
    assert all(takes_memory(vm, engine) for engine in ENGINES)
