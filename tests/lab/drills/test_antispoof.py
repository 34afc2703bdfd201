"""Containers on networks of Docker's and of Podman's that send as somebody else, by frames: what comes before, and what
after.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import ipaddress
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import put_scripts
from tests.lab.machine.drive import count_executions, executions, outcomes, prove, run

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]

ATTACKS = {"mac-neighbour", "mac-made-up", "ip-neighbour", "arp-answers", "arp-asks", "ip6-neighbour", "nd-neighbour"}
HONEST = {"honest", "honest-arp", "honest6", "honest-nd"}
PROOFS = {"networks/forged_address/podman", "networks/neighbours_place/podman"}  # Docker's: test_weak.py


@dataclass(frozen=True)
class Engine:
    """Its network `six`, on which `one` and `two` serve."""

    client: str
    subnets: tuple[str, str]
    port: int  # of `one`; those of the others follow
    bridge: str  # how to ask for the bridge

    def start(self, name: str) -> str:
        """The command that makes a container."""
        port = self.port + ("one", "two", "three").index(name)
        serve = "lab/busybox:1 httpd -f -p 80 -h /www"
        return f"{self.client} run -d --restart always --network six -p {port}:80 --name {name} {serve}"

    def __str__(self) -> str:
        return self.client


DOCKER = Engine("docker", ("172.28.0.0/24", "fd00:77::/64"), 8081, "echo br-$(docker network ls -qf name=six)")
PODMAN = Engine(
    "podman", ("172.29.0.0/24", "fd00:78::/64"), 8091, "podman network inspect six -f '{{.NetworkInterface}}'"
)
each_engine = pytest.mark.parametrize("engine", [DOCKER, PODMAN], ids=str)


@pytest.fixture(scope="module")
def policy(vm: Vm) -> tuple[str, ...]:
    path = vm.folder / "antispoof.yml"
    path.write_text("networks: {antispoof: true, cover: all}\n")
    return ("--data", f"policy={path}")


def end(vm: Vm, engine: Engine, name: str) -> dict[str, Any]:
    inspected = json.loads(vm.ssh(f"{engine} inspect {name}").stdout)[0]
    pid, found = inspected["State"]["Pid"], inspected["NetworkSettings"]["Networks"]["six"]
    vm.ssh(f"mkdir -p /var/run/netns && ln -sfn /proc/{pid}/ns/net /var/run/netns/{engine}-{name}")
    return {
        "mac": found["MacAddress"].replace(":", ""),
        "ip": found["IPAddress"],
        "six": ipaddress.ip_address(found["GlobalIPv6Address"]).exploded.replace(":", ""),
        "gateway": found["Gateway"],
    }


def arrives(vm: Vm, engine: Engine) -> set[str]:
    """What the host hears of `one`, which is in turn itself and `two`."""
    one, two = end(vm, engine, "one"), end(vm, engine, "two")
    bridge = vm.ssh(engine.bridge).stdout.strip()
    host = vm.ssh(f"cat /sys/class/net/{bridge}/address").stdout.strip().replace(":", "")
    four = "{to}{mac}0800 udp {ip} {gw}"
    six = "{to}{mac}86dd icmp6 {six} {all} {body}"
    arp = "{to}{mac}0806 arp {op} {mac} {ip} {host} {gw}"
    ask, say = "8000000000000000", "8800000020000000"
    words = {"to": host, "host": host, "gw": one["gateway"], "all": "ff02" + "0" * 27 + "1", "op": 2}
    me, she = words | one, words | two
    frames = {
        "honest": four.format(**me),
        "honest-arp": arp.format(**me),
        "honest6": six.format(**me, body=ask),
        "honest-nd": six.format(**me, body=say + one["six"]),
        "mac-neighbour": four.format(**me | {"mac": two["mac"]}),
        "mac-made-up": four.format(**me | {"mac": "020000007777"}),
        "ip-neighbour": four.format(**she | {"mac": one["mac"]}),
        "arp-answers": arp.format(**she | {"mac": one["mac"]}),
        "arp-asks": arp.format(**she | {"mac": one["mac"], "op": 1}),
        "ip6-neighbour": six.format(**she | {"mac": one["mac"]}, body=ask),
        "nd-neighbour": six.format(**me, body=say + two["six"]),
    }
    lines = [f"listen host {bridge}", *(f"frame {engine}-one {name} {frame}" for name, frame in frames.items())]
    heard = vm.ssh("perl /root/bridges.pl try", input="\n".join(lines) + "\n", timeout=120).stdout.splitlines()
    return {line.removeprefix("host ") for line in heard}


def serves(vm: Vm, engine: Engine) -> bool:
    """Whether all that is honest goes on: published ports, and a container that asks the host."""
    dial = "perl -MIO::Socket::IP -e 'IO::Socket::IP->new(PeerHost => q({}), PeerPort => {}, Timeout => 5) or exit 1'"
    asks = [dial.format("10.0.2.15", engine.port + number) for number in (0, 1)]
    for name in ("one", "two"):
        gateways = (end(vm, engine, name)["gateway"], engine.subnets[1].replace("::/64", "::1"))
        asks += [f"ip netns exec {engine}-{name} {dial.format(to, 22)}" for to in gateways]
    return all(vm.ssh(ask, check=False).returncode == 0 for ask in asks)


def test_before_both_engines_run_containers(vm: Vm) -> None:
    vm.ssh("apt-get install -qq --no-install-recommends apparmor podman >/dev/null", timeout=900)
    # Docker's FORWARD policy would drop what netavark accepts: it sets DROP only where it turns forwarding on itself.
    vm.ssh(
        "echo net.ipv4.ip_forward=1 >/etc/sysctl.d/50-lab.conf; iptables -P FORWARD ACCEPT; systemctl restart docker"
    )
    vm.ssh("docker save lab/busybox:1 | podman load && systemctl enable -q podman-restart", timeout=600)
    put_scripts(vm)
    for engine in (DOCKER, PODMAN):
        four, six = engine.subnets
        plain = "--disable-dns" if engine is PODMAN else ""
        vm.ssh(f"{engine} network create {plain} --ipv6 --subnet {four} --subnet {six} six")
        for name in ("one", "two"):
            vm.ssh(engine.start(name), timeout=240)


@each_engine
def test_before_a_container_is_whoever_it_says(vm: Vm, engine: Engine) -> None:
    assert serves(vm, engine)
    assert arrives(vm, engine) == ATTACKS | HONEST
    assert not serves(vm, engine), "what was sent to `two` came to `one` instead"


def test_before_the_proofs_show_it(vm: Vm, policy: tuple[str, ...]) -> None:
    assert set(outcomes(forgeries(vm, policy), "failed")) == PROOFS


def test_after_it_is_itself_alone(vm: Vm, policy: tuple[str, ...]) -> None:
    vm.ssh("ip neigh flush all")  # what it was told before
    harden = run(vm, "harden.py", *policy)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert harden.states()["networks.antispoof"] == "pass", harden.out
    for engine in (DOCKER, PODMAN):
        assert arrives(vm, engine) == HONEST
        assert serves(vm, engine)


def test_after_the_proofs_hold(vm: Vm, policy: tuple[str, ...]) -> None:
    rows = forgeries(vm, policy)
    assert set(outcomes(rows, "passed")) == PROOFS, rows


def forgeries(vm: Vm, policy: tuple[str, ...]) -> dict[str, dict[str, str]]:
    return prove(vm, *policy, "-k", "(forged_address or neighbours_place) and podman")


def test_a_second_run_changes_nothing_and_executes_once(vm: Vm, policy: tuple[str, ...]) -> None:
    count_executions(vm)
    started = executions(vm)
    assert run(vm, "harden.py", *policy).host()["changes"] == []
    assert executions(vm) - started == 2, "one execution for harden, one for asking"


@pytest.mark.parametrize(
    "what",
    [
        "docker restart -t 0 one two; podman restart -t 0 one two",
        f"docker rm -f one && {DOCKER.start('one')}; podman rm -f one && {PODMAN.start('one')}",
        "systemctl restart docker",
        # The engines' own rules come back as they are told to, hullproof's by themselves.
        "systemctl reload nftables || systemctl restart nftables; systemctl restart docker; podman network reload -a",
        "reboot",
    ],
)
def test_the_same_after(vm: Vm, what: str) -> None:
    if what == "reboot":
        vm.reboot()
    else:
        vm.ssh(what, timeout=240)
    for engine in (DOCKER, PODMAN):
        up = f"timeout 120 sh -c 'until [ \"$({engine} ps -q | wc -l)\" = 2 ]; do sleep 1; done'"
        vm.ssh(f"{up}; sleep 3", timeout=140)
        assert arrives(vm, engine) == HONEST
        assert serves(vm, engine)


def test_drift_is_named_and_put_right(vm: Vm, policy: tuple[str, ...]) -> None:
    vm.ssh("nft flush set bridge hullproof known")
    assert "which container owns port" in run(vm, "drift.py", *policy).reason("networks.antispoof")
    assert run(vm, "harden.py", *policy).states()["networks.antispoof"] == "pass"
    vm.ssh("nft insert rule bridge hullproof as-itself accept")
    assert "differs from the policy: accept" in run(vm, "drift.py", *policy).reason("networks.antispoof")
    assert run(vm, "harden.py", *policy).states()["networks.antispoof"] == "pass"
    assert arrives(vm, PODMAN) == HONEST


@each_engine
def test_what_has_gone_is_forgotten(vm: Vm, engine: Engine) -> None:
    def known() -> int:
        return vm.ssh("sleep 2; nft list table bridge hullproof").stdout.count('"veth')

    before = known()
    vm.ssh(engine.start("three"), timeout=240)
    assert (one := known()) > before
    vm.ssh(f"{engine} network connect {'bridge' if engine is DOCKER else 'podman'} three")
    assert known() > one
    vm.ssh(f"{engine} rm -f three", timeout=120)
    deadline = time.monotonic() + 30  # udev and nft take their time on a busy host
    while known() != before:
        assert time.monotonic() < deadline, vm.ssh("nft list table bridge hullproof; bridge link").stdout


def test_rollback_takes_everything_away(vm: Vm, policy: tuple[str, ...]) -> None:
    while run(vm, "rollback.py", *policy).host()["changes"]:
        pass
    left = vm.ssh("nft list tables; ls /etc/hullproof /etc/udev/rules.d /etc/systemd/system", check=False).stdout
    assert "hullproof" not in left.replace("/etc/hullproof", "")
    for engine in (DOCKER, PODMAN):
        assert arrives(vm, engine) == ATTACKS | HONEST
