"""Incus: what its profile gives new instances is declared, put in force, proved from within a container, watched key by
key, and rolled back, while instances that run go on; what others may more than the policy names is said by name.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
POLICY = """\
incus: {isolated: true, pids: 60, memory: 134217728, privileged: [], nesting: [], raw: [], address: none,
  certificates: [], trusted_users: []}
"""
ACCEPT = "incus-profile"
# An image of one file in two places: what Incus calls a unified one.
IMAGE = """\
mkdir -p /root/image/rootfs/sbin /root/image/rootfs/dev /root/image/rootfs/proc /root/image/rootfs/sys
tar -xf /var/lib/lab/busybox.tar -C /root/image/rootfs
printf '#!/bin/sh\\nexec sleep 1000000000\\n' >/root/image/rootfs/sbin/init; chmod 755 /root/image/rootfs/sbin/init
printf 'architecture: x86_64\\ncreation_date: 1700000000\\nproperties: {description: lab}\\n' >/root/image/metadata.yaml
tar -czf /root/image.tar.gz -C /root/image metadata.yaml rootfs
incus image import /root/image.tar.gz --alias lab
"""
# A host without a network of Incus's own: nothing here needs one.
PRESEED = """\
storage_pools: [{name: default, driver: dir}]
profiles: [{name: default, devices: {root: {type: disk, path: /, pool: default}}}]
"""
BREAKS = {
    "isolated": ("incus profile unset default security.idmap.isolated", "does not set security.idmap.isolated"),
    "pids": ("incus profile set default limits.processes=5000", "sets limits.processes to 5000"),
    "memory": ("incus profile set default limits.memory.enforce=soft", "sets limits.memory.enforce to soft"),
    "privileged": ("incus config set old security.privileged=true", "old of incus: root in it is root on the host"),
    "nesting": ("incus config set old security.nesting=true", "old of incus: it may run containers"),
    "raw": ("incus config set old raw.lxc='lxc.apparmor.profile = unconfined'", "old of incus: it has raw.lxc"),
    "address": ("incus config set core.https_address=0.0.0.0:8443", "incus listens on 0.0.0.0:8443"),
    "api-users": ("gpasswd -a ops incus-admin", "ops (incus-admin)"),
}
MEND = {
    "isolated": "incus profile set default security.idmap.isolated=true",
    "pids": "incus profile set default limits.processes=60",
    "memory": "incus profile unset default limits.memory.enforce",
    "privileged": "incus config unset old security.privileged",
    "nesting": "incus config unset old security.nesting",
    "raw": "incus config unset old raw.lxc",
    "address": "incus config unset core.https_address",
    "api-users": "gpasswd -d ops incus-admin",
}

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str, accept: str = ACCEPT) -> Result:
    path: Path = vm.folder / "incus.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}", *options)


def not_holding(result: Result) -> dict[str, str]:
    return {name: why for name, why in result.not_holding().items() if name.startswith("incus.")}


def inside(vm: Vm, name: str, command: str) -> str:
    """What a command in the container says, and after that the status with which it ended."""
    way = f"incus exec {name} -T -- /bin/sh -c '{command}' </dev/null 2>&1; echo status $?"
    return vm.ssh(way, timeout=300).stdout


def ids(vm: Vm, name: str) -> str:
    """The first of the host's ids that the container has."""
    return inside(vm, name, "cat /proc/self/uid_map").split()[1]


def attacks(vm: Vm, name: str) -> dict[str, bool]:
    """What a container that was made without a word can do; `old` is another one."""
    return {
        "has the ids of another": ids(vm, name) == ids(vm, "old"),
        "forks 100 times": "fork" not in inside(vm, name, "for n in $(seq 100); do sleep 5 & done"),
        "takes 200 MB": "209715200" in inside(vm, name, "head -c 200m /dev/zero | tail -c 200m | wc -c"),
    }


def test_before_a_container_can_do_all_of_it(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends incus-base incus-client curl apparmor uidmap 2>&1", timeout=900)
    vm.ssh("incus admin init --preseed", input=PRESEED, timeout=300)
    vm.ssh(IMAGE, timeout=300)
    for name in ("old", "other"):
        vm.ssh(f"incus launch lab {name}", timeout=300)
    assert all(attacks(vm, "other").values()), attacks(vm, "other")


def test_what_waits_for_a_consequence_says_so(vm: Vm) -> None:
    harden = deploy(vm, "harden.py", accept="")
    assert set(not_holding(harden)) == {"incus.isolated", "incus.pids", "incus.memory"}, harden.out
    assert "incus-profile" in harden.out
    assert harden.host()["changes"] == []


def test_limits_are_set_and_ids_are_not_while_containers_would_get_others(vm: Vm, story: dict[str, Any]) -> None:
    """Of Incus 6.0.4, in which they and new ones do not start then."""
    harden = deploy(vm, "harden.py")
    story["limits"] = harden.report["run"]["id"]
    assert set(not_holding(harden)) == {"incus.isolated"}, harden.out
    assert "security.idmap.isolated=false in each container that is there" in " ".join(harden.out.split())
    vm.ssh("for name in old other; do incus config set $name security.idmap.isolated=false; done", timeout=300)


def test_after_a_new_one_can_do_none_and_what_ran_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    began = vm.ssh("incus list -f csv -c np").stdout
    harden = deploy(vm, "harden.py")
    story["run"] = harden.report["run"]["id"]
    assert not_holding(harden) == {}, harden.out
    vm.ssh("incus launch lab new", timeout=300)
    assert not any(attacks(vm, "new").values()), attacks(vm, "new")
    assert vm.ssh("incus list -f csv -c np | grep -v ^new").stdout == began
    vm.ssh("incus restart -f old", timeout=300)  # with the ids that it had
    assert vm.ssh("ls -d /root/.config/incus 2>/dev/null | wc -l").stdout.strip() == "1", "the drill's own client"


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    again = deploy(vm, "harden.py")
    assert again.host()["changes"] == [], again.out


@pytest.mark.parametrize("control", BREAKS)
def test_what_is_broken_is_named(vm: Vm, control: str) -> None:
    script, word = BREAKS[control]
    vm.ssh(f"{script} 2>&1 || true", timeout=300)  # of one that runs, some keys hold from its next start on
    drift = deploy(vm, "drift.py")
    assert drift.states()[f"incus.{control}"] == "fail", drift.out
    assert word in drift.reason(f"incus.{control}")
    vm.ssh(MEND[control], timeout=300)


def test_containers_are_listed_with_their_engine(vm: Vm) -> None:
    vm.ssh("incus launch lab open -c security.privileged=true", timeout=300)
    path: Path = vm.folder / "containers.yml"
    path.write_text("containers: {host_ids: []}\nincus: {privileged: []}\n")
    drift = run(vm, "drift.py", "--data", f"policy={path}")
    assert "open" in drift.reason("incus.privileged")
    assert "incus:open runs as the host's own users" in drift.reason("containers.user-namespace")
    vm.ssh("incus delete -f open", timeout=300)


def test_a_daemon_that_does_not_run_is_unknown(vm: Vm) -> None:
    vm.ssh("systemctl stop incus.service incus.socket", timeout=300)
    drift = deploy(vm, "drift.py")
    assert drift.states()["incus.pids"] == "unknown", drift.out
    assert "inactive" in vm.ssh("systemctl is-active incus.service", check=False).stdout, "a look starts nothing"
    vm.ssh("systemctl start incus.socket incus.service", timeout=300)


def test_a_rollback_puts_the_profile_back_and_what_runs_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    for each in (story["run"], story["limits"]):
        back = deploy(vm, "rollback.py", "--data", f"run={each}")
        assert back.host()["status"] == "ok", back.out + back.err
    profile = vm.ssh("incus profile show default").stdout
    assert "limits." not in profile, profile
    assert "isolated" not in profile
    assert vm.ssh("incus list -f csv -c s | sort -u").stdout.strip() == "RUNNING"
