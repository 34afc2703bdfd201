"""Declared bridges and VLANs on a real host, proved by packets: what passes before, and what passes after.

Containers are namespaces with veth pairs, so no image is needed; frames are made by hand where ping would be too
polite. The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.drive import Result, executions, run
from tests.lab.image import cache_dir

VARIANT = "stock"
HERE = Path(__file__).parent
POLICY = HERE / "bridges.yml"
USE = ("--data", f"policy={POLICY}")
ACCEPT = ("--data", "accept=network-isolation")

# What a container must not manage, by where it is seen; everything else that passes is listed in ALLOWED.
SIBLINGS = {f"{to} {what}-{to}" for to in ("t-b", "t-x") for what in ("raw", "ip4", "ip6", "routed")}
SIBLINGS |= {"t-b arp", "t-x arp", "l-b raw-l-b", "l-b ip4-l-b", "flow sibling", "flow sibling6"}
SPOOFS = {f"host {what}" for what in ("mac-spoof", "mac-made-up", "ip-spoof", "ip-foreign", "arp-gateway",
                                      "arp-sibling", "ra", "na-gateway")}  # fmt: skip
VLANS = {"db vlan-ip4", "db vlan-raw", "web-b vlan-raw", "db trunk-none"}
VLANS |= {f"{to} {what}" for to in ("web-b", "db") for what in ("tagged-20", "double")}
SERVICES = {"flow other-port", "flow back", "flow host-service", "flow host-service6", "flow metadata"}
ATTACKS = SIBLINGS | SPOOFS | VLANS | SERVICES
ALLOWED = {"flow allowed", "flow host-allowed", "flow neighbour", "host honest", "host honest-b", "db trunk-20",
           "web-b sibling-vlan"}  # fmt: skip

pytestmark = [pytest.mark.lab, pytest.mark.drill]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def script(vm: Vm, verb: str) -> set[str]:
    return set(vm.ssh(f"sh /root/bridges.sh {verb}", timeout=300).stdout.splitlines())


def put_scripts(vm: Vm) -> None:
    for name in ("bridges.sh", "bridges.pl"):
        vm.put(HERE / name, f"/root/{name}")
    # Without AppArmor's parser Docker 20.10 starts no container.
    vm.ssh("apt-get install -qq --no-install-recommends apparmor >/dev/null && systemctl restart docker", timeout=600)


def engine(vm: Vm) -> set[str]:
    """What a real container reaches and is reached by; `world` stands for all that lies outside of the host."""
    vm.ssh(
        "ip netns add world; ip link add world0 type veth peer name eth0 netns world; ip link set world0 up;"
        "ip addr add 192.0.2.1/30 dev world0; ip -n world addr add 192.0.2.2/30 dev eth0; ip -n world link set eth0 up;"
        "ip netns exec world perl /root/bridges.pl serve 192.0.2.2 80 tcp >/dev/null 2>&1 & echo $! >/tmp/lab-pids;"
        "perl /root/bridges.pl serve 169.254.169.254 81 tcp >/dev/null 2>&1 & echo $! >>/tmp/lab-pids;"
        "docker run -d --name lab -p 8088:80 lab/busybox:1 httpd -f -p 80 -h /www >/dev/null"
    )
    asked = {
        "published": "ip netns exec world perl -MIO::Socket::INET -e "
        "'IO::Socket::INET->new(PeerAddr => q(192.0.2.1:8088), Timeout => 5) or exit 1'",
        "outbound": "docker exec lab nc -w 5 192.0.2.2 80 </dev/null",
        "metadata": "docker exec lab nc -w 5 169.254.169.254 81 </dev/null",
    }
    reached = {name for name, command in asked.items() if vm.ssh(command, check=False).returncode == 0}
    vm.ssh("docker rm -f lab >/dev/null; kill $(cat /tmp/lab-pids); ip netns del world", check=False)
    return reached


def bridges(result: Result) -> dict[str, str]:
    return {control: state for control, state in result.states().items() if control.startswith("bridges.")}


def assert_declared(result: Result) -> None:
    assert set(bridges(result).values()) <= {"pass", "not-applicable"}, result.out


def assert_apart(passed: set[str]) -> None:
    assert passed & ATTACKS == set(), sorted(passed & ATTACKS)
    assert passed >= ALLOWED, sorted(ALLOWED - passed)


def test_before_everything_passes(vm: Vm) -> None:
    put_scripts(vm)
    vm.ssh("sysctl -qw net.ipv4.ip_forward=1; iptables -P FORWARD ACCEPT")
    script(vm, "before")
    passed = script(vm, "try")
    vm.ssh("iptables -P FORWARD DROP")  # as Docker sets it: what is allowed is to pass all the same
    assert engine(vm) == {"published", "outbound", "metadata"}
    assert passed >= ATTACKS, sorted(ATTACKS - passed)


def test_the_plan_waits_until_the_parting_is_accepted(vm: Vm) -> None:
    dry = run(vm, "harden.py", *USE, "--dry", yes=False)
    assert "netns t-a" in dry.out, dry.out + dry.err
    assert "accept=network-isolation" in dry.out
    assert vm.ssh("ls /etc/hullproof /var/lib/hullproof", check=False).stdout == ""


def test_after_only_what_is_allowed_passes(vm: Vm, story: dict[str, Any]) -> None:
    harden = run(vm, "harden.py", *USE, *ACCEPT)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    story["run"] = harden.report["run"]["id"]
    assert_apart(script(vm, "try"))
    assert engine(vm) == {"published", "outbound"}


def test_a_second_run_changes_nothing_and_executes_once(vm: Vm) -> None:
    started = executions(vm)
    again = run(vm, "harden.py", *USE)
    assert [change for change in again.host()["changes"] if change["subject"] == "bridges"] == []
    assert executions(vm) - started == 2, "one execution for harden, one for asking"


def test_the_same_after_a_reboot(vm: Vm) -> None:
    script(vm, "clear")
    vm.reboot()
    script(vm, "join")
    assert_apart(script(vm, "try"))
    assert engine(vm) == {"published", "outbound"}
    assert_declared(run(vm, "drift.py", *USE))


def test_the_same_after_the_firewall_and_the_daemon_were_restarted(vm: Vm) -> None:
    vm.ssh("systemctl restart nftables; systemctl restart systemd-networkd docker; sleep 2")
    assert_apart(script(vm, "try"))


def test_drift_is_named_and_put_right(vm: Vm) -> None:
    vm.ssh(
        "bridge link set dev t-a isolated off; bridge vlan add dev db vid 10;"
        "nft insert rule bridge bridges-hullproof within-tenants accept;"
        "ip link add br-hand type bridge; ip link set br-hand up"
    )
    drift = run(vm, "drift.py", *USE)
    assert drift.code == 2
    assert "port t-a of br-tenants is not isolated" in drift.reason("bridges.declared")
    assert "db is a member of VLAN 10" in drift.reason("bridges.declared")
    assert "somebody put a rule into our chain within-tenants: accept" in drift.reason("bridges.filter")
    assert "br-hand was made by hand" in drift.reason("bridges.undeclared")
    vm.ssh("ip link del br-hand")
    harden = run(vm, "harden.py", *USE)
    assert_declared(harden)
    assert_apart(script(vm, "try"))


def test_a_container_with_two_legs_is_found(vm: Vm) -> None:
    vm.ssh(
        "ip link add two type veth peer name eth1 netns t-a; ip link set two master br-web up;"
        "bridge vlan add dev two vid 10 pvid untagged"
    )
    drift = run(vm, "drift.py", *USE)
    assert "netns t-a stands in tenants and web.10, which must not meet" in drift.reason("bridges.meeting")
    vm.ssh("ip link del two")


def cut_off(vm: Vm, more: str = ":") -> Path:
    """Something on the host that nobody foresaw: as soon as the bridge br-late is there, SSH takes no new connection.
    The policy that makes that bridge."""
    vm.put(HERE / "bridges_cut.sh", "/usr/local/sbin/lab-cut")
    rule = 'SUBSYSTEM=="net", KERNEL=="br-late", RUN+="/bin/sh /usr/local/sbin/lab-cut $env{ACTION}"'
    vm.ssh(f"echo '{more}' >/etc/lab-cut; echo '{rule}' >/etc/udev/rules.d/99-lab.rules; udevadm control --reload")
    late = vm.folder / "late.yml"
    late.write_text(POLICY.read_text().replace("  networks:\n", "  networks:\n    late: {bridge: br-late}\n"))
    return late


def assert_taken_back(vm: Vm, late: Path) -> None:
    assert "br-late" not in vm.ssh("ip -br link; ls /etc/systemd/network /etc/systemd/system").stdout
    assert "hullproof-revert" not in vm.ssh("systemctl list-timers --all; ls /etc/systemd/system").stdout
    drift = run(vm, "drift.py", "--data", f"policy={late}")
    assert "the host undid it by itself" in drift.reason("bridges.reverted")


def test_a_change_that_cuts_us_off_is_taken_back_by_the_host(vm: Vm) -> None:
    late = cut_off(vm)
    cut = run(vm, "harden.py", "--data", f"policy={late}", *ACCEPT)
    assert cut.code == 1, cut.out
    assert "could not be confirmed over a fresh connection" in cut.host()["error"]
    assert "the host has taken it back by itself" in cut.host()["error"]
    assert_taken_back(vm, late)
    again = run(vm, "harden.py", "--data", f"policy={late}", *ACCEPT)
    assert "accept=reverted-network" in again.out
    assert_taken_back(vm, late)
    assert_apart(script(vm, "try"))


def test_a_reboot_before_it_is_confirmed_takes_it_back_too(vm: Vm) -> None:
    """Long before the timer would be due."""
    late, boot = cut_off(vm, "systemd-run --on-active=20 systemctl reboot"), vm.boot_id()
    run(vm, "harden.py", "--data", f"policy={late}", "--data", "accept=network-isolation,reverted-network")
    vm.wait_ssh()
    assert vm.boot_id() != boot
    assert "Take back unconfirmed" in vm.ssh("journalctl -b -q -u hullproof-revert.service").stdout
    assert_taken_back(vm, late)


def test_rollback_takes_everything_away(vm: Vm, story: dict[str, Any]) -> None:
    undone = run(vm, "rollback.py", *USE, "--data", f"run={story['run']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    left = vm.ssh("ls /etc/systemd/network /etc/hullproof 2>/dev/null; nft list tables", check=False).stdout
    assert "05-hullproof" not in left
    assert "bridges-hullproof" not in left


# Each takes over from systemd-networkd, which the image has, at the next boot; $card is the one that leads out.
IFUPDOWN = r"""
dpkg -i /root/extra/ifupdown_*.deb
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
cd /root/extra/nm && for f in *.deb; do
  dpkg-query -W -f '${db:Status-Status}' ${f%%_*} 2>/dev/null | grep -qx installed || set -- "$@" $f
done
dpkg -i --force-depends "$@"
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


@pytest.mark.on("debian12")
@pytest.mark.parametrize("takeover", [IFUPDOWN, NETWORKMANAGER], ids=["ifupdown", "networkmanager"])
def test_the_same_under_another_manager(fresh: Vm, takeover: str) -> None:
    """Its packages are brought along: `apt-get download` them into extra/bookworm of the lab's cache."""
    extra = cache_dir() / "extra" / "bookworm"
    if not extra.exists():
        pytest.skip(f"no packages in {extra}")
    put_scripts(fresh)
    archive = fresh.folder / "extra.tar"
    subprocess.run(["tar", "-C", str(extra), "-cf", str(archive), "."], check=True)
    fresh.put(archive, "/root/extra.tar")
    card = 'card=$(ip -j route show default | sed \'s/.*"dev":"\\([^"]*\\).*/\\1/\')'
    fresh.ssh(f"mkdir /root/extra; tar -C /root/extra -xf /root/extra.tar; {card}; {takeover}", timeout=600)
    fresh.ssh("systemctl disable -q systemd-networkd systemd-networkd.socket")
    fresh.reboot()
    fresh.ssh("sysctl -qw net.ipv4.ip_forward=1")
    script(fresh, "before")
    assert_declared(run(fresh, "harden.py", *USE, *ACCEPT))
    assert_apart(script(fresh, "try"))
    script(fresh, "clear")
    fresh.reboot()
    script(fresh, "join")
    assert_apart(script(fresh, "try"))
    assert_declared(run(fresh, "drift.py", *USE))
