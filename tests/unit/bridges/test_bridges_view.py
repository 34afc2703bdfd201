"""The view of a host's bridges: made once for each policy and survey; and what hullproof's own files say there."""

from __future__ import annotations

import pytest

from deploys.bridges.firewalls.iptables import Cause, refusals
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.openvswitch.flows import switch_text
from deploys.bridges.rules import BridgeNetwork, BridgesRules, Port
from deploys.bridges.view import view_of
from facts.core import asked
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.networks.forward import Filter
from facts.networks.own_filter import NO_FILTER, read_own_filter
from tests.support.bridges import RULES, TENANTS, context, hardened, on
from tests.support.networks import docker


def test_it_is_made_once_for_each_policy_and_survey() -> None:
    one, other = context(hardened(), on()).survey, context(hardened(), on()).survey
    assert view_of(RULES, one) is view_of(RULES, one)
    assert view_of(RULES, one) is not view_of(RULES, other)
    assert view_of(RULES, one) is not view_of(BridgesRules(networks={"tenants": TENANTS}), one)
    assert view_of(RULES, one).segments is view_of(RULES, one).segments


def test_two_surveys_that_share_a_reading_have_views_of_their_own() -> None:
    """Of a reading that a test or a baseline passes on."""
    bridges = hardened()
    views = [view_of(RULES, context(bridges, on(managers=(name,))).survey) for name in ("ifupdown", "NetworkManager")]
    assert [view.networks.managers for view in views] == [("ifupdown",), ("NetworkManager",)]


def test_the_networks_of_engines_count_as_asked_for_by_each_control_that_has_them_from_the_view() -> None:
    """They are each host's own: else the second control's verdict would be another host's too."""
    survey = context(hardened(), on()).survey
    survey = Survey({**survey.readings, Docker: docker()})
    for _ in range(2):
        with asked.asking() as for_it:
            assert view_of(RULES, survey).engine_networks
        assert for_it.alone


def test_an_incomplete_survey_costs_only_what_needs_it() -> None:
    full = context(hardened(), on()).survey
    view = view_of(RULES, Survey({fact: found for fact, found in full.readings.items() if fact.key == "bridges"}))
    assert len(view.segments) == 3
    assert view.file("/etc/hullproof/bridges.nft") == filter_text(RULES)
    with pytest.raises(UnknownReading, match="networks was not surveyed"):
        _ = view.manager


@pytest.mark.parametrize(
    ("table", "cause"),
    [
        (Filter("DROP", "ACCEPT", ("-A FORWARD -j DOCKER-USER",)), Cause.FORWARD_POLICY),
        (Filter("ACCEPT", "DROP", ()), Cause.UFW),
        (Filter("ACCEPT", "ACCEPT", ("-A INPUT -j ufw-user-input", "-A ufw-user-input -j DROP")), Cause.UFW),
        (Filter("ACCEPT", "ACCEPT", ("-A INPUT -j DROP",)), Cause.RULE),
        # a comment names no chain
        (
            Filter("ACCEPT", "ACCEPT", ('-A INPUT -m comment --comment "FORWARD policy, INPUT policy" -j DROP',)),
            Cause.RULE,
        ),
        (Filter("ACCEPT", "ACCEPT", ("-A FORWARD -j ufw-user-forward", "-A ufw-user-forward -j DROP")), Cause.RULE),
    ],
)
def test_what_drops_a_flow_is_known_by_its_chain(table: Filter, cause: Cause) -> None:
    view = view_of(RULES, context(hardened(), on(filter4=table)).survey)
    assert {refusal.cause for refusal in refusals(view)} == {cause}


def test_what_its_own_files_filter_is_read_from_them() -> None:
    rules = BridgesRules(
        networks={"tenants": TENANTS, "db": BridgeNetwork(bridge="br-db", switch="openvswitch", ports={"db": Port()})},
        isolated_engines=("lxc",),
        guarded_engines={"podman": ("tcp/9100",)},
        metadata="closed",
    )
    found = read_own_filter(filter_text(rules), switch_text(rules))
    assert found.bridges == {"br-tenants", "br-db", "lxcbr*"}
    assert found.isolated == {"br-tenants", "lxcbr*"}
    assert found.guests == {("podman*", "podman"), ("cni-podman*", "podman")}
    assert "tcp dport 9100 accept" in found.served["podman"]
    assert found.metadata
    assert read_own_filter("", "") == NO_FILTER
    assert read_own_filter("", switch_text(rules)).metadata
