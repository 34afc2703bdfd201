"""The same declared networks on a host with a firewall of its own, and what that firewall's reload leaves of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import ACCEPT, POLICY, assert_apart, assert_declared, put_scripts, script
from tests.lab.machine.drive import run

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill]

FIREWALLS = {"firewalld": ":", "ufw": "ufw allow 22/tcp && ufw deny in on br-tenants && ufw --force enable"}
RELOAD = {"firewalld": "firewall-cmd --reload", "ufw": "ufw reload"}
# What no firewall of the host sees, and what this one refuses though the policy allows it.
UNSEEN = {"t-b arp", "db vlan-raw"}
REFUSED = {"flow allowed", "flow host-allowed"}
FLOWS = """    - {from: world, to: web.20, proto: tcp, port: 5433}
    - {from: web.10, to: world, proto: tcp, port: 80}
"""
# A namespace that the host has a second default route to stands for the world. It knows no way back to web.10.
WORLD = """ip netns add world && ip link add world0 type veth peer name eth0 netns world && ip link set world0 up &&
ip addr add 192.0.2.1/30 dev world0 && ip route add default via 192.0.2.2 dev world0 metric 9000 &&
printf 'addr add 192.0.2.2/30 dev eth0\nlink set eth0 up\nroute add 10.81.20.0/24 via 192.0.2.1\n' | ip -n world -b -"""
WAYS = {"in": ("db", "world", "10.81.20.20", 5433), "out": ("world", "web-a", "192.0.2.2", 80)}
ASK = """ip netns exec {serves} perl /root/bridges.pl serve 0.0.0.0 {port} tcp >/dev/null 2>&1 & pid=$!; sleep 2
ip netns exec {asks} perl -MIO::Socket::INET -e '
  IO::Socket::INET->new(PeerAddr => q({to}:{port}), Timeout => 5) or exit 1'
status=$?; kill $pid; exit $status"""


def world(vm: Vm) -> set[str]:
    """The ways between the networks and the world that are open."""
    asked = {
        way: ASK.format(serves=serves, asks=asks, to=to, port=port) for way, (serves, asks, to, port) in WAYS.items()
    }
    return {way for way, command in asked.items() if vm.ssh(command, check=False).returncode == 0}


@pytest.mark.parametrize("firewall", FIREWALLS)
def test_beside_a_firewall_the_policy_holds_both_ways(fresh: Vm, firewall: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text(POLICY.read_text().replace("  allow:\n", f"  allow:\n{FLOWS}"))
    use = ("--data", f"policy={policy}")
    fresh.ssh(
        f"apt-get -qq install --no-install-recommends apparmor {firewall} 2>&1 && {FIREWALLS[firewall]} &&"
        "systemctl restart docker",
        timeout=900,
    )
    put_scripts(fresh)
    fresh.ssh(f"sysctl -qw net.ipv4.ip_forward=1; {WORLD}")
    script(fresh, "before")
    before = script(fresh, "try")
    assert before >= UNSEEN
    assert not before & REFUSED
    assert world(fresh) == set()

    harden = run(fresh, "harden.py", *use, *ACCEPT)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    assert_apart(script(fresh, "try"))
    assert world(fresh) == set(WAYS)

    fresh.ssh(RELOAD[firewall], timeout=300)
    assert_apart(script(fresh, "try"))
    assert world(fresh) == set(WAYS)
    again = run(fresh, "harden.py", *use)
    assert again.host()["changes"] == []
    assert_declared(again)

    script(fresh, "clear")
    fresh.reboot()
    fresh.ssh(WORLD)
    script(fresh, "join")
    assert_apart(script(fresh, "try"))
    assert world(fresh) == set(WAYS)
    assert_declared(run(fresh, "drift.py", *use))

    undone = run(fresh, "rollback.py", "--data", f"run={harden.report['run']['id']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    left = fresh.ssh("ls -R /etc/firewalld 2>/dev/null; ufw show added 2>/dev/null; nft list tables; iptables -S")
    assert "hullproof" not in left.stdout
