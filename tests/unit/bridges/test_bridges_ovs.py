"""Networks on Open vSwitch: what its flows let pass, what its database is told, and what is drift there."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Any

import pytest

from deploys.bridges.firewalls.forwarding import SWITCH, forward_text
from deploys.bridges.managers.files import files_for
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.openvswitch.flows import GROUPS, flows, numbers, switch_text
from deploys.bridges.openvswitch.switches import unit_text
from deploys.bridges.picture import picture, render_text
from deploys.bridges.plan import unit_text as filter_unit
from deploys.bridges.rules import BridgeNetwork, BridgesRules, Port, Segment, segments
from deploys.bridges.wanted import wanted
from deploys.core.change import Blocked, Command, Install, RemoveFile, WriteFile
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.networks.bridges import FORWARD_FILE, RULES_FILE, SYSCTL_FILE, UNIT_FILE, BridgesReading
from facts.networks.openvswitch import SWITCH_FILE, SWITCH_UNIT_FILE, Switch, SwitchPort
from tests.support.bridges import (
    ADDRESSES,
    DNS,
    ETH0,
    ETH1,
    FLOW,
    LISTED,
    NETWORKD,
    TENANTS,
    WEB,
    context,
    device,
    nets,
    plan,
    reading,
    reason,
    state,
)

A, B, C = "02:00:00:00:80:0a", "02:00:00:00:80:0b", "02:00:00:00:80:0c"
GATEWAY6 = "fd00:80::1"
PORTS = {
    "t-a": Port(mac=A, addresses=("10.80.0.10", "fd00:80::a")),
    "t-b": Port(mac=B, addresses=("10.80.0.11",)),
    "t-c": Port(),
}
ON_SWITCH: dict[str, Any] = {"switch": "openvswitch"}
TENANTS_S = TENANTS.model_copy(update=ON_SWITCH | {"ports": PORTS})
WEB_S = WEB.model_copy(update=ON_SWITCH | {"ports": {**WEB.ports, "web-b": Port(vlan=10)}})
RULES = BridgesRules(networks={"tenants": TENANTS_S, "web": WEB_S}, allow=(FLOW, DNS))
NUMBER = numbers(TENANTS_S) | numbers(WEB_S)
MAC = "02:00:00:00:77:77"

# ------------------------------------------------------------------------------------------------ flows

# What a keyword of ovs-fields(7) stands for.
WORDS = {
    "arp": {"eth": "arp"}, "ip": {"eth": "ip"}, "ipv6": {"eth": "ipv6"}, "udp": {"eth": "ip", "l4": "udp"},
    "udp6": {"eth": "ipv6", "l4": "udp"}, "tcp": {"eth": "ip", "l4": "tcp"}, "tcp6": {"eth": "ipv6", "l4": "tcp"},
    "icmp6": {"eth": "ipv6", "l4": "icmp6"},
}  # fmt: skip


ALL, HOST = "ff:ff:ff:ff:ff:ff", "HOST-MAC"


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


# ------------------------------------------------------------------------------------------------ the database


def port(name: str, number: int | None = None) -> SwitchPort:
    return SwitchPort(name, "", number, number, tag=None, trunks=(), mode=None, protected=False)


def switch(net: BridgeNetwork, **more: Any) -> Switch:
    ports = tuple(port(name, number) for name, number in numbers(net).items())
    values = {"name": net.bridge, "secure": True, "ports": ports, "flows": ("priority=0 actions=drop",)}
    values["loaded"] = values["flows"]
    return Switch(**{**values, **more})


def on_switch(name: str, **more: Any) -> Any:
    return device(name, "openvswitch", **more)


SWITCHES = (switch(TENANTS_S), switch(WEB_S))
DEVICES = (
    ETH0, replace(ETH1, master="br-web"), *map(on_switch, ("br-tenants", "br-web", "br-web.10", "br-web.20")),
    device("t-a", master="br-tenants"), device("web-a", master="br-web"),
)  # fmt: skip


def hardened(rules: BridgesRules = RULES, **more: Any) -> BridgesReading:
    files = {RULES_FILE: filter_text(rules), UNIT_FILE: filter_unit(), SYSCTL_FILE: SWITCH}
    files |= {FORWARD_FILE: forward_text(rules, ("eth0",)), SWITCH_FILE: switch_text(rules)}
    files |= {SWITCH_UNIT_FILE: unit_text()}
    return reading(**{
        "devices": DEVICES, "files": files | files_for(NETWORKD, wanted(rules)), "unit_enabled": True,
        "listed": LISTED, "loaded": LISTED, "switches": SWITCHES, "switch_enabled": True, **more,
    })  # fmt: skip


HELD = ADDRESSES | {"br-tenants": ("10.80.0.1/24", "fd00:80::1/64"), "br-web.10": ("10.81.10.1/24",)}


def test_a_bare_host_gets_the_switch_closed_and_flows_before_it_counts() -> None:
    where = context(rules=RULES)
    assert "Open vSwitch bridge br-tenants does not exist" in reason(where, "declared")
    assert "openvswitch.sh, which loads the flows, does not exist" in reason(where, "switch")
    first, *rest = plan(where)
    assert first == Install(
        "bridges", "install Open vSwitch, which the declared networks need", packages=("openvswitch-switch",)
    )
    assert all(change.commit_confirmed for change in rest)
    started, live = [change for change in rest if isinstance(change, Command)]
    assert "enable --now openvswitch-switch" in started.script
    for line in (
        "add-br br-tenants -- set-fail-mode br-tenants secure",
        f"add-port br-tenants t-a -- set interface t-a ofport_request={NUMBER['t-a']}",
        f"add-port br-web eth1 -- set interface eth1 ofport_request={NUMBER['eth1']}",
        "type=internal mac=",
        "ip address replace fd00:80::1/64 dev br-tenants nodad",
    ):
        assert line in live.script
    assert live.undo.index("del-port br-web db") < live.undo.index("del-br br-web")
    written = [change.path for change in rest if isinstance(change, WriteFile)]
    assert written[-2:] == [SWITCH_UNIT_FILE, SWITCH_FILE]
    assert not any("05-hullproof" in path for path in written), "the network manager has no part in it"


def test_where_the_distribution_has_no_such_package_it_is_said_before_anything_is_done() -> None:
    (blocked,) = plan(context(rules=RULES, family="rhel"))
    assert isinstance(blocked, Blocked)
    assert "the package repositories of rhel do not have Open vSwitch" in blocked.why
    assert not any(isinstance(change, Blocked) for change in plan(context(hardened(), nets(), RULES, family="rhel")))


def test_made_as_declared_nothing_is_planned() -> None:
    where = context(hardened(), nets(addresses=HELD), RULES)
    held = {control: (finding.state, finding.verdict.reason) for control, finding in where.findings.items()}
    assert {row[0] for row in held.values()} <= {State.PASS, State.NOT_APPLICABLE}, held
    assert reason(where, "declared").endswith("as declared, and Open vSwitch makes them again at boot")
    assert plan(where) == []


def changed(name: str, **more: Any) -> BridgesReading:
    """One port of the switches is not as it was."""
    there = (replace(s, ports=tuple(replace(p, **more) if p.name == name else p for p in s.ports)) for s in SWITCHES)
    return hardened(switches=tuple(there))


SENDS_ALL = "in_port=7 actions=NORMAL"
INSERTED = (replace(SWITCHES[0], flows=(SENDS_ALL, "priority=0 actions=drop")), SWITCHES[1])
BEFORE_VLANS = {**HELD, "br-web": ("10.81.10.1/24",)}


@pytest.mark.parametrize(
    ("bridges", "addresses", "control", "says", "puts_right"),
    [
        (changed("t-b", number=3, asked=None), HELD, "declared", "port t-b does not have OpenFlow port number 52477",
         f"ofport_request={NUMBER['t-b']}"),
        (hardened(switches=(replace(SWITCHES[0], secure=False), SWITCHES[1])), HELD, "declared",
         "the fail mode of br-tenants is not secure", "set-fail-mode br-tenants secure"),
        (hardened(switches=SWITCHES[:1]), HELD, "declared", "Open vSwitch bridge br-web does not exist",
         "add-br br-web"),
        (hardened(), BEFORE_VLANS, "declared", "br-web has the address 10.81.10.1/24, which belongs on its VLAN",
         "del 10"),
        (hardened(switches=INSERTED), HELD, "switch", f"a flow was added to br-tenants: {SENDS_ALL}", "restart"),
        (hardened(switches=(replace(SWITCHES[0], flows=()), SWITCHES[1])), HELD, "switch", "a flow is missing from br-",
         "restart"),
        (hardened(switches=(replace(SWITCHES[0], loaded=tuple("abcd")), SWITCHES[1])), HELD, "switch",
         "4 of the 4 flows that hullproof loaded are missing from br-tenants", "restart"),
        (hardened(switches=(replace(SWITCHES[0], loaded=None), SWITCHES[1])), HELD, "switch",
         "has not loaded the flows", "restart"),
        (hardened(switch_enabled=False), HELD, "switch", "after a reboot the switch has no flows",
         "systemctl -q enable"),
    ],
)  # fmt: skip
def test_drift_in_words_and_put_right(bridges: Any, addresses: Any, control: str, says: str, puts_right: str) -> None:
    where = context(bridges, nets(addresses=addresses), RULES)
    assert state(where, control) is State.FAIL
    assert says in reason(where, control)
    scripts = [change.script for change in plan(where) if isinstance(change, Command)]
    assert any(puts_right in script for script in scripts), scripts


def test_who_is_behind_declared_ports_is_found_on_switches_too() -> None:
    both = tuple(replace(d, peer="netns t-a") if d.name == "web-a" else d for d in DEVICES)
    stranger = (*both, device("t-x", master="br-tenants", peer="netns t-a"))
    where = context(hardened(devices=stranger), nets(addresses=HELD), RULES)
    assert reason(where, "meeting") == "netns t-a is in tenants and web.10, which bridges.allow keeps apart"
    alone = (*DEVICES, device("t-x", master="br-web", peer="netns t-a"))
    assert state(context(hardened(devices=alone), nets(addresses=HELD), RULES), "meeting") is State.PASS


def test_the_picture_says_who_meets_on_a_switch() -> None:
    survey = context(hardened(), nets(addresses=HELD), RULES).survey
    assert "├─ t-a ─ netns t-a\n" in render_text(picture(RULES, survey))
    survey = context(hardened(switches=INSERTED), nets(addresses=HELD), RULES).survey
    assert "├─ t-a ─ netns t-a, reaches its neighbours\n" in render_text(picture(RULES, survey))


def test_what_the_policy_names_no_more_goes() -> None:
    where = context(hardened(), nets(addresses=HELD), BridgesRules())
    assert "is left from an earlier policy" in reason(where, "switch")
    assert {SWITCH_FILE, SWITCH_UNIT_FILE} <= {c.path for c in plan(where) if isinstance(c, RemoveFile)}


def test_a_bridge_of_the_kernel_is_not_taken_for_a_switch() -> None:
    where = context(reading(devices=(ETH0, ETH1, device("br-web", "bridge"))), rules=RULES)
    (blocked,) = plan(where)
    assert isinstance(blocked, Blocked)
    assert "br-web is a Linux bridge, not an Open vSwitch bridge" in blocked.why


@pytest.mark.parametrize("flows", [Unknown("ovs-ofctl: timed out"), ()])
def test_unknown_is_neither(flows: Any) -> None:
    where = context(hardened(switches=(replace(SWITCHES[0], flows=flows), SWITCHES[1])), nets(addresses=HELD), RULES)
    assert state(where, "switch") is (State.UNKNOWN if isinstance(flows, Unknown) else State.FAIL)
    where = context(hardened(switches=Unknown("no database")), nets(addresses=HELD), RULES)
    assert {state(where, "declared"), state(where, "switch")} == {State.UNKNOWN}
