"""Bridges: the controls, what collides on a host, the plan and the filter, from readings alone."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.bridges.managers.files import files_for
from deploys.bridges.rules import BridgesRules
from deploys.bridges.wanted import wanted
from deploys.core.change import Blocked, Command, Install, RemoveFile, WriteFile
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.core.reverted import Reverted
from facts.networks.bridges import FORWARD_FILE, RULES_FILE, SYSCTL_FILE, UNIT_FILE
from tests.support.bridges import (
    BARE,
    NETWORKD,
    RULES,
    TENANTS,
    context,
    device,
    hardened,
    made,
    nets,
    on,
    plan,
    reading,
    reason,
    state,
)
from tests.support.cases import older

# ------------------------------------------------------------------------------------------------ from bare to made


def test_a_bare_host_gets_the_filter_before_the_bridges() -> None:
    where = context()
    assert state(where, "declared") is State.FAIL
    assert "bridge br-tenants does not exist" in reason(where, "declared")
    assert "nothing filters traffic between the networks" in reason(where, "filter")
    changes = plan(where)
    paths = [change.path for change in changes if isinstance(change, WriteFile)]
    assert paths[:4] == [UNIT_FILE, RULES_FILE, SYSCTL_FILE, FORWARD_FILE]
    assert set(paths[4:]) == set(files_for(NETWORKD, wanted(RULES)))
    (live,) = [change for change in changes if isinstance(change, Command) and "create bridge" in change.what]
    assert changes.index(live) == 4
    for line in (
        "ip link add name br-web type bridge vlan_filtering 1 vlan_default_pvid 0",
        "ip link set eth1 master br-web", "bridge vlan add dev eth1 vid 10 master",
        "bridge vlan add dev br-web vid 20 self", "ip link add link br-web name br-web.10 type vlan id 10",
        "ip address replace fd00:80::1/64 dev br-tenants nodad",
    ):  # fmt: skip
        assert line in live.script
    assert live.undo.startswith("if systemctl -q is-active systemd-networkd; then\n  networkctl reload"), "not at boot"
    assert live.undo.index("eth1 nomaster") < live.undo.index("ip link del br-web;")
    assert isinstance(changes[-1], Command)
    assert "networkctl reload" in changes[-1].script


def test_made_as_declared_nothing_is_planned() -> None:
    where = context(hardened(), on())
    held = {control: (finding.state, finding.verdict.reason) for control, finding in where.findings.items()}
    assert {row[0] for row in held.values()} <= {State.PASS, State.NOT_APPLICABLE}, held
    assert plan(where) == []


def test_files_of_another_version_hold_and_nothing_is_planned() -> None:
    files = {path: older(text) for path, text in hardened().files.items() if isinstance(text, str)}
    assert files != hardened().files
    where = context(hardened(files=files), on())
    assert {finding.state for finding in where.findings.values()} <= {State.PASS, State.NOT_APPLICABLE}
    assert plan(where) == []


def test_without_nft_it_is_installed_first() -> None:
    first, *_ = plan(context(reading(nft=False)))
    assert first == Install("bridges", "install nft, which loads the filter of the bridges", packages=("nftables",))


def test_what_the_policy_names_no_more_goes() -> None:
    less = BridgesRules(networks={"tenants": TENANTS})
    where = context(hardened(), on(), less)
    assert "is left from an earlier policy" in reason(where, "declared")
    removed = {change.path for change in plan(where) if isinstance(change, RemoveFile)}
    assert removed == {SYSCTL_FILE} | {
        path for path in files_for(NETWORKD, wanted(RULES)) if path not in files_for(NETWORKD, wanted(less))
    }
    none = context(hardened(), on(), BridgesRules())
    assert RULES_FILE in {change.path for change in plan(none) if isinstance(change, RemoveFile)}


def test_no_policy_no_finding() -> None:
    where = context(rules=BridgesRules())
    assert {f.state for f in where.findings.values()} == {State.NOT_APPLICABLE, State.PASS}
    assert plan(where) == []


# ------------------------------------------------------------------------------------------------ not yet


@pytest.mark.parametrize(
    ("bridges", "networks"),
    [
        (reading(devices=Unknown("denied")), nets()),
        (reading(client=Unknown("denied")), nets()),
        (reading(), nets(connection=Unknown("denied"))),
        (reading(), nets(routes=Unknown("denied"))),
        (hardened(), on(memberships=Unknown("denied"))),
    ],
)
def test_unknown_is_neither(bridges: Any, networks: Any) -> None:
    assert state(context(bridges, networks), "declared") is State.UNKNOWN


def test_who_talks_now_is_parted_only_where_accepted() -> None:
    devices = (*BARE, made("br-tenants"), device("t-a", master="br-tenants"), device("t-b", master="br-tenants"))
    (blocked,) = plan(context(reading(devices=devices)))
    assert isinstance(blocked, Blocked)
    assert "br-tenants (netns t-a, netns t-b)" in blocked.why
    assert blocked.accepts == ("network-isolation",)
    changes = plan(context(reading(devices=devices), accept="network-isolation"))
    (live,) = [change for change in changes if isinstance(change, Command) and "isolation of port" in change.what]
    assert "bridge link set dev t-a isolated on" in live.script
    assert "bridge link set dev t-a isolated off" in live.undo


def test_after_a_revert_somebody_has_to_look_first() -> None:
    was = Reverted("20260101T000000Z-abcdef", "2026-01-01T00:02:00Z", "")
    where = context(reading(reverted=was))
    assert state(where, "reverted") is State.FAIL
    assert "the host reverted the change at 2026-01-01T00:02:00Z" in reason(where, "reverted")
    (blocked,) = plan(where)
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("reverted-network",)
    assert len(plan(context(reading(reverted=was), accept="reverted-network"))) > 3
