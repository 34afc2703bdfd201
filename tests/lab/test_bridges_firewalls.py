"""The same declared networks on a host with a firewall of its own, and what that firewall's reload leaves of them."""

from __future__ import annotations

import pytest

from tests.lab import Vm
from tests.lab.bridges import ACCEPT, USE, assert_apart, assert_declared, put_scripts, script
from tests.lab.drive import run

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill]

# ufw alone decides what reaches the host itself: there is nothing to tell it what else is let through.
UFW = "ufw allow 22/tcp && ufw allow in on br-tenants to any port 53 proto udp && ufw --force enable"
FIREWALLS = {"firewalld": ":", "ufw": UFW}
RELOAD = {"firewalld": "firewall-cmd --reload", "ufw": "ufw reload"}
# What no firewall of the host sees, and what this one refuses though the policy allows it.
UNSEEN = {"t-b arp", "db vlan-raw"}
REFUSED = "flow allowed"


@pytest.mark.parametrize("firewall", FIREWALLS)
def test_beside_a_firewall_the_policy_holds_both_ways(fresh: Vm, firewall: str) -> None:
    fresh.ssh(
        f"apt-get -qq install --no-install-recommends apparmor {firewall} 2>&1 && {FIREWALLS[firewall]} &&"
        "systemctl restart docker",
        timeout=900,
    )
    put_scripts(fresh)
    fresh.ssh("sysctl -qw net.ipv4.ip_forward=1")
    script(fresh, "before")
    before = script(fresh, "try")
    assert before >= UNSEEN
    assert REFUSED not in before

    harden = run(fresh, "harden.py", *USE, *ACCEPT)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    assert_apart(script(fresh, "try"))

    fresh.ssh(RELOAD[firewall], timeout=300)
    assert_apart(script(fresh, "try"))
    again = run(fresh, "harden.py", *USE)
    assert again.host()["changes"] == []
    assert_declared(again)

    script(fresh, "clear")
    fresh.reboot()
    script(fresh, "join")
    assert_apart(script(fresh, "try"))
    assert_declared(run(fresh, "drift.py", *USE))

    undone = run(fresh, "rollback.py", "--data", f"run={harden.report['run']['id']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert "hullproof" not in fresh.ssh("ls -R /etc/firewalld 2>/dev/null; nft list tables; iptables -S").stdout
