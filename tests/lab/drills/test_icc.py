"""`icc=false` set and not in force: each way made on a real host, felt by a container, and found, where whoever reads
daemon.json or asks the daemon is told that all is well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, prove, run

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.on("debian13")]

FILE = "/etc/docker/daemon.json"
SET = {"icc": False, "ipv6": True, "fixed-cidr-v6": "fd00:dd::/64"}
STOP6 = "ip6tables -I FORWARD -i docker0 -o docker0 -j DROP"
BOTH = {4, 6}
# What was done to the host, the versions of IP by which the sibling answers then, and what the finding has to say.
WAYS = {
    "a switch is off": ("sysctl -qw net.bridge.bridge-nf-call-iptables=0", BOTH, "bridge-nf-call-iptables is 0"),
    "the firewall was flushed": ("iptables -F; iptables -P FORWARD ACCEPT", BOTH, "FORWARD policy ACCEPT"),
    "somebody's rule comes first": ("iptables -I DOCKER-USER -j ACCEPT", BOTH, "-A DOCKER-USER -j ACCEPT"),
    "it is about IPv4 alone": (":", {6}, "ip6tables accepts their packets"),
    "it is about IP alone": (STOP6, set(), "iptables drops IP packets alone"),
}


@pytest.fixture(scope="module")
def policy(vm: Vm) -> Path:
    path = vm.folder / "icc.yml"
    path.write_text("networks: {icc: false, br_netfilter: true}\n")
    return path


def answering(vm: Vm) -> set[int]:
    """The versions of IP by which one container on the default bridge is answered by the other."""
    where = vm.ssh("docker inspect -f '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.GlobalIPv6Address}}' two")
    asked = zip((4, 6), where.stdout.split(), strict=False)
    return {v for v, to in asked if vm.ssh(f"docker exec one nc -w 5 {to} 80 </dev/null", check=False).returncode == 0}


def look(vm: Vm, policy: Path) -> Result:
    return run(vm, "drift.py", "--data", f"policy={policy}")


def assert_found(found: Result, why: str) -> None:
    assert found.code == 2, found.out + found.err
    assert found.states()["networks.icc"] == "fail"
    assert why in found.reason("networks.icc")


def assert_set(vm: Vm) -> None:
    """What a reader of settings sees."""
    assert json.loads(vm.ssh(f"cat {FILE}").stdout)["icc"] is False
    asked = "docker network inspect bridge -f '{{index .Options \"com.docker.network.bridge.enable_icc\"}}'"
    assert vm.ssh(asked).stdout.strip() == "false"


def raw_frames(vm: Vm) -> str:
    (row,) = prove(vm, "-k", "test_networks and raw_frames").values()
    return row["outcome"]


def test_written_and_not_taken_up(vm: Vm, policy: Path) -> None:
    vm.ssh("for n in one two; do docker run -d --name $n --restart always lab/busybox:1 httpd -f -p 80; done")
    vm.ssh(f"cat >{FILE}", input=json.dumps(SET))
    assert answering(vm) == {4}
    assert_found(look(vm, policy), "(set on disk, not in force): iptables accepts their packets")


def test_taken_up_it_stops_ipv4(vm: Vm) -> None:
    vm.ssh("systemctl restart docker; until docker exec one true && docker exec two true; do sleep 1; done")
    assert_set(vm)
    assert answering(vm) == {6}
    vm.save("set")


@pytest.mark.parametrize("way", WAYS)
def test_set_and_not_in_force(vm: Vm, policy: Path, way: str) -> None:
    vm.load("set")
    made, versions, why = WAYS[way]
    vm.ssh(made)
    assert_set(vm)
    assert answering(vm) == versions
    if not versions:
        assert raw_frames(vm) == "failed"
    assert_found(look(vm, policy), why)


def test_hardened_it_is_in_force_whatever_the_way(vm: Vm, policy: Path) -> None:
    vm.load("set")
    vm.ssh("iptables -I DOCKER-USER -j ACCEPT; sysctl -qw net.bridge.bridge-nf-call-iptables=0")
    assert answering(vm) == BOTH
    harden = run(vm, "harden.py", "--data", f"policy={policy}")
    assert harden.states()["networks.icc"] == "pass", harden.out + harden.err
    assert answering(vm) == set()
    assert raw_frames(vm) == "passed"
    for made, _, _ in WAYS.values():
        vm.ssh(made)
    assert answering(vm) == set()
    assert raw_frames(vm) == "passed"


def test_a_network_made_afterwards_is_closed_before_anybody_looks(vm: Vm, policy: Path) -> None:
    policy.write_text("networks: {icc: false, br_netfilter: true, cover: all}\n")
    vm.ssh("docker network create open >/dev/null")
    assert_found(look(vm, policy), "on network open containers reach each other")
    harden = run(vm, "harden.py", "--data", f"policy={policy}", "--data", "accept=container-restart")
    assert harden.states()["networks.icc"] == "pass", harden.out + harden.err
    vm.ssh("docker network create later >/dev/null")
    found = look(vm, policy)
    assert found.states()["networks.icc"] == "pass", found.out
    assert "later" in found.reason("networks.icc")
    assert raw_frames(vm) == "passed"
