"""Root's LXC: what it gives new containers is declared, put in force, proved from within a container, watched by key,
and rolled back, while containers that run go on, and those that were made meanwhile still start.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from facts.engines.lxc.lxc import DEFAULT, DROP_IN, GUARDED, STRICT, USERNET
from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
MEMORY = 64 << 20
POLICY = f"""\
lxc: {{user_namespace: mapped, capabilities: [MKNOD, NET_RAW, SYS_ADMIN, SYS_MODULE], seccomp: strict, confined: true,
  nesting: false, no_new_privileges: true, private: true, pids: 50, memory: {MEMORY}, slice: machine.slice,
  cpu_weight: 50, io_weight: 40,
  usernet: [], host_ids: [old], weakened: []}}
"""
AFTER = f"printf '%s\\n' '{{}}' >>{DEFAULT}"
# What is done to the host, the control that names it, and a word of the reason.
NESTING = "lxc.apparmor.profile = lxc-container-default-with-nesting"
BREAKS = {
    "user-namespace": (AFTER.format("lxc.idmap ="), "their root is the host's"),
    "capabilities": (f"sed -i '/^lxc.cap.drop/d' {DEFAULT}", "containers keep MKNOD, NET_RAW, SYS_ADMIN, SYS_MODULE"),
    "seccomp": (f"sed -i '/^keyctl/d' {STRICT}", "allows keyctl"),
    "confined": (AFTER.format("lxc.apparmor.profile = unconfined"), f"is unconfined ({DEFAULT}:"),
    "nesting": (AFTER.format("lxc.apparmor.allow_nesting = 1"), "allow_nesting is 1"),
    "nesting by its profile": (AFTER.format(NESTING), "is lxc-container-default-with-nesting"),
    "no-new-privileges": (AFTER.format("lxc.no_new_privs = 0"), "no_new_privs is 0"),
    "private": (AFTER.format("lxc.mount.entry = /etc mnt none bind 0 0"), "lxc.mount.entry is /etc mnt"),
    "pids": (AFTER.format("lxc.cgroup2.pids.max = max"), "pids.max is max"),
    "memory": (f"sed -i '/memory.swap/d' {DEFAULT}", "swap without a limit"),
    "cpu-weight": (AFTER.format("lxc.cgroup2.cpu.weight = 100"), "cpu.weight is 100"),
    "io-weight": (AFTER.format("lxc.cgroup2.io.weight = 100"), "io.weight is 100"),
    "slice": (f"rm {DROP_IN}", "nothing starts machine.slice before lxc.service"),
    "usernet": (f"echo 'ops veth lxcbr0 10' >{USERNET}", "has ops veth lxcbr0 10"),
    "host-ids": (
        "mkdir /var/lib/lxc/loose; echo lxc.start.auto = 1 >/var/lib/lxc/loose/config",
        "loose (starts at boot): its root is the host's",
    ),
    "weakened": (
        "echo 'lxc.include = /usr/share/lxc/config/common.conf' >>/var/lib/lxc/new/config",
        "common.seccomp (/usr/share/lxc/config/common.conf:",
    ),
    "settings": (AFTER.format("lxc.cap.none = mknod"), "lxc.cap.none is no key of LXC's"),
}
MEND = (f"rm -rf {USERNET} /var/lib/lxc/loose; sed -i /common.conf/d /var/lib/lxc/new/config; "
        f"cp -p /root/kept.conf {DEFAULT}; cp -p /root/kept.seccomp {STRICT}; "
        f"cp -p /root/kept.unit {DROP_IN}")  # fmt: skip

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str) -> Result:
    path: Path = vm.folder / "lxc.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", *options)


def make(vm: Vm, name: str, extra: str = "") -> None:
    """A container as lxc-create makes one, with the host's /root/secret in it, and a folder for mounts."""
    vm.ssh(f"lxc-create -n {name} -t busybox -- --busybox-path=/root/busybox", timeout=300)
    vm.ssh(f"echo 'lxc.mount.entry = /root/secret secret none bind,create=file 0 0' >>/var/lib/lxc/{name}/config")
    vm.ssh(f"echo kept >/var/lib/lxc/{name}/rootfs/data; mkdir -p /var/lib/lxc/{name}/rootfs/p")
    vm.ssh(f"lxc-start -n {name}", timeout=300)


def inside(vm: Vm, name: str, command: str) -> str:
    """What a command in the container says, and after that the status with which it ended."""
    return vm.ssh(f"lxc-attach -n {name} -- /bin/sh -c '{command}' </dev/null 2>&1; echo status $?", timeout=300).stdout


def attacks(vm: Vm, name: str) -> dict[str, bool]:
    """What a container that was made and started without a word can do. Nothing is written to what it opens."""
    of_proc = "mount -t proc proc /p && exec 3>>/p/sys/kernel/core_pattern"
    status = inside(vm, name, "cat /proc/self/status")
    return {
        "reads a file of root's": "secret in it" in inside(vm, name, "cat /secret"),
        "opens core_pattern for writing": "status 0" in inside(vm, name, of_proc),
        "makes a user namespace": "status 0" in inside(vm, name, "unshare -U true"),
        "makes a device node": "status 0" in inside(vm, name, "rm -f /n; mknod /n b 8 0"),
        "has a raw socket": "permission" not in inside(vm, name, "ping -c 1 -W 1 127.0.0.1").lower(),
        "may gain privileges": "NoNewPrivs:\t0" in status,
        "forks 100 times": "fork" not in inside(vm, name, "for n in $(seq 100); do sleep 5 & done"),
        "takes 200 MB": "209715200" in inside(vm, name, "head -c 200m /dev/zero | tail -c 200m | wc -c"),
        "is outside the slice": "machine.slice" not in vm.ssh(f"cat /proc/$(lxc-info -n {name} -pH)/cgroup").stdout,
    }


def test_before_a_container_can_do_all_of_it(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends lxc apparmor uidmap 2>&1", timeout=900)
    vm.ssh("tar -xf /var/lib/lab/busybox.tar -C /root --strip-components=2 ./bin/busybox || "
           "tar -xf /var/lib/lab/busybox.tar -C /root --strip-components=1 bin/busybox")  # fmt: skip
    vm.ssh("modprobe bfq && echo bfq >/sys/block/vda/queue/scheduler")  # which heeds weights
    vm.ssh("echo secret in it >/root/secret; chmod 600 /root/secret; chmod 711 /root")
    make(vm, "old")
    make(vm, "shifted")
    assert all(attacks(vm, "old").values()), attacks(vm, "old")


def test_after_a_new_one_can_do_none_and_what_ran_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py")
    left = {k: v for k, v in harden.not_holding().items() if k.startswith("lxc.")}
    assert set(left) == {"lxc.host-ids"}, harden.out
    story["run"] = harden.report["run"]["id"]
    assert "those that are there keep what they have" in " ".join(harden.out.split())
    make(vm, "new")
    assert not any(attacks(vm, "new").values()), attacks(vm, "new")
    assert "uid=0" in inside(vm, "new", "id")
    weights = vm.ssh("cd /sys/fs/cgroup/machine.slice/lxc.payload.new && cat cpu.weight io.weight").stdout
    assert weights.split() == ["50", "default", "40"]
    assert all(attacks(vm, "old").values()), attacks(vm, "old")
    vm.ssh(f"cp -p {DEFAULT} /root/kept.conf; cp -p {STRICT} /root/kept.seccomp; cp -p {DROP_IN} /root/kept.unit")


def test_a_container_that_was_there_is_shifted_as_the_finding_says(vm: Vm) -> None:
    drift = deploy(vm, "drift.py")
    assert drift.reason("lxc.host-ids").startswith("shifted: its root is the host's")
    (finding,) = [each for each in drift.host()["findings"] if each["control"] == "lxc.host-ids"]
    lines = re.findall(r"lxc\.[a-z.]+ = (?:[ug] 0 [0-9]+ 65536|idmap=container)", finding["next"])
    assert len(lines) == 3, finding["next"]
    vm.ssh("lxc-stop -k -n shifted", timeout=300)
    for line in lines:
        vm.ssh(f"echo '{line}' >>/var/lib/lxc/shifted/config")
    vm.ssh("lxc-start -n shifted", timeout=300)
    assert "kept" in inside(vm, "shifted", "cat /data")
    assert "status 0" in inside(vm, "shifted", "echo more >>/data")
    assert not attacks(vm, "shifted")["reads a file of root's"]
    assert vm.ssh("stat -c %u /var/lib/lxc/shifted/rootfs/data").stdout == "0\n", "no file was given to others"
    assert deploy(vm, "drift.py").states()["lxc.host-ids"] == "pass"


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    again = deploy(vm, "harden.py")
    assert again.host()["changes"] == [], again.out


@pytest.mark.parametrize("control", BREAKS)
def test_what_is_broken_is_named(vm: Vm, control: str) -> None:
    script, word = BREAKS[control]
    control = control.partition(" ")[0]
    vm.ssh(script)
    drift = deploy(vm, "drift.py")
    assert drift.states()[f"lxc.{control}"] == "fail", drift.out
    assert word in drift.reason(f"lxc.{control}")
    vm.ssh(MEND)


def test_harden_puts_a_changed_key_right(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"printf 'lxc.idmap =\\nlxc.no_new_privs = 0\\nlxc.start.auto = 0\\n' >>{DEFAULT}")
    vm.ssh(f"echo 'ops veth lxcbr0 10' >{USERNET}")
    again = deploy(vm, "harden.py", "--data", "accept=lxc-usernet")
    assert vm.ssh(f"cat {USERNET}").stdout == ""
    story["again"] = again.report["run"]["id"]
    assert {k for k in again.not_holding() if k.startswith("lxc.")} == set(), again.out
    make(vm, "later")
    assert not any(attacks(vm, "later").values()), attacks(vm, "later")
    assert "lxc.start.auto = 0" in vm.ssh(f"cat {DEFAULT}").stdout


def test_a_rollback_leaves_what_containers_need_to_start(vm: Vm, story: dict[str, Any]) -> None:
    back = run(vm, "rollback.py", "--data", f"run={story['again']}")
    assert back.host()["status"] == "ok", back.out + back.err
    assert vm.ssh(f"cat {USERNET}").stdout == "ops veth lxcbr0 10\n"
    vm.ssh(f"cp -p /root/kept.conf {DEFAULT}")
    back = run(vm, "rollback.py", "--data", f"run={story['run']}")
    assert "containers that were made since need it to start: later, new, shifted" in back.out + back.err
    assert "hullproof" not in vm.ssh(f"cat {DEFAULT}; ls {GUARDED} 2>/dev/null", check=False).stdout
    vm.ssh("lxc-stop -k -n new; lxc-start -n new", timeout=300)
    assert "kept" in inside(vm, "new", "cat /data")
    assert "kept" in inside(vm, "old", "cat /data")


def test_without_these_containers_all_of_it_goes(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh("for name in new later shifted; do lxc-stop -k -n $name; lxc-destroy -n $name; done", timeout=300)
    back = run(vm, "rollback.py", "--data", f"run={story['run']}")
    assert back.host()["status"] == "ok", back.out + back.err
    assert vm.ssh(f"grep ^root: /etc/subuid /etc/subgid; ls {STRICT} {DROP_IN} 2>/dev/null", check=False).stdout == ""
    make(vm, "back")
    assert all(attacks(vm, "back").values()), attacks(vm, "back")
    assert "RUNNING" in vm.ssh("lxc-info -n old -s").stdout
