"""Bridges: what became of them since, in words and put right, from readings alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.bridges.rules import Allow
from deploys.core.change import Blocked, Command, WriteFile
from deploys.core.control import State
from facts.core.reading import known
from facts.core.reverted import Reverted
from facts.networks.bridges import BridgesReading
from facts.networks.forward import Filter
from facts.networks.networks import Membership, NetworksReading, Route
from tests.support.bridges import (
    ADDRESSES,
    DEVICES,
    ISOLATED,
    LISTED,
    MEMBERS,
    OPEN,
    ROUTES,
    RULES,
    context,
    device,
    hardened,
    made,
    on,
    plan,
    reason,
    replace_rules,
    state,
)
from tests.support.hosts import container
from tests.support.hosts import docker as engine


def swapped(name: str, **more: Any) -> BridgesReading:
    return hardened(devices=tuple(replace(d, **more) if d.name == name else d for d in DEVICES))


def members(*rows: Membership) -> NetworksReading:
    replaced = {row.device for row in rows}
    return on(memberships=(*(row for row in MEMBERS if row.device not in replaced), *rows))


INSERTED = (*LISTED[:2], "\t\taccept", *LISTED[2:])


@pytest.mark.parametrize(
    ("bridges", "networks", "control", "says", "puts_right"),
    [
        (swapped("t-a", port=OPEN), on(), "declared", "port t-a of br-tenants is not isolated", "dev t-a isolated on"),
        (swapped("web-a", master=None, port=None), on(), "declared", "web-a is not a port of", "web-a master br-web"),
        (swapped("br-web", vlan_filtering=False), on(), "declared", "br-web does not filter VLANs", "vlan_filtering 1"),
        (swapped("br-web", default_pvid=1), on(), "declared", "new ports of br-web join VLAN 1", "vlan_default_pvid 0"),
        (hardened(), members(Membership("db", 10, 10, True, True)), "declared", "db is a member of VLAN 10",
         "bridge vlan del dev db vid 10"),
        (hardened(), members(Membership("eth1", 10, 12, False, False)), "declared", "eth1 is a member of VLAN 11",
         "bridge vlan del dev eth1 vid 12"),
        (hardened(), on(addresses=ADDRESSES), "declared", "br-web.10 does not have the address 10.81.10.1/24",
         "10.81.10.1/24"),
        (hardened(listed=(LISTED[0], "\tflags dormant", *LISTED[1:])), on(), "filter",
         "hullproof's table bridge bridges-hullproof is dormant, so none of its rules applies", "restart"),
        (hardened(listed=INSERTED), on(), "filter", "a rule was added to hullproof's chain forward: accept", "restart"),
        (hardened(listed=(*LISTED[:2], *LISTED[3:])), on(), "filter", "a rule is missing from hullproof's chain",
         "restart"),
        (hardened(listed=()), on(), "filter", "hullproof's tables are missing from the kernel (was", "restart"),
        (hardened(loaded=None), on(), "filter", "hullproof-bridges.service has not loaded", "restart"),
        (hardened(unit_enabled=False), on(), "filter", "after a reboot nothing filters", "systemctl -q enable"),
        (hardened(), on(filter4=Filter("DROP", "ACCEPT", ("-A FORWARD -j DOCKER-USER",))), "forwarding",
         "iptables drops web.10 -> web.20 (tcp/5432): FORWARD policy DROP", "FILE=/etc/hullproof/bridges.forward"),
        (hardened(), on(forwarding4=0), "forwarding", "net.ipv4.ip_forward is 0", "ip_forward=1"),
    ],
)  # fmt: skip
def test_drift_in_words_and_put_right(bridges: Any, networks: Any, control: str, says: str, puts_right: str) -> None:
    where = context(bridges, networks)
    assert state(where, control) is State.FAIL
    assert says in reason(where, control)
    scripts = [change.script for change in plan(where) if isinstance(change, Command)]
    assert any(puts_right in script for script in scripts), scripts


def test_ipv6_between_networks_waits_for_whoever_makes_the_host_a_router() -> None:
    flow = Allow.model_validate({"from": "tenants", "to": "world"})
    rules, six = replace_rules(allow=(*RULES.allow, flow)), (*ROUTES, Route("default", "eth0", "fe80::1"))
    where = context(hardened(), on(forwarding6=0, routes=six), rules)
    assert "net.ipv6.conf.all.forwarding is 0 and bridges.allow has flows" in reason(where, "forwarding")
    (blocked,) = [change for change in plan(where) if isinstance(change, Blocked)]
    assert "accept_ra=2" in blocked.why
    for other in (context(hardened(), on(forwarding6=0, routes=six)), context(hardened(), on(forwarding6=0), rules)):
        assert "IPv6" not in reason(other, "forwarding"), "one end of every flow has no such address"


def test_what_was_made_is_mended_though_something_stands_in_the_way() -> None:
    """The uplink went with a boot; the tables were flushed; a port lost its isolation."""
    lost = replace(swapped("t-a", port=OPEN), listed=())
    where = context(replace(lost, devices=tuple(d for d in known(lost.devices) if d.name != "eth1")))
    assert "the uplink eth1 does not exist on this host" in reason(where, "declared")
    assert "port t-a of br-tenants is not isolated" in reason(where, "declared")
    blocked, load, isolate = plan(where)
    assert isinstance(blocked, Blocked)
    assert isinstance(load, Command)
    assert "load /etc/hullproof/bridges.nft again" in load.what
    assert isinstance(isolate, Command)
    assert isolate.script == "{ bridge link set dev t-a isolated on; } || exit 1"
    assert isolate.commit_confirmed


def test_a_change_taken_back_is_forgotten_once_nothing_is_left_to_try() -> None:
    was = Reverted("20260101T000000Z-a1", "2026-01-01T00:02:00Z", "nobody confirmed it")
    (blocked,) = plan(context(hardened(reverted=was), on()))
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("reverted-network",)
    (forget,) = plan(context(hardened(reverted=was), on(), accept="reverted-network"))
    assert isinstance(forget, Command)
    assert forget.script == "rm -f /var/lib/hullproof/reverted-bridges"


def test_an_undo_that_was_put_back_is_told_and_holds_nothing_back() -> None:
    was = Reverted("20260101T000000Z-a1", "2026-01-01T00:02:00Z", "undo")
    where = context(hardened(reverted=was), on())
    assert "the rollback of run 20260101T000000Z-a1 was not confirmed" in reason(where, "reverted")
    (blocked,) = plan(where)
    assert isinstance(blocked, Blocked)
    assert blocked.next == "roll back again; or allow it with --data accept=reverted-network"
    assert [type(change) for change in plan(context(hardened(reverted=was), on()))] == [Blocked]
    assert plan(context(replace(swapped("t-a", port=OPEN), reverted=was), on())), "the run stands, and is mended"


def test_a_file_that_was_changed_is_written_again() -> None:
    path = "/etc/systemd/network/05-hullproof-web-a.network"
    files = hardened().files | {path: "[Match]\nName=web-a\n"}
    where = context(hardened(files=files), on())
    assert f"{path} differs from the policy" in reason(where, "declared")
    (write,) = [change for change in plan(where) if isinstance(change, WriteFile)]
    assert (write.path, write.before) == (path, "[Match]\nName=web-a\n")


def test_a_file_that_is_read_before_ours_is_named() -> None:
    other = "/etc/systemd/network/00-all.network"
    where = context(swapped("br-tenants", file=other), on())
    assert f"already defined in {other}" in reason(where, "declared")


def test_one_container_in_two_networks_that_must_not_meet() -> None:
    both = (*DEVICES, device("x1", master="br-tenants", peer="process 12 (nginx)", pid=12, port=ISOLATED),
            device("x2", master="br-web", peer="process 12 (nginx)", pid=12))  # fmt: skip
    where = context(hardened(devices=both), members(*MEMBERS, Membership("x2", 10, 10, True, True)))
    assert reason(where, "meeting") == "process 12 (nginx) is in tenants and web.10, which bridges.allow keeps apart"
    named = engine({}, networks=(), containers=(container("proxy", pid=12),))
    where = context(hardened(devices=both), members(*MEMBERS, Membership("x2", 10, 10, True, True)), docker=named)
    assert reason(where, "meeting").startswith("container proxy is in tenants and web.10")
    meet = Allow.model_validate({"from": "tenants", "to": "web.10"})
    allowed = replace_rules(allow=(*RULES.allow, meet))
    where = context(hardened(devices=both), members(*MEMBERS, Membership("x2", 10, 10, True, True)), allowed)
    assert state(where, "meeting") is State.PASS


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        ({"from": "web.10", "to": "web.20", "proto": "tcp", "port": 5432}, "web.10 -> web.20 (tcp/5432)"),
        ({"from": "web.20", "to": "web.10", "proto": "udp"}, "web.20 -> web.10 (udp)"),
        ({"from": "web.10", "to": "web.20", "proto": "icmp"}, "web.10 -> web.20 (icmp)"),
        ({"from": "web.20", "to": "web.10"}, None),
    ],
)
def test_a_flow_of_one_protocol_lets_nobody_stand_in_both_networks(flow: dict[str, Any], says: str | None) -> None:
    legs = (device("x1", master="br-web", peer="netns x"), device("x2", master="br-web", peer="netns x"))
    networks = members(*MEMBERS, Membership("x1", 10, 10, True, True), Membership("x2", 20, 20, True, True))
    rules = replace_rules(allow=(Allow.model_validate(flow),))
    where = context(hardened(rules, devices=(*DEVICES, *legs)), networks, rules)
    assert state(where, "meeting") is (State.FAIL if says else State.PASS)
    if says:
        assert (
            reason(where, "meeting")
            == f"netns x is in web.10 and web.20, which bridges.allow keeps apart except for {says}"
        )


def test_a_bridge_made_by_hand() -> None:
    rules = replace_rules(undeclared="refused")
    hand = (*DEVICES, device("br0", "bridge"), device("v1", master="br0", peer="netns lab"),
            device("virbr0", "bridge"), device("br-0123456789ab", "bridge"), made("br-file"))  # fmt: skip
    where = context(hardened(devices=hand), on(), rules)
    assert reason(where, "undeclared").startswith(
        "br0 was created by hand (ports: v1 to netns lab); the policy refuses that"
    )
    assert state(context(hardened(), on(), rules), "undeclared") is State.PASS
