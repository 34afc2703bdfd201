"""Containers on Docker's own networks that send as somebody else, by frames: what comes before, and what after.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import ipaddress
import json
import time
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import put_scripts
from tests.lab.machine.drive import count_executions, executions, run

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]

ATTACKS = {"mac-neighbour", "mac-made-up", "ip-neighbour", "arp-answers", "arp-asks", "ip6-neighbour", "nd-neighbour"}
HONEST = {"honest", "honest-arp", "honest6", "honest-nd"}
RUN = "docker run -d --restart always --network six -p {port}:80 --name {name} lab/busybox:1 httpd -f -p 80 -h /www"


@pytest.fixture(scope="module")
def policy(vm: Vm) -> tuple[str, ...]:
    path = vm.folder / "antispoof.yml"
    path.write_text("networks: {antispoof: true, cover: all}\n")
    return ("--data", f"policy={path}")


def end(vm: Vm, name: str) -> dict[str, Any]:
    inspected = json.loads(vm.ssh(f"docker inspect {name}").stdout)[0]
    pid, found = inspected["State"]["Pid"], inspected["NetworkSettings"]["Networks"]["six"]
    vm.ssh(f"mkdir -p /var/run/netns && ln -sfn /proc/{pid}/ns/net /var/run/netns/{name}")
    return {
        "mac": found["MacAddress"].replace(":", ""),
        "ip": found["IPAddress"],
        "six": ipaddress.ip_address(found["GlobalIPv6Address"]).exploded.replace(":", ""),
        "gateway": found["Gateway"],
        "bridge": f"br-{found['NetworkID'][:12]}",
    }


def arrives(vm: Vm) -> set[str]:
    """What the host hears of `one`, which is in turn itself and `two`."""
    one, two = end(vm, "one"), end(vm, "two")
    host = vm.ssh(f"cat /sys/class/net/{one['bridge']}/address").stdout.strip().replace(":", "")
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
    lines = [f"listen host {one['bridge']}", *(f"frame one {name} {frame}" for name, frame in frames.items())]
    heard = vm.ssh("perl /root/bridges.pl try", input="\n".join(lines) + "\n", timeout=120).stdout.splitlines()
    return {line.removeprefix("host ") for line in heard}


def serves(vm: Vm) -> bool:
    """Whether all that is honest goes on: published ports, and a container that asks the host."""
    dial = "perl -MIO::Socket::IP -e 'IO::Socket::IP->new(PeerHost => q({}), PeerPort => {}, Timeout => 5) or exit 1'"
    asks = [dial.format("10.0.2.15", port) for port in (8081, 8082)]
    for name in ("one", "two"):
        asks += [f"ip netns exec {name} {dial.format(to, 22)}" for to in (end(vm, name)["gateway"], "fd00:77::1")]
    return all(vm.ssh(ask, check=False).returncode == 0 for ask in asks)


def test_before_a_container_is_whoever_it_says(vm: Vm) -> None:
    vm.ssh("apt-get install -qq --no-install-recommends apparmor >/dev/null && systemctl restart docker", timeout=600)
    put_scripts(vm)
    vm.ssh("docker network create --ipv6 --subnet 172.28.0.0/24 --subnet fd00:77::/64 six")
    for name, port in (("one", 8081), ("two", 8082)):
        vm.ssh(RUN.format(name=name, port=port), timeout=240)
    assert serves(vm)
    assert arrives(vm) == ATTACKS | HONEST
    assert not serves(vm), "what was sent to `two` came to `one` instead"


def test_after_it_is_itself_alone(vm: Vm, policy: tuple[str, ...]) -> None:
    vm.ssh("ip neigh flush all")  # what it was told before
    harden = run(vm, "harden.py", *policy)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert harden.states()["networks.antispoof"] == "pass", harden.out
    assert arrives(vm) == HONEST
    assert serves(vm)


def test_a_second_run_changes_nothing_and_executes_once(vm: Vm, policy: tuple[str, ...]) -> None:
    count_executions(vm)
    started = executions(vm)
    assert run(vm, "harden.py", *policy).host()["changes"] == []
    assert executions(vm) - started == 2, "one execution for harden, one for asking"


@pytest.mark.parametrize(
    "what",
    [
        "docker restart -t 0 one two",
        f"docker rm -f one && {RUN.format(name='one', port=8081)}",
        "systemctl restart docker",
        "systemctl reload nftables || systemctl restart nftables",
        "reboot",
    ],
)
def test_the_same_after(vm: Vm, what: str) -> None:
    if what == "reboot":
        vm.reboot()
    else:
        vm.ssh(what, timeout=240)
    vm.ssh("timeout 120 sh -c 'until [ \"$(docker ps -q | wc -l)\" = 2 ]; do sleep 1; done'; sleep 3", timeout=140)
    assert arrives(vm) == HONEST
    assert serves(vm)


def test_drift_is_named_and_put_right(vm: Vm, policy: tuple[str, ...]) -> None:
    vm.ssh("nft flush set bridge hullproof known")
    assert "which container owns port" in run(vm, "drift.py", *policy).reason("networks.antispoof")
    assert run(vm, "harden.py", *policy).states()["networks.antispoof"] == "pass"
    vm.ssh("nft insert rule bridge hullproof as-itself accept")
    assert "differs from the policy: accept" in run(vm, "drift.py", *policy).reason("networks.antispoof")
    assert run(vm, "harden.py", *policy).states()["networks.antispoof"] == "pass"
    assert arrives(vm) == HONEST


def test_what_has_gone_is_forgotten(vm: Vm) -> None:
    def known() -> int:
        return vm.ssh("sleep 2; nft list table bridge hullproof").stdout.count('"veth')

    before = known()
    vm.ssh(RUN.format(name="three", port=8083), timeout=240)
    assert (one := known()) > before
    vm.ssh("docker network connect bridge three")
    assert known() > one
    vm.ssh("docker rm -f three")
    deadline = time.monotonic() + 30  # udev and nft take their time on a busy host
    while known() != before:
        assert time.monotonic() < deadline, vm.ssh("nft list table bridge hullproof; bridge link").stdout


def test_rollback_takes_everything_away(vm: Vm, policy: tuple[str, ...]) -> None:
    while run(vm, "rollback.py", *policy).host()["changes"]:
        pass
    left = vm.ssh("nft list tables; ls /etc/hullproof /etc/udev/rules.d /etc/systemd/system", check=False).stdout
    assert "hullproof" not in left.replace("/etc/hullproof", "")
    assert arrives(vm) == ATTACKS | HONEST
