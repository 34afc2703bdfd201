"""Networks: what the host forwards meets rules, from readings alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, WriteFile
from deploys.core.control import State
from deploys.networks.forwarding import FAMILIES, IPV4, drop_in
from deploys.networks.isolation import NetworksRules
from facts.core.reading import Unknown
from facts.engines.docker.docker import DockerReading
from facts.kernel.sysctls import SysctlFile
from facts.networks.forward import Filter
from facts.networks.networks import FORWARD_FILE, NetworksReading
from tests.support.hosts import container
from tests.support.networks import ACCEPTS, NO_RULES, NONE, SHOP, changes, context, docker, reading, reason, state

GUARDED = NetworksRules(guarded_forwarding=True)
DROPS = Filter("DROP", "ACCEPT", ())
ON6 = SysctlFile("/etc/sysctl.d/x.conf", "net.ipv6.conf.all.forwarding = 1\n")
OFF6 = SysctlFile("/etc/sysctl.d/x.conf", "net.ipv6.conf.all.forwarding = 0\n")
KEPT = {**NONE, FORWARD_FILE: drop_in(FAMILIES)}
KEPT4 = {**NONE, FORWARD_FILE: drop_in((IPV4,))}


@pytest.mark.parametrize(
    ("nets", "host", "want", "says"),
    [
        (reading(), docker(), State.PASS, "policy of DROP"),
        (reading(filter4=ACCEPTS), docker(), State.FAIL, "unpublished container ports"),
        (reading(filter4=NO_RULES), docker(), State.FAIL, "everything is forwarded"),
        (reading(filter4=None), docker(), State.FAIL, "everything is forwarded"),
        (reading(filter4=Filter("DROP", "ACCEPT", ())), docker(), State.PASS, "policy of DROP"),
        (reading(filter4=NO_RULES, tables=("ip docker-bridges",)), docker(), State.PASS, "nftables"),
        (reading(forwarding4=0), docker(), State.NOT_APPLICABLE, "off"),
        (reading(), docker(running=False), State.NOT_APPLICABLE, "Docker is not running"),
        (reading(), docker(running=Unknown("denied")), State.UNKNOWN, "denied"),
        (reading(forwarding4=Unknown("denied")), docker(), State.UNKNOWN, "denied"),
        (reading(filter4=Unknown("denied")), docker(), State.UNKNOWN, "denied"),
    ],
)  # fmt: skip
def test_forwarding(nets: NetworksReading, host: DockerReading, want: State, says: str) -> None:
    found = context(nets, host)
    assert state(found, "forwarding") is want
    assert says in reason(found, "forwarding")


SIX = {"forwarding6": 1}
NO6 = {**SIX, "forwarding4": 0}


@pytest.mark.parametrize(
    ("nets", "files", "want", "says"),
    [
        (reading(**SIX), (), State.FAIL, "ip6tables' FORWARD policy is ACCEPT: the host forwards IPv6 packets of"),
        (reading(**SIX, filter6=ACCEPTS), (), State.FAIL, "unpublished container ports (Docker sets it only if net.ip"),
        (reading(**SIX, filter6=DROPS), (), State.PASS, "IPv4 packets have to pass a FORWARD policy of DROP and IPv6 "),
        (reading(**SIX, filter6=DROPS), (ON6,), State.FAIL, "x.conf sets net.ipv6.conf.all.forwarding for the next"),
        (reading(**SIX, filter6=DROPS), (OFF6,), State.PASS, "IPv6 packets have to pass"),
        (reading(**SIX, filter6=DROPS, files=KEPT), (ON6,), State.PASS, "IPv6 packets have to pass"),
        (reading(**SIX, filter6=DROPS, files=KEPT4), (ON6,), State.FAIL, "then nothing sets DROP"),
        (reading(**SIX, tables=("ip6 docker-bridges",)), (), State.PASS, "Docker's own nftables table"),
        (reading(**SIX, tables=("ip docker-bridges",)), (), State.FAIL, "ip6tables' FORWARD policy is ACCEPT"),
        (reading(**NO6), (), State.FAIL, "ip6tables' FORWARD policy is ACCEPT"),
        (reading(**NO6, filter6=DROPS, filter4=Unknown("denied")), (), State.PASS, "forwarded IPv6 packets"),
        (reading(**SIX, filter6=Unknown("denied")), (), State.UNKNOWN, "denied"),
        (reading(forwarding6=Unknown("denied")), (), State.UNKNOWN, "denied"),
        (reading(forwarding4=0, forwarding6=None), (), State.NOT_APPLICABLE, "net.ipv6.conf.all.forwarding"),
    ],
)
def test_both_families_are_judged(nets: NetworksReading, files: Any, want: State, says: str) -> None:
    found = context(nets, rules=GUARDED, files=files)
    assert state(found, "forwarding") is want
    assert says in reason(found, "forwarding")


def test_ipv6_is_dropped_too_and_comes_back_after_an_undo() -> None:
    (drop,) = changes(context(reading(**SIX), rules=GUARDED))
    assert isinstance(drop, WriteFile)
    assert drop.what.startswith("set iptables' and ip6tables' FORWARD policy to DROP, now and whenever Docker starts")
    assert drop.text == drop_in(FAMILIES)
    assert "then ip6tables -w -P FORWARD DROP; else ip6tables -w -P FORWARD ACCEPT; fi" in drop.activate
    after = reading(**SIX, filter6=DROPS, files={**NONE, FORWARD_FILE: drop.text})
    assert changes(context(after, rules=GUARDED, files=(ON6,))) == []


@pytest.mark.parametrize(
    ("nets", "why"),
    [
        (
            reading(**SIX, addresses={"ens3": ("fd00::1/64", "fe80::1/64"), "ens4": ("fd01::1/64",)}),
            "between ens3, ens4",
        ),
        (reading(**SIX, addresses={"ens3": ("fd00::1/64",), "ens4": ("fe80::1/64", "10.0.0.1/8")}), ""),
        (reading(**SIX), "IPv6 of network six, for which Docker has written no rules of ip6tables"),
        (reading(**SIX, filter6=ACCEPTS), ""),
        (reading(**SIX, filter6=None), "ip6tables is not installed"),
    ],
)
def test_who_needs_ipv6_forwarded_is_asked_first(nets: NetworksReading, why: str) -> None:
    subnets = ("fd02::/64",) if why.startswith("IPv6 of") or nets.filter6 == ACCEPTS else ("172.20.0.0/16",)
    host = docker(networks=(replace(SHOP, name="six", subnets=subnets),))
    (change,) = changes(context(nets, host, GUARDED))
    assert isinstance(change, Blocked) is bool(why)
    if isinstance(change, Blocked):
        assert why in change.why
        assert (change.accepts == ("forward-drop",)) is (nets.filter6 is not None)


TWO_LEGS = {"lo": ("127.0.0.1/8",), "ens3": ("10.0.2.15/24",), "ens4": ("10.9.0.1/24",), "docker0": ("172.17.0.1/16",)}


def test_what_no_rule_lets_through_is_dropped_as_docker_does() -> None:
    (drop,) = changes(context(reading(filter4=ACCEPTS), rules=GUARDED))
    assert isinstance(drop, WriteFile)
    assert drop.path == FORWARD_FILE
    assert "ExecStartPost=-/usr/sbin/iptables -w -P FORWARD DROP" in drop.text
    assert drop.interrupts == ""


def test_a_drop_that_the_next_boot_would_not_bring_back_is_made_to_last() -> None:
    somebody = SysctlFile("/etc/sysctl.d/cis.conf", "net.ipv4.ip_forward = 0\n")
    found = context(rules=GUARDED, files=(somebody,))
    assert state(found, "forwarding") is State.FAIL
    assert "/etc/sysctl.d/cis.conf sets net.ipv4.ip_forward" in reason(found, "forwarding")
    nets = reading(addresses=TWO_LEGS)  # DROP is in force: nobody loses anything
    (drop,) = changes(context(nets, rules=GUARDED, files=(somebody,)))
    assert isinstance(drop, WriteFile)
    assert "else iptables -w -P FORWARD DROP; fi" in drop.activate
    written = reading(files={**NONE, FORWARD_FILE: drop.text})
    assert state(context(written, rules=GUARDED, files=(somebody,)), "forwarding") is State.PASS


def test_a_host_that_may_be_a_router_is_asked_about_first() -> None:
    nets = reading(filter4=ACCEPTS, addresses=TWO_LEGS)
    (blocked,) = changes(context(nets, rules=GUARDED))
    assert isinstance(blocked, Blocked)
    assert blocked.reason.endswith("no longer forward between ens3, ens4. Allow it with --data accept=forward-drop")
    (drop,) = changes(context(nets, rules=GUARDED, accept="forward-drop"))
    assert drop.interrupts == "stops forwarding between ens3, ens4"


def test_flushed_rules_come_back_with_the_daemon() -> None:
    again, drop = changes(context(reading(filter4=NO_RULES), rules=GUARDED))
    assert isinstance(again, Activate)
    assert isinstance(drop, WriteFile)
    running = docker(containers=(container(),))
    (blocked,) = changes(context(reading(filter4=NO_RULES), running, GUARDED))
    assert isinstance(blocked, Blocked)
    assert "live-restore is off" in blocked.why
