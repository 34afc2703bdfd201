"""Networks on Open vSwitch: what their flows let pass."""

from __future__ import annotations

import ipaddress
import re

import pytest

from deploys.bridges.openvswitch.flows import GROUPS, flows, numbers
from deploys.bridges.rules import BridgeNetwork, Port, Segment, segments
from tests.support.bridges import TENANTS
from tests.support.openvswitch import RULES, TENANTS_S, WEB_S, A, B

C, MAC = "02:00:00:00:80:0c", "02:00:00:00:77:77"
GATEWAY6 = "fd00:80::1"
ALL, HOST = "ff:ff:ff:ff:ff:ff", "HOST-MAC"

# What a keyword of ovs-fields(7) stands for.
WORDS = {
    "arp": {"eth": "arp"}, "ip": {"eth": "ip"}, "ipv6": {"eth": "ipv6"}, "udp": {"eth": "ip", "l4": "udp"},
    "udp6": {"eth": "ipv6", "l4": "udp"}, "tcp": {"eth": "ip", "l4": "tcp"}, "tcp6": {"eth": "ipv6", "l4": "tcp"},
    "icmp6": {"eth": "ipv6", "l4": "icmp6"},
}  # fmt: skip


class Played:
    """A switch with a network's flows, which it plays as ovs-ofctl(8) and ovs-actions(7) say."""

    def __init__(self, net: BridgeNetwork, closed: bool = False) -> None:
        name = next(name for name, other in RULES.networks.items() if other is net)
        self.rows = [line.partition(",actions=") for line in flows(net, segments_of(name), closed)]
        self.names = {str(number): port for port, number in numbers(net).items()} | {"LOCAL": net.bridge}
        self.numbers = {name: number for number, name in self.names.items()}

    def send(self, port: str, source: str, to: str = ALL, **frame: str) -> set[str]:
        """Who gets it; NAME:VLAN where it comes tagged."""
        number = self.numbers.get(port, "7")
        sent = {"reg0": "0", "reg1": "0", "reg2": "0", "in_port": number, "dl_src": source, "dl_dst": to, **frame}
        found: set[str] = set()
        self._table("0", sent, found)
        return found

    def _table(self, table: str, sent: dict[str, str], found: set[str]) -> None:
        rows = [(match, actions) for match, _, actions in self.rows if _matches(match, sent, table)]
        _, actions = max(rows, key=lambda row: int(row[0].split(",")[1].partition("=")[2]))
        for action in re.findall(r"[^,(]+(?:\([^)]*\))?", actions):
            verb, _, rest = action.partition(":")
            if verb == "load":
                value, _, register = rest.partition("->NXM_NX_REG")
                sent[f"reg{register[0]}"] = value
            elif verb == "output" and rest != sent["in_port"]:
                found.add(self.names[rest] + (f":{sent['tag']}" if "tag" in sent else ""))
            elif verb == "set_field":
                sent["tag"] = str(int(rest.partition("->")[0]) - 4096)
            elif verb.startswith("resubmit"):
                self._table(verb.strip("resubmit(,)"), sent, found)
            elif verb.startswith("learn"):
                self._learn(sent)

    def _learn(self, sent: dict[str, str]) -> None:
        number = {"LOCAL": "0xfffe"}.get(sent["in_port"], sent["in_port"])
        match = f"table=4,priority=10,reg0={sent['reg0']},dl_dst={sent['dl_src']}"
        self.rows = [row for row in self.rows if row[0] != match]
        self.rows.append((match, ",actions=", f"load:{number}->NXM_NX_REG1[0..15]"))


def segments_of(name: str) -> list[Segment]:
    return [segment for segment in segments(RULES) if segment.network == name]


def _matches(text: str, sent: dict[str, str], table: str) -> bool:
    first, _, *parts = text.split(",")
    wants: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        wants |= WORDS.get(part) or {key: value}
    return first == f"table={table}" and all(_is(sent.get(key, ""), value) for key, value in wants.items())


def _is(sent: str, want: str) -> bool:
    if want == "0x1000/0x1000":
        return bool(sent)
    if want == GROUPS:
        return sent != HOST and bool(int(sent[1], 16) & 1)
    if "/" in want:
        return bool(sent) and ipaddress.ip_address(sent) in ipaddress.ip_network(want)
    return sent == want


def arp(sender: str, says: str) -> dict[str, str]:
    return {"eth": "arp", "arp_spa": says, "arp_sha": sender}


def ip4(source: str, **more: str) -> dict[str, str]:
    return {"eth": "ip", "nw_src": source, **more}


def ip6(source: str, **more: str) -> dict[str, str]:
    return {"eth": "ipv6", "ipv6_src": source, **more}


def advert(source: str, target: str) -> dict[str, str]:
    return ip6(source, l4="icmp6", icmp_type="136", nd_target=target)


TAGGED = {"vlan_tci": "0x100a", "dl_vlan": "10"}
LINK_LOCAL_A = "fe80::ff:fe00:800a"


@pytest.mark.parametrize(
    ("net", "port", "source", "frame", "want"),
    [
        (TENANTS_S, "t-a", A, ip4("10.80.0.10"), True),
        (TENANTS_S, "t-a", A, arp(A, "10.80.0.10"), True),
        (TENANTS_S, "t-a", A, ip6("fd00:80::a"), True),
        (TENANTS_S, "t-a", A, advert("fd00:80::a", "fd00:80::a"), True),
        (TENANTS_S, "t-a", A, advert(LINK_LOCAL_A, LINK_LOCAL_A), True),
        (TENANTS_S, "t-a", A, ip4("0.0.0.0", l4="udp", tp_dst="67"), True),
        (TENANTS_S, "t-c", C, ip4("10.80.0.77"), True),
        (TENANTS_S, "br-tenants", "02:00:00:00:00:01", ip4("10.80.0.1"), True),
        (WEB_S, "eth1", A, ip4("192.0.2.1") | TAGGED, True),
        (WEB_S, "web-a", A, ip4("10.81.10.10"), True),
        # another's MAC, none's, another's address, a foreign one, the host's
        (TENANTS_S, "t-a", B, ip4("10.80.0.10"), False),
        (TENANTS_S, "t-c", A, ip4("10.80.0.77"), False),
        (TENANTS_S, "t-a", A, ip4("10.80.0.11"), False),
        (TENANTS_S, "t-c", C, ip4("10.80.0.10"), False),
        (TENANTS_S, "t-c", C, ip4("192.0.2.7"), False),
        (TENANTS_S, "t-c", C, ip4("10.80.0.1"), False),
        (WEB_S, "web-a", A, ip4("10.81.10.1"), False),
        (TENANTS_S, "t-a", A, arp(B, "10.80.0.10"), False),
        (TENANTS_S, "t-a", A, arp(A, "10.80.0.11"), False),
        (TENANTS_S, "t-c", C, arp(C, "10.80.0.1"), False),
        (TENANTS_S, "t-c", C, ip6(GATEWAY6), False),
        (TENANTS_S, "t-c", C, advert("fd00:80::77", GATEWAY6), False),
        (TENANTS_S, "t-c", C, advert("fd00:80::77", "fd00:80::a"), False),
        (TENANTS_S, "t-a", A, advert("fd00:80::a", "fd00:80::77"), False),
        (TENANTS_S, "t-b", B, ip6("fd00:80::77"), False),
        # answers of a router or a DHCP server; what is no IP; tags; a port that nobody declared
        (TENANTS_S, "t-a", A, ip6(LINK_LOCAL_A, l4="icmp6", icmp_type="134"), False),
        (TENANTS_S, "t-a", A, ip4("10.80.0.10", l4="udp", tp_src="67"), False),
        (TENANTS_S, "t-a", A, {"eth": "0x88b5"}, False),
        (TENANTS_S, "t-a", A, ip4("10.80.0.10") | TAGGED, False),
        (WEB_S, "web-a", A, ip4("10.81.10.10") | TAGGED, False),
        (TENANTS_S, "t-x", C, ip4("10.80.0.77"), False),
    ],
)  # fmt: skip
def test_who_may_send_what(net: BridgeNetwork, port: str, source: str, frame: dict[str, str], want: bool) -> None:
    assert bool(Played(net).send(port, source, **frame)) is want


def test_isolated_ports_reach_the_host_alone_also_where_they_know_each_other() -> None:
    switch = Played(TENANTS_S)
    assert switch.send("t-b", B, **ip4("10.80.0.11")) == {"br-tenants"}
    assert switch.send("t-a", A, **ip4("10.80.0.10")) == {"br-tenants"}
    assert switch.send("t-a", A, to=B, **ip4("10.80.0.10")) == set()
    assert switch.send("br-tenants", HOST, to=B) == {"t-b"}, "it was learnt where it is"
    assert switch.send("br-tenants", HOST) == {"t-a", "t-b", "t-c"}
    switch.send("t-c", HOST, **ip4("10.80.0.77"))
    assert switch.send("t-a", A, to=HOST, **ip4("10.80.0.10")) == {"br-tenants"}, "nobody draws that to himself"
    assert switch.send("t-c", ALL, **ip4("10.80.0.77")) == set()


@pytest.mark.parametrize("closed", [True, False])
def test_the_metadata_address_is_reached_by_no_port_where_it_is_closed(closed: bool) -> None:
    four, six = ip4("10.80.0.10", nw_dst="169.254.169.254"), ip6("fd00:80::a", ipv6_dst="fd00:ec2::254")
    for frame in (four, six):
        assert bool(Played(TENANTS_S, closed).send("t-a", A, to=HOST, **frame)) is not closed
    assert Played(TENANTS_S, closed).send("t-a", A, to=HOST, **ip4("10.80.0.10", nw_dst="10.80.0.1")) == {"br-tenants"}
    assert Played(TENANTS_S, closed).send("br-tenants", MAC, **ip4("169.254.169.254")), "its answers come in"
    for frame in (four, six):
        for proto in ("udp", "tcp"):
            asks = {**frame, "l4": proto, "tp_dst": "53"}
            assert Played(TENANTS_S, closed).send("t-a", A, to=HOST, **asks) == {"br-tenants"}, "names are asked there"


def test_vlans_meet_within_and_a_stranger_neither_speaks_nor_hears() -> None:
    switch = Played(WEB_S)
    assert switch.send("web-a", A, **ip4("10.81.10.10")) == {"br-web.10", "web-b", "eth1:10"}
    assert switch.send("web-b", B, **ip4("10.81.10.11")) == {"br-web.10", "web-a", "eth1:10"}
    assert switch.send("web-a", A, to=B, **ip4("10.81.10.10")) == {"web-b"}
    assert switch.send("db", C, **ip4("10.81.20.20")) == {"br-web.20"}, "the uplink carries VLAN 10 alone"
    assert switch.send("eth1", MAC, **TAGGED) == {"br-web.10", "web-a", "web-b"}
    assert switch.send("web-a", A, to=MAC, **ip4("10.81.10.10")) == {"eth1:10"}
    assert switch.send("eth1", MAC, vlan_tci="0x1014", dl_vlan="20") == set()
    assert switch.send("eth1", MAC) == switch.send("br-web", MAC) == switch.send("t-x", MAC) == set()


def test_without_antispoof_ports_send_what_they_like_and_strangers_nothing() -> None:
    net = TENANTS_S.model_copy(update={"antispoof": False})
    lines, own = list(flows(net, segments_of("tenants"), False)), numbers(net)
    onwards = "load:1->NXM_NX_REG0[],load:1->NXM_NX_REG2[],resubmit(,3)"
    assert f"table=0,priority=10,in_port={own['t-a']},actions={onwards}" in lines
    assert "table=0,priority=0,actions=drop" in lines


def test_a_port_keeps_its_number_when_others_come() -> None:
    assert numbers(TENANTS_S)["t-b"] == numbers(TENANTS)["t-b"]
    many = TENANTS.model_copy(update={"ports": {f"t-{n}": Port() for n in range(3000)}})
    assert len(set(numbers(many).values())) == 3000
