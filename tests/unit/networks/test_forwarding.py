"""Networks: what the host forwards meets rules, from readings alone."""

from __future__ import annotations

import pytest

from deploys.core.change import Activate, Blocked, WriteFile
from deploys.core.control import State
from deploys.networks.isolation import NetworksRules
from facts.core.reading import Unknown
from facts.engines.docker.docker import DockerReading
from facts.kernel.sysctls import SysctlFile
from facts.networks.forward import Filter
from facts.networks.networks import FORWARD_FILE, NetworksReading
from tests.support.hosts import container
from tests.support.networks import ACCEPTS, NO_RULES, NONE, changes, context, docker, reading, reason, state


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


GUARDED = NetworksRules(guarded_forwarding=True)
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
    assert "/etc/sysctl.d/cis.conf sets ip_forward" in reason(found, "forwarding")
    nets = reading(addresses=TWO_LEGS)  # DROP is in force: nobody loses anything
    (drop,) = changes(context(nets, rules=GUARDED, files=(somebody,)))
    assert isinstance(drop, WriteFile)
    assert "else iptables -w -P FORWARD DROP" in drop.activate
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
