"""Bridges beside firewalld: what it is told, and what of it counts, from readings alone."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploys.bridges.firewalls.firewalld import RELOAD, firewalld_files, remove_direct
from deploys.bridges.firewalls.firewalld_direct import EMPTY, merged, own_rows, pairs, rows
from deploys.bridges.managers.files import files_for
from deploys.bridges.rules import Allow, BridgesRules
from deploys.bridges.wanted import wanted
from deploys.core.change import Blocked, Change, Command, RemoveFile, WriteFile
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.networks.bridges import FIREWALLD_DIRECT, FIREWALLD_POLICY, FIREWALLD_ZONE, NETWORKMANAGER, BridgesReading
from facts.networks.forward import Filter
from tests.support.bridges import RULES, context, hardened, on, plan, reason, state
from tests.support.forward import DOCKER_26
from tests.support.hosts import docker as engine

DEVICES = ("br-tenants", "br-web", "br-web.10", "br-web.20")
IN = Allow.model_validate({"from": "world", "to": "web.10", "proto": "tcp", "port": 443})
OPEN = RULES.model_copy(update={"allow": (*RULES.allow, IN)})
FIREWALLD = on(firewalls=("firewalld",))


DIRECT = merged(None, rows(pairs(RULES, FIREWALLD.outward_devices)))
OLD: dict[str, Any] = {"firewalld_version": "1.3.3-1~deb12u1"}


def told(rules: BridgesRules = RULES, passed: tuple[str, ...] | Unknown | None = DEVICES) -> BridgesReading:
    host = hardened(rules)
    return replace(host, files={**host.files, **firewalld_files(rules)}, firewalld=passed)


def of_firewalld(changes: list[Change]) -> list[Change]:
    return [change for change in changes if "firewalld" in change.what]


def test_what_it_refuses_is_not_in_force_whatever_our_own_files_say() -> None:
    where = context(replace(hardened(), firewalld=("docker0",)), FIREWALLD)
    assert state(where, "forwarding") is State.FAIL
    assert f"firewalld rejects packets from {', '.join(DEVICES)}" in reason(where, "forwarding")
    (zone,) = of_firewalld(plan(where))
    assert isinstance(zone, WriteFile)
    assert (zone.path, zone.activate, zone.commit_confirmed) == (FIREWALLD_ZONE, RELOAD, True)
    assert all(f'<interface name="{name}"/>' in zone.text for name in DEVICES)
    assert zone.interrupts


def test_told_and_taken_up_it_passes_and_nothing_is_planned() -> None:
    for passed in (DEVICES, None):  # None: its iptables backend
        host = told(passed=passed)
        host = replace(host, files=host.files | {FIREWALLD_DIRECT: DIRECT}) if passed is None else host
        where = context(host, FIREWALLD)
        assert state(where, "forwarding") is State.PASS, reason(where, "forwarding")
        assert of_firewalld(plan(where)) == []
    assert state(context(told(passed=Unknown("denied")), FIREWALLD), "forwarding") is State.UNKNOWN


def test_on_disk_and_not_taken_up_it_loads_its_rules_anew() -> None:
    where = context(told(passed=("br-tenants",)), FIREWALLD)
    assert "rejects packets from br-web, br-web.10, br-web.20" in reason(where, "forwarding")
    (again,) = of_firewalld(plan(where))
    assert isinstance(again, Command)
    assert again.script == RELOAD


def test_one_that_empties_iptables_has_our_chain_as_rules_of_its_own() -> None:
    """firewalld before 2.0: a reload leaves Docker's policy of DROP, and takes our chain away."""
    host = replace(told(), **OLD)
    where = context(host, FIREWALLD)
    assert f"{FIREWALLD_DIRECT} does not exist" in reason(where, "forwarding")
    (direct,) = of_firewalld(plan(where))
    assert isinstance(direct, WriteFile)
    assert (direct.path, direct.text, direct.activate) == (FIREWALLD_DIRECT, DIRECT, RELOAD)
    assert direct.interrupts == "reloads firewalld, which empties iptables"
    (direct,) = of_firewalld(plan(context(host, FIREWALLD, docker=engine({}))))
    assert isinstance(direct, WriteFile)
    assert direct.interrupts == "reloads firewalld, which empties iptables; Docker then restores its own rules"
    assert '  <rule ipv="ipv4" table="filter" chain="FORWARD" priority="0">-j HULLPROOF-BRIDGES</rule>' in direct.text
    assert ">-i br-web.10 -o br-web.20 -j ACCEPT<" in direct.text
    there = replace(host, files=host.files | {FIREWALLD_DIRECT: DIRECT})
    assert of_firewalld(plan(context(there, FIREWALLD))) == []


def test_a_newer_one_with_direct_rules_empties_iptables_too() -> None:
    theirs = EMPTY.replace("</direct>", '  <passthrough ipv="ipv4">-A INPUT -j ACCEPT</passthrough>\n</direct>')
    host = replace(told(), firewalld_version="2.3.1-1")
    assert not [
        change
        for change in of_firewalld(plan(context(host, FIREWALLD)))
        if getattr(change, "path", "") == FIREWALLD_DIRECT
    ]
    host = replace(host, files=host.files | {FIREWALLD_DIRECT: theirs})
    (direct,) = of_firewalld(plan(context(host, FIREWALLD)))
    assert isinstance(direct, WriteFile)
    assert "-A INPUT -j ACCEPT</passthrough>" in direct.text
    assert "empties iptables" in direct.interrupts


def test_rules_of_others_stay_where_ours_come_and_go() -> None:
    theirs = '<direct>\n  <rule ipv="ipv4" table="filter" chain="INPUT" priority="0">-j LOG</rule>\n</direct>\n'
    both = merged(theirs, rows([("a", "b")]))
    assert both is not None
    assert "-j LOG" in both
    assert len(own_rows(both)) == 8
    rest = remove_direct(both)
    assert isinstance(rest, WriteFile)
    assert (rest.path, rest.text, rest.before, rest.activate) == (FIREWALLD_DIRECT, theirs, both, RELOAD)
    assert DIRECT is not None
    assert isinstance(remove_direct(DIRECT), RemoveFile)
    host = replace(told(), files=told().files | {FIREWALLD_DIRECT: "<direct/>"}, **OLD)
    (blocked,) = of_firewalld(plan(context(host, FIREWALLD)))
    assert isinstance(blocked, Blocked)
    files = dict.fromkeys(hardened().files) | {FIREWALLD_DIRECT: DIRECT}
    left = context(replace(hardened(), files=files), FIREWALLD, rules=BridgesRules())
    assert FIREWALLD_DIRECT in reason(left, "forwarding")


@pytest.mark.parametrize("rule", ["-A INPUT -s 192.0.2.0/24 -j DROP", "-A DOCKER-USER -s 192.0.2.0/24 -j DROP",
                                  "-A FORWARD -i docker0 -d 192.0.2.0/24 -j DROP"])  # fmt: skip
def test_no_reload_takes_away_what_nobody_puts_back(rule: str) -> None:
    dockers = [row for row in DOCKER_26.replace("br-aaa", "br-0123456789ab").splitlines() if row.startswith("-A ")]
    filtered = replace(FIREWALLD, filter4=Filter("DROP", "ACCEPT", (*dockers, rule)))
    (blocked,) = of_firewalld(plan(context(replace(told(), **OLD), filtered)))
    assert isinstance(blocked, Blocked)
    assert f"would delete `{rule}` for good" in blocked.why
    assert of_firewalld(plan(context(told(), filtered))) == [], "one that leaves iptables alone"


FIREWALL_CMD = """\
case $* in
*--state*) exit "$(cat "$ROOT/state")" ;;
*--reload*) touch "$ROOT/reloaded" ;;
*--permanent*--list-all-zones*) cat "$ROOT/kept" ;;
*--list-all-zones*) cat "$ROOT/now" ;;
esac"""
KEPT = "public (default)\n  interfaces: \n  ports: 22/tcp\n"
ZONE_NOW = "hullproof (active)\n  interfaces: br-web\n  services: \n"  # its file is gone, as in an undo


@pytest.mark.parametrize(
    ("now", "answers", "says"),
    [
        ("public (default, active)\n  interfaces: eth0\n  ports: 22/tcp\n", True, ""),
        (f"{KEPT}{ZONE_NOW}", True, ""),
        ("public (active)\n  interfaces: eth0\n  ports: 22/tcp 2222/tcp\n", True, "(public ports: 22/tcp 2222/tcp)"),
        (KEPT, False, "does not answer"),
    ],
)
def test_it_is_not_reloaded_over_what_it_was_told_for_now_alone(
    tmp_path: Path, now: str, answers: bool, says: str
) -> None:
    for name, body in {"firewall-cmd": FIREWALL_CMD, "systemctl": "exit 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    for name, text in {"now": now, "kept": KEPT, "state": "0" if answers else "252"}.items():
        (tmp_path / name).write_text(text)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ROOT": str(tmp_path)}
    done = subprocess.run(["sh", "-c", RELOAD], env=env, text=True, capture_output=True)
    assert says in done.stderr
    assert (done.returncode == 0, (tmp_path / "reloaded").exists()) == (not says, not says), done.stderr


def test_what_the_world_may_reach_needs_a_policy_too_which_names_the_zone_and_so_comes_after_it() -> None:
    written = of_firewalld(plan(context(replace(hardened(OPEN), firewalld=()), FIREWALLD, rules=OPEN)))
    assert [change.path for change in written if isinstance(change, WriteFile)] == [FIREWALLD_ZONE, FIREWALLD_POLICY]
    less = of_firewalld(plan(context(told(OPEN), FIREWALLD)))
    assert [change.path for change in less if isinstance(change, RemoveFile)] == [FIREWALLD_POLICY]


def test_without_networks_nothing_is_left_of_it_policy_first() -> None:
    where = context(told(OPEN), FIREWALLD, rules=BridgesRules())
    assert "left from an earlier policy" in reason(where, "forwarding")
    gone = [change for change in plan(where) if isinstance(change, RemoveFile) and "firewalld" in change.path]
    assert [(change.path, change.activate) for change in gone] == [(FIREWALLD_POLICY, RELOAD), (FIREWALLD_ZONE, RELOAD)]


def test_where_it_does_not_run_it_is_told_nothing() -> None:
    assert of_firewalld(plan(context())) == []
    assert state(context(hardened(), on()), "forwarding") is State.PASS


def test_networkmanager_names_the_zone_of_bridges_and_vlans_alone() -> None:
    texts = files_for(NETWORKMANAGER, wanted(RULES)).values()
    assert sum("\nzone=hullproof\n" in text for text in texts) == len(DEVICES)
