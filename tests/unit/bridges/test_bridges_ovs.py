"""Networks on Open vSwitch: what its database is told, and what is drift there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.bridges.firewalls.forwarding import SWITCH, forward_text
from deploys.bridges.managers.files import files_for
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.openvswitch.flows import numbers, switch_text
from deploys.bridges.openvswitch.switches import unit_text
from deploys.bridges.picture import picture, render_text
from deploys.bridges.plan import unit_text as filter_unit
from deploys.bridges.rules import BridgeNetwork, BridgesRules
from deploys.bridges.wanted import wanted
from deploys.core.change import Blocked, Command, Install, RemoveFile, WriteFile
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.networks.bridges import FORWARD_FILE, RULES_FILE, SYSCTL_FILE, UNIT_FILE, BridgesReading
from facts.networks.openvswitch import SWITCH_FILE, SWITCH_UNIT_FILE, Switch, SwitchPort
from tests.support.bridges import (
    ADDRESSES,
    ETH0,
    ETH1,
    LISTED,
    NETWORKD,
    context,
    device,
    nets,
    plan,
    reading,
    reason,
    state,
)
from tests.support.openvswitch import RULES, TENANTS_S, WEB_S

NUMBER = numbers(TENANTS_S) | numbers(WEB_S)


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
