"""Bridges beside ufw and other people's iptables rules: what they refuse of what is allowed, from readings alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploys.bridges.firewalls.forwarding import forward_text
from deploys.bridges.firewalls.ufw import ufw_rule
from deploys.bridges.rules import Allow
from deploys.core.change import Blocked, Change, Command
from deploys.core.control import State
from facts.core.reading import Unknown
from facts.networks.forward import Filter
from facts.networks.networks import Guard, NetworksReading, Route
from tests.support.bridges import PASSING, RULES, context, hardened, on, plan, reason, replace_rules, state
from tests.support.cases import CASES, read

UFW = tuple(read(CASES / "networks.Networks/debian12-form-ufw.json")["fact"]["filter4"]["rules"])
RULE = "allow in on br-tenants to any port 53 proto udp"
TOLD = "-A ufw-user-input -i br-tenants -p udp -m udp --dport 53 -j ACCEPT"
DENIED = "-A ufw-user-input -i br-tenants -j DROP"
MARKED = f"{RULE} comment 'hullproof'"


def host(*rules: str, policy: str = "DROP") -> NetworksReading:
    """As ufw has it, behind Docker's DROP, and our own chain; these rules come first."""
    return on(filter4=Filter("DROP", policy, (*rules, *UFW, *PASSING)))


def commands(changes: list[Change]) -> list[Change]:
    return [change for change in changes if isinstance(change, (Command, Blocked))]


@pytest.mark.parametrize(("rules", "by"), [((), "INPUT policy DROP"), ((DENIED,), DENIED), ((DENIED, TOLD), DENIED)])
def test_what_ufw_refuses_is_told_and_put_first_among_its_rules(rules: tuple[str, ...], by: str) -> None:
    where = context(replace(hardened(), ufw=("allow 22/tcp",)), host(*rules))
    assert state(where, "forwarding") is State.FAIL
    assert reason(where, "forwarding") == f"iptables drops tenants -> host (udp/53): {by}"
    (put,) = commands(plan(where))
    assert isinstance(put, Command)
    assert put.what == f"add the rule `{RULE}` to ufw"
    assert put.script == f"ufw delete {RULE} >/dev/null && ufw prepend {MARKED}"
    assert (put.undo, put.commit_confirmed) == (f"ufw delete {RULE}", True)


def test_told_it_passes_and_nothing_is_planned() -> None:
    where = context(replace(hardened(), ufw=(MARKED, "allow 22/tcp")), host(TOLD, DENIED))
    assert state(where, "forwarding") is State.PASS, reason(where, "forwarding")
    assert commands(plan(where)) == []
    where = context(replace(hardened(), ufw=Unknown("denied")), host(TOLD))
    assert state(where, "forwarding") is State.UNKNOWN


def test_who_refuses_it_before_ufw_is_named_and_ufw_left() -> None:
    first = "-A INPUT -p udp -j DROP"
    where = context(
        replace(hardened(), ufw=(MARKED,)), on(filter4=Filter("DROP", "DROP", (first, TOLD, *UFW, *PASSING)))
    )
    (blocked,) = commands(plan(where))
    assert isinstance(blocked, Blocked)
    assert first in blocked.why


def test_a_rule_of_the_same_words_comes_back_with_an_undo() -> None:
    theirs = f"{RULE} comment 'dns'"
    (put,) = commands(plan(context(replace(hardened(), ufw=("deny in on br-tenants", theirs)), host(DENIED, TOLD))))
    assert isinstance(put, Command)
    assert put.undo == f"ufw delete {RULE} && ufw {theirs}"


def test_a_rule_of_ours_goes_with_its_flow_and_an_operators_own_stays() -> None:
    less = replace_rules(allow=RULES.allow[:1])
    where = context(
        replace(hardened(less), ufw=(MARKED, "allow in on br-tenants to any port 22 proto tcp")), host(), less
    )
    assert f"left from an earlier policy: ufw's rule `{RULE}`" in reason(where, "forwarding")
    (gone,) = commands(plan(where))
    assert isinstance(gone, Command)
    assert gone.script == f"ufw delete {RULE}"
    assert MARKED in gone.undo


@pytest.mark.parametrize(
    ("flow", "rule"),
    [
        ({}, "allow in on br-web.10"),
        ({"proto": "icmp"}, "allow in on br-web.10"),
        ({"proto": "tcp"}, "allow in on br-web.10 proto tcp"),
        ({"proto": "tcp", "port": 53}, "allow in on br-web.10 to any port 53 proto tcp"),
    ],
)
def test_flows_in_ufws_words(flow: dict[str, object], rule: str) -> None:
    """As `ufw show added` printed them after they were given."""
    assert ufw_rule(RULES, Allow.model_validate({"from": "web.10", "to": "host", **flow})) == rule


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("-A INPUT -p udp -j REJECT --reject-with icmp-port-unreachable", "tenants -> host (udp/53)"),
        ("-A FORWARD -i br-web.10 -j DROP", "web.10 -> web.20 (tcp/5432)"),
        ("-A FORWARD -p tcp -m tcp --dport 5000:6000 -j DROP", "web.10 -> web.20 (tcp/5432)"),
        ("-A FORWARD -i br-web -j DROP", "frames between the ports of br-web"),
    ],
)
def test_somebody_elses_rule_is_named_and_left(rule: str, says: str) -> None:
    where = context(hardened(), on(filter4=Filter("DROP", "ACCEPT", (rule, *PASSING))))
    assert f"iptables drops {says}: {rule}" in reason(where, "forwarding")
    (blocked,) = commands(plan(where))
    assert isinstance(blocked, Blocked)
    assert rule in blocked.why


@pytest.mark.parametrize(("hook", "unread"), [("input", True), ("forward", True), ("output", False)])
def test_what_other_tables_of_nft_refuse_is_not_known(hook: str, unread: bool) -> None:
    where = context(hardened(), on(guards=(Guard(hook, "inet filter", "mine"), Guard(hook, "ip filter", "INPUT"))))
    assert state(where, "forwarding") is (State.UNKNOWN if unread else State.PASS)
    if unread:
        assert "in the chain mine of table inet filter, whose rules" in reason(where, "forwarding")


@pytest.mark.parametrize(
    ("guard", "filter4", "says"),
    [
        (
            Guard("input", "ip filter", "INPUT"),
            None,
            "the chain INPUT of table ip filter",
        ),  # no iptables to read it with
        (Guard("input", "ip filter", "mine"), Filter("DROP", "ACCEPT", PASSING), "the chain mine of table ip filter"),
    ],
)
def test_a_table_named_as_iptables_names_its_own_is_known_only_as_far_as_iptables_reads_it(
    guard: Guard, filter4: Filter | None, says: str
) -> None:
    where = context(hardened(), on(filter4=filter4, guards=(guard,)))
    assert state(where, "forwarding") is State.UNKNOWN, reason(where, "forwarding")
    assert says in reason(where, "forwarding")


def test_the_world_is_beyond_every_router() -> None:
    out = Allow.model_validate({"from": "tenants", "to": "world"})
    rules, routes = replace_rules(allow=(*RULES.allow, out)), (Route("10.0.0.0/8", "eth2", "10.9.9.1"),)
    where = context(hardened(rules), on(routes=routes), rules)
    assert "iptables drops tenants -> world (any): FORWARD policy DROP" in reason(where, "forwarding")
    assert "  accept br-tenants eth2" in forward_text(rules, on(routes=routes).outward_devices)


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -i br-web.10 -p tcp -m tcp --dport 80 -j DROP",  # another port
        "-A FORWARD -i br-web.20 -j DROP",  # the way back
        "-A FORWARD -s 10.81.99.0/24 -j DROP",
        "-A FORWARD -p tcp -m limit --limit 3/min -j DROP",  # some of it
        "-A INPUT -i eth0 -j DROP",
    ],
)
def test_what_is_about_something_else_is_nobodys_business(rule: str) -> None:
    where = context(hardened(), on(filter4=Filter("DROP", "ACCEPT", (rule, *PASSING))))
    assert state(where, "forwarding") is State.PASS, reason(where, "forwarding")
