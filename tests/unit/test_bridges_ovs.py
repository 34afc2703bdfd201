"""Networks on Open vSwitch: what its flows let pass, what its database is told, and what is drift there."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from deploys.bridges_devices import wanted
from deploys.bridges_files import files_for
from deploys.bridges_filter import filter_text
from deploys.bridges_flows import flows, numbers, switch_text
from deploys.bridges_forward import SWITCH, forward_text
from deploys.bridges_ovs import Wanted, unit_text, wanted_ports
from deploys.bridges_plan import unit_text as filter_unit
from deploys.bridges_rules import BridgeNetwork, BridgesRules, Port, segments
from deploys.engine.change import Blocked, Command, Install, RemoveFile, WriteFile
from deploys.engine.control import State
from facts.bridges import FORWARD_FILE, RULES_FILE, SYSCTL_FILE, UNIT_FILE, BridgesReading
from facts.openvswitch import SWITCH_FILE, SWITCH_UNIT_FILE, Switch, SwitchPort
from facts.reading import Unknown
from tests.unit.test_bridges import (
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
WEB_S = WEB.model_copy(update=ON_SWITCH)
RULES = BridgesRules(networks={"tenants": TENANTS_S, "web": WEB_S}, allow=(FLOW, DNS))
NUMBER = numbers(TENANTS_S) | numbers(WEB_S)

# ------------------------------------------------------------------------------------------------ flows

# What a keyword of ovs-fields(7) stands for.
WORDS = {
    "arp": {"eth": "arp"}, "ip": {"eth": "ip"}, "ipv6": {"eth": "ipv6"}, "udp": {"eth": "ip", "l4": "udp"},
    "udp6": {"eth": "ipv6", "l4": "udp"}, "icmp6": {"eth": "ipv6", "l4": "icmp6"},
}  # fmt: skip


def passes(net: BridgeNetwork, port: str, source: str = "02:00:00:00:77:77", **frame: str) -> bool:
    """Plays a frame through the flows, as ovs-ofctl(8) says that they are matched."""
    own = [segment for segment in segments(RULES) if RULES.networks[segment.network] is net]
    number = "LOCAL" if port == net.bridge else str(NUMBER.get(port, 7))
    sent = {"in_port": number, "dl_src": source, **frame}
    table = 0
    while True:
        rows = [line.rpartition(",actions=") for line in flows(net, own)]
        found = [(match, action) for match, _, action in rows if _matches(match, sent, table)]
        best = max(found, key=lambda row: int(row[0].split(",")[1].partition("=")[2]))
        if not best[1].startswith("resubmit"):
            return best[1] == "NORMAL"
        table = int(best[1].strip("resubmit(,)"))


def _matches(text: str, sent: dict[str, str], table: int) -> bool:
    first, _, *parts = text.split(",")
    wants: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        wants |= WORDS.get(part) or {key: value}
    return first == f"table={table}" and all(_is(sent.get(key, ""), value) for key, value in wants.items())


def _is(sent: str, want: str) -> bool:
    if "/" in want and not want.startswith("0x"):
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


TAGGED = {"vlan_tci": "0x1000/0x1000"}
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
    assert passes(net, port, source, **frame) is want


def test_without_antispoof_ports_send_what_they_like_and_strangers_nothing() -> None:
    net = TENANTS.model_copy(update=ON_SWITCH | {"antispoof": False})
    lines = list(flows(net, []))
    ours = numbers(net)
    assert f"table=0,priority=10,in_port={ours['t-a']},actions=NORMAL" in lines
    assert lines[-1] == "table=0,priority=0,actions=drop"


def test_a_port_keeps_its_number_when_others_come() -> None:
    assert numbers(TENANTS_S)["t-b"] == numbers(TENANTS)["t-b"]
    many = TENANTS.model_copy(update={"ports": {f"t-{n}": Port() for n in range(3000)}})
    assert len(set(numbers(many).values())) == 3000


# ------------------------------------------------------------------------------------------------ the database


def port(name: str, want: Wanted, **more: Any) -> SwitchPort:
    values: dict[str, Any] = {
        "name": name, "kind": "internal" if want.internal else "", "number": want.number, "asked": want.number,
        "tag": want.tag, "trunks": want.trunks, "mode": want.mode, "protected": want.protected,
    }  # fmt: skip
    return SwitchPort(**{**values, **more})


def switch(net: BridgeNetwork, **more: Any) -> Switch:
    ports = tuple(port(name, want) for name, want in wanted_ports(net).items())
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
    assert "there is no Open vSwitch bridge br-tenants" in reason(where, "declared")
    assert "there are no flows of ours" in reason(where, "switch")
    first, *rest = plan(where)
    assert first == Install(
        "bridges", "install Open vSwitch, which the declared networks stand on", packages=("openvswitch-switch",)
    )
    assert all(change.armed for change in rest)
    (live,) = [change for change in rest if isinstance(change, Command)]
    for line in (
        "add-br br-tenants -- set-fail-mode br-tenants secure",
        f"add-port br-tenants t-a -- clear port t-a tag trunks vlan_mode -- set port t-a protected=true "
        f"-- set interface t-a ofport_request={NUMBER['t-a']}",
        "set port web-a tag=10 vlan_mode=access protected=false",
        "set port eth1 trunks=10 vlan_mode=trunk protected=false",
        "type=internal mac=",
        "ip address replace fd00:80::1/64 dev br-tenants nodad",
    ):
        assert line in live.script
    assert live.undo.index("del-port br-web db") < live.undo.index("del-br br-web")
    written = [change.path for change in rest if isinstance(change, WriteFile)]
    assert written[-2:] == [SWITCH_UNIT_FILE, SWITCH_FILE]
    assert not any("05-hullproof" in path for path in written), "the network manager has no part in it"


def test_made_as_declared_nothing_is_planned() -> None:
    where = context(hardened(), nets(addresses=HELD), RULES)
    held = {control: (finding.state, finding.verdict.reason) for control, finding in where.findings.items()}
    assert {row[0] for row in held.values()} <= {State.PASS, State.NOT_APPLICABLE}, held
    assert reason(where, "declared").endswith("now and at boot by Open vSwitch")
    assert plan(where) == []


def changed(name: str, **more: Any) -> BridgesReading:
    """One port of the switches is not as it was."""
    there = (replace(s, ports=tuple(replace(p, **more) if p.name == name else p for p in s.ports)) for s in SWITCHES)
    return hardened(switches=tuple(there))


STRANGER = port("t-x", Wanted(None, (), False, None))
WITH_STRANGER = (replace(SWITCHES[0], ports=(*SWITCHES[0].ports, STRANGER)), SWITCHES[1])
SENDS_ALL = "in_port=7 actions=NORMAL"
INSERTED = (replace(SWITCHES[0], flows=(SENDS_ALL, "priority=0 actions=drop")), SWITCHES[1])
BEFORE_VLANS = {**HELD, "br-web": ("10.81.10.1/24",)}


@pytest.mark.parametrize(
    ("bridges", "addresses", "control", "says", "puts_right"),
    [
        (changed("t-a", protected=False), HELD, "declared", "port t-a of br-tenants is not isolated", "protected=true"),
        (changed("db", tag=10), HELD, "declared", "no untagged member of VLAN 20: it is a member of VLAN 10", "tag=20"),
        (changed("db", tag=None), HELD, "declared", "db is no untagged member of VLAN 20: it carries every", "tag=20"),
        (changed("eth1", trunks=(10, 20)), HELD, "declared", "eth1 carries VLAN 10, 20, not 10", "trunks=10 "),
        (changed("t-b", number=3, asked=None), HELD, "declared", "t-b is not the port that the flows",
         f"ofport_request={NUMBER['t-b']}"),
        (hardened(switches=WITH_STRANGER), HELD, "declared", "t-x hears what is flooded on br-tenants", "tag=4095"),
        (hardened(switches=(replace(SWITCHES[0], secure=False), SWITCHES[1])), HELD, "declared",
         "its fail mode is not secure", "set-fail-mode br-tenants secure"),
        (hardened(switches=SWITCHES[:1]), HELD, "declared", "there is no Open vSwitch bridge br-web", "add-br br-web"),
        (hardened(), BEFORE_VLANS, "declared", "br-web has the address 10.81.10.1/24, which is its VLAN's", "del 10"),
        (hardened(switches=INSERTED), HELD, "switch", f"somebody put a flow into br-tenants: {SENDS_ALL}", "restart"),
        (hardened(switches=(replace(SWITCHES[0], flows=()), SWITCHES[1])), HELD, "switch", "a flow is gone", "restart"),
        (hardened(switches=(replace(SWITCHES[0], loaded=None), SWITCHES[1])), HELD, "switch", "not loaded by",
         "restart"),
        (hardened(switch_enabled=False), HELD, "switch", "passes nothing after a reboot", "systemctl -q enable"),
    ],
)  # fmt: skip
def test_drift_in_words_and_put_right(bridges: Any, addresses: Any, control: str, says: str, puts_right: str) -> None:
    where = context(bridges, nets(addresses=addresses), RULES)
    assert state(where, control) is State.FAIL
    assert says in reason(where, control)
    scripts = [change.script for change in plan(where) if isinstance(change, Command)]
    assert any(puts_right in script for script in scripts), scripts


def test_who_is_behind_a_port_is_found_on_switches_too() -> None:
    both = (*DEVICES, device("two", master="br-web", peer="netns t-a"))
    extra = replace(SWITCHES[1], ports=(*SWITCHES[1].ports, port("two", Wanted(10, (), False, None))))
    where = context(hardened(devices=both, switches=(SWITCHES[0], extra)), nets(addresses=HELD), RULES)
    assert reason(where, "meeting") == "netns t-a stands in tenants and web.10, which must not meet"


def test_what_the_policy_names_no_more_goes() -> None:
    where = context(hardened(), nets(addresses=HELD), BridgesRules())
    assert "is left from an earlier policy" in reason(where, "switch")
    assert {SWITCH_FILE, SWITCH_UNIT_FILE} <= {c.path for c in plan(where) if isinstance(c, RemoveFile)}


def test_a_bridge_of_the_kernel_is_not_taken_for_a_switch() -> None:
    where = context(reading(devices=(ETH0, ETH1, device("br-web", "bridge"))), rules=RULES)
    (blocked,) = plan(where)
    assert isinstance(blocked, Blocked)
    assert "br-web is no bridge of Open vSwitch but a bridge of the kernel" in blocked.why


@pytest.mark.parametrize("flows", [Unknown("ovs-ofctl: timed out"), ()])
def test_unknown_is_neither(flows: Any) -> None:
    where = context(hardened(switches=(replace(SWITCHES[0], flows=flows), SWITCHES[1])), nets(addresses=HELD), RULES)
    assert state(where, "switch") is (State.UNKNOWN if isinstance(flows, Unknown) else State.FAIL)
    where = context(hardened(switches=Unknown("no database")), nets(addresses=HELD), RULES)
    assert {state(where, "declared"), state(where, "switch")} == {State.UNKNOWN}
