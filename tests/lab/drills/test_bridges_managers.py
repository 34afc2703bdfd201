"""The same declared networks where ifupdown or NetworkManager makes them last, or networkd beside netplan's files."""

from __future__ import annotations

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import ACCEPT, USE, assert_all_pass, assert_apart, assert_declared, script
from tests.lab.machine.drive import run

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill]

# Each takes over from systemd-networkd, which the image has, at the next boot; $card is the one that leads out.
IFUPDOWN = r"""
apt-get install -qq --no-install-recommends ifupdown >/dev/null || exit 1
cat >/etc/network/interfaces <<END
source /etc/network/interfaces.d/*
auto lo $card
iface lo inet loopback
iface $card inet static
  address 10.0.2.15/24
  gateway 10.0.2.2
END
systemctl enable -q networking
"""
NETWORKMANAGER = r"""
apt-get install -qq --no-install-recommends network-manager >/dev/null || exit 1
cat >/etc/NetworkManager/system-connections/lab.nmconnection <<END
[connection]
id=lab
type=ethernet
interface-name=$card
[ipv4]
method=manual
address1=10.0.2.15/24,10.0.2.2
[ipv6]
method=disabled
END
chmod 600 /etc/NetworkManager/system-connections/lab.nmconnection
systemctl enable -q NetworkManager
"""
# It renders for systemd-networkd, which stays.
NETPLAN = r"""
apt-get install -qq --no-install-recommends netplan.io >/dev/null || exit 1
rm /etc/systemd/network/10-lab.network
cat >/etc/netplan/lab.yaml <<END
network:
  version: 2
  ethernets:
    $card: {addresses: [10.0.2.15/24], routes: [{to: default, via: 10.0.2.2}], link-local: []}
END
chmod 600 /etc/netplan/lab.yaml
"""
OFF = "systemctl disable -q systemd-networkd.socket systemd-networkd; systemctl mask -q systemd-networkd"
# Nothing that is installed starts before the reboot: two managers would fight for the card.
TAKE_OVER = r"""
card=$(ip -j route show default | sed 's/.*"dev":"\([^"]*\).*/\1/')
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d
%s
rm /usr/sbin/policy-rc.d
"""
# What of ours could be left: files of any manager, rules, devices, and what ifupdown takes to be up.
LEFT = (
    "ls /etc/hullproof /etc/network/interfaces.d /etc/NetworkManager/system-connections /etc/udev/rules.d 2>/dev/null;"
    "nft list tables; ip -br link; nmcli -t -f NAME connection 2>/dev/null;"
    "[ ! -e /run/network/ifstate ] || sed '/^lo=/d; /^e/d; s/^/hullproof made /' /run/network/ifstate"
)


@pytest.mark.parametrize(
    ("manager", "takeover"),
    [("ifupdown", IFUPDOWN + OFF), ("NetworkManager", NETWORKMANAGER + OFF), ("systemd-networkd", NETPLAN)],
    ids=["ifupdown", "networkmanager", "netplan"],
)
def test_the_same_under_another_manager(fresh: Vm, manager: str, takeover: str) -> None:
    fresh.ssh(TAKE_OVER % takeover, timeout=900)
    fresh.reboot()
    assert_all_pass(fresh)

    harden = run(fresh, "harden.py", *USE, *ACCEPT)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    assert f"{manager} makes them again at boot" in harden.reason("bridges.declared")
    fresh.ssh("! command -v netplan || netplan apply", timeout=300)
    assert_apart(script(fresh, "try"))

    script(fresh, "clear")
    fresh.reboot()
    script(fresh, "join")
    assert_apart(script(fresh, "try"))
    assert_declared(run(fresh, "drift.py", *USE))

    undone = run(fresh, "rollback.py", *USE, "--data", f"run={harden.report['run']['id']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    left = fresh.ssh(LEFT).stdout
    assert not [line for line in left.splitlines() if "hullproof" in line or "br-web." in line], left
    fresh.reboot()
    assert "br-tenants" not in fresh.ssh("ip -br link; " + LEFT).stdout
