"""What the drills of bridges share: the networks as namespaces, and what may pass between them and what may not.

Containers are namespaces with veth pairs, so no image is needed; frames are made by hand where ping would be too
polite.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab import Vm
from tests.lab.machine.drive import Result

HERE = Path(__file__).parent
POLICY = HERE / "bridges.yml"
USE = ("--data", f"policy={POLICY}")
ACCEPT = ("--data", "accept=network-isolation,metadata")

# What a container must not manage, by where it is seen; everything else that passes is listed in ALLOWED.
SIBLINGS = {f"{to} {what}-{to}" for to in ("t-b", "t-x") for what in ("raw", "ip4", "ip6", "routed")}
SIBLINGS |= {"t-b arp", "t-x arp", "l-b raw-l-b", "l-b ip4-l-b", "flow sibling", "flow sibling6"}
SPOOFS = {f"host {what}" for what in ("mac-spoof", "mac-made-up", "ip-spoof", "ip-foreign", "arp-gateway",
                                      "arp-sibling", "ra", "na-gateway")}  # fmt: skip
VLANS = {"db vlan-ip4", "db vlan-raw", "web-b vlan-raw", "db trunk-none"}
VLANS |= {f"{to} {what}" for to in ("web-b", "db", "out") for what in ("tagged-20", "double")}
SERVICES = {"flow other-port", "flow back", "flow host-service", "flow host-service6", "flow metadata"}
ATTACKS = SIBLINGS | SPOOFS | VLANS | SERVICES
ALLOWED = {"flow allowed", "flow host-allowed", "flow neighbour", "host honest", "host honest-b", "db trunk-20",
           "web-b sibling-vlan"}  # fmt: skip


def script(vm: Vm, verb: str, switch: str = "linux") -> set[str]:
    return set(vm.ssh(f"SWITCH={switch} sh /root/bridges.sh {verb}", timeout=300).stdout.splitlines())


def put_scripts(vm: Vm) -> None:
    for name in ("bridges.sh", "bridges.pl"):
        vm.put(HERE / name, f"/root/{name}")


def assert_all_pass(vm: Vm, switch: str = "linux") -> None:
    """Bridges made by hand, and nothing in anybody's way."""
    put_scripts(vm)
    vm.ssh("sysctl -qw net.ipv4.ip_forward=1; iptables -P FORWARD ACCEPT")
    script(vm, "before", switch)
    passed = script(vm, "try", switch)
    assert passed >= ATTACKS, sorted(ATTACKS - passed)
    vm.ssh("iptables -P FORWARD DROP")  # as Docker sets it: what is allowed is to pass all the same


def with_late(vm: Vm) -> Path:
    """The policy with one network more, whose bridge nobody has made by hand."""
    late = vm.folder / "late.yml"
    late.write_text(POLICY.read_text().replace("  networks:\n", "  networks:\n    late: {bridge: br-late}\n"))
    return late


def cut_when(vm: Vm, action: str, more: str = ":") -> None:
    """Something on the host that nobody foresaw: as br-late comes (`add`) or goes (`remove`), SSH takes no new
    connection, and `more` is run, until the bridge does the contrary."""
    vm.put(HERE / "bridges_cut.sh", "/usr/local/sbin/lab-cut")
    verbs = {"add": "mend", "remove": "mend"} | {action: "cut"}
    match = 'SUBSYSTEM=="net", KERNEL=="br-late", ACTION=="{}", RUN+="/bin/sh /usr/local/sbin/lab-cut {}"'
    rules = "\n".join(match.format(*pair) for pair in verbs.items())
    vm.ssh(f"echo '{more}' >/etc/lab-cut; echo '{rules}' >/etc/udev/rules.d/99-lab.rules; udevadm control --reload")


def uncut(vm: Vm) -> None:
    vm.ssh("rm -f /etc/udev/rules.d/99-lab.rules; udevadm control --reload")


def engine(vm: Vm, network: str = "bridge", tool: str = "docker") -> set[str]:
    """What a real container reaches and is reached by; `world` stands for all that lies outside of the host."""
    vm.ssh(
        "ip addr replace 169.254.169.254/32 dev lo; ip netns add world;"
        "ip link add world0 type veth peer name eth0 netns world; ip link set world0 up;"
        "ip addr add 192.0.2.1/30 dev world0; ip -n world addr add 192.0.2.2/30 dev eth0; ip -n world link set eth0 up;"
        "ip netns exec world perl /root/bridges.pl serve 192.0.2.2 80 tcp >/dev/null 2>&1 & echo $! >/tmp/lab-pids;"
        "perl /root/bridges.pl serve 169.254.169.254 81 tcp >/dev/null 2>&1 & echo $! >>/tmp/lab-pids;"
        f"{tool} run -d --name lab --network {network} -p 8088:80 lab/busybox:1 httpd -f -p 80 -h /www >/dev/null",
        timeout=240,
    )
    asked = {
        "published": "ip netns exec world perl -MIO::Socket::INET -e "
        "'IO::Socket::INET->new(PeerAddr => q(192.0.2.1:8088), Timeout => 5) or exit 1'",
        "outbound": f"{tool} exec lab nc -w 5 192.0.2.2 80 </dev/null",
        "metadata": f"{tool} exec lab nc -w 5 169.254.169.254 81 </dev/null",
    }
    reached = {name for name, command in asked.items() if vm.ssh(command, check=False).returncode == 0}
    vm.ssh(f"{tool} rm -f lab >/dev/null; kill $(cat /tmp/lab-pids); ip netns del world", check=False)
    return reached


def bridges(result: Result) -> dict[str, str]:
    return {control: state for control, state in result.states().items() if control.startswith("bridges.")}


def assert_declared(result: Result) -> None:
    assert set(bridges(result).values()) <= {"pass", "not-applicable"}, result.out


def assert_apart(passed: set[str]) -> None:
    assert passed & ATTACKS == set(), sorted(passed & ATTACKS)
    assert passed >= ALLOWED, sorted(ALLOWED - passed)
