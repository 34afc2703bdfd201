"""FORWARD and INPUT walked: what iptables does with a packet from one container to another, or to the host."""

from __future__ import annotations

import pytest

from facts.networks.forward import Packet, read_filter
from tests.support.forward import DOCKER_26, HEAD, table


@pytest.mark.parametrize(
    ("first", "drop", "by"),
    [
        ("", True, "-i docker0 -o docker0 -j DROP"),
        ("-A FORWARD -j ACCEPT\n", False, "-A FORWARD -j ACCEPT"),
        ("-A FORWARD -i docker+ -j ACCEPT\n", False, "docker+"),
        ("-A DOCKER-USER -p tcp -m tcp --dport 5432 -j ACCEPT\n", False, "5432"),
        ("-A DOCKER-USER -s 10.0.0.0/8 -j ACCEPT\n", True, "DROP"),  # from elsewhere: cannot be a sibling
        ("-A DOCKER-USER -s 172.17.0.9/32 -j ACCEPT\n", False, "172.17.0.9"),
        ("-A DOCKER-USER ! -s 172.17.0.0/16 -j ACCEPT\n", True, "DROP"),
        ("-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", True, "DROP"),
        ("-A DOCKER-USER -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\n", False, "NEW"),
        ("-A DOCKER-USER -i eth0 -j ACCEPT\n", True, "DROP"),
        ("-A DOCKER-USER -p tcp -j DROP\n", True, "-A FORWARD -i docker0"),  # drops only some: the walk goes on
        ('-A DOCKER-USER -m comment --comment "let -j DROP be" -j ACCEPT\n', False, "let"),
        ("-A DOCKER -d 172.17.0.2/32 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\n", True, "DROP"),  # published
    ],
)
def test_walk(first: str, drop: bool, by: str) -> None:
    text = DOCKER_26.replace("-A FORWARD -j DOCKER-USER", f"{first}-A FORWARD -j DOCKER-USER", 1)
    verdict = table(text).between_ports("docker0", ("172.17.0.0/16",))
    assert verdict.drop is drop
    assert by in verdict.by


def test_flushed_rules_leave_the_policy() -> None:
    assert table(HEAD + "COMMIT\n").between_ports("docker0", ()).drop
    assert not table(HEAD.replace("DROP", "ACCEPT") + "COMMIT\n").between_ports("docker0", ()).drop
    assert not table("").between_ports("docker0", ()).drop


def test_half_an_answer_is_none() -> None:
    assert read_filter(DOCKER_26[:-8]) is None


def test_a_loop_of_chains_ends() -> None:
    assert table(HEAD + "-A FORWARD -j A\n-A A -j A\nCOMMIT\n").between_ports("docker0", ()).drop


def test_who_may_have_returned_is_not_dropped_by_what_follows() -> None:
    """The usual allow-list in DOCKER-USER: some go back, the rest is dropped."""
    rules = "-A DOCKER-USER -s 172.17.0.9/32 -j RETURN\n-A DOCKER-USER -j DROP\n"
    text = DOCKER_26.replace("-A DOCKER-USER -j RETURN\n", rules)
    dropped = table(text).between_ports("docker0", ("172.17.0.0/16",))
    assert dropped.drop
    assert "-i docker0 -o docker0" in dropped.by, "not by DOCKER-USER: 172.17.0.9 came past it"
    opened = text.replace("-A FORWARD -i docker0 -o docker0 -j DROP", "-A FORWARD -i docker0 -o docker0 -j ACCEPT")
    assert not table(opened).between_ports("docker0", ("172.17.0.0/16",)).drop


@pytest.mark.parametrize(
    ("rule", "drop"),
    [
        ("-A INPUT -p udp -m udp --dport 53 -j ACCEPT", False),
        ("-A INPUT -p tcp -m tcp --dport 53 -j ACCEPT", True),
        ("-A INPUT -p udp -m udp --dport 50:60 -j ACCEPT", False),
        ("-A INPUT -p udp -m udp --dport 5353 -j ACCEPT", True),
        ("-A INPUT -p udp -m multiport --dports 53,67 -j ACCEPT", False),
        ("-A INPUT -p udp -m multiport --dports 67,5000:6000 -j ACCEPT", True),
        ("-A INPUT -i br-web -j ACCEPT", True),
        ("-A INPUT -d 10.80.0.1/32 -j ACCEPT", False),
        ("-A FORWARD -j ACCEPT", True),
    ],
)
def test_what_is_for_the_host_goes_through_input(rule: str, drop: bool) -> None:
    packet = Packet("br-tenants", "", ("10.80.0.0/24",), ("10.80.0.1/24",), "udp", 53)
    found = table(f"{HEAD.replace('INPUT ACCEPT', 'INPUT DROP')}{rule}\nCOMMIT\n").verdict(packet)
    assert found.drop is drop
    assert found.by == ("INPUT policy DROP" if drop else rule)
