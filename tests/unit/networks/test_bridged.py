"""Bridges that are not Docker's: which changes would have iptables drop what they pass on, and that these wait."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, Change, Command, MergeJson, RemoveFile, WriteFile
from deploys.core.control import State
from deploys.engines import foreign_bridges as bridged
from deploys.engines.docker.controls import SUBJECT as docker_subject
from deploys.engines.docker.daemon import daemon_json
from deploys.engines.docker.restart import restart
from deploys.engines.docker.rules import DockerRules
from deploys.networks.forwarding import guard_forwarding
from deploys.networks.isolation import NetworksRules, later_rule
from deploys.networks.switches import READ_AGAIN, SWITCHES
from facts.core.reading import Unknown
from facts.engines.docker.docker import Docker, DockerReading, Network
from facts.engines.docker.neutral import ENABLE_ICC, neutral
from facts.kernel.sysctls import SysctlFile
from facts.networks.forward import Filter
from facts.networks.networks import (
    FORWARD_FILE,
    LATER_FILE,
    MODULES_FILE,
    SYSCTL_FILE,
    Bridge,
    Guard,
    Networks,
    Port,
    Route,
)
from tests.support.forward import DOCKER_26, table
from tests.support.hosts import container, judged
from tests.support.networks import (
    ACCEPTS,
    ENGINES,
    NONE,
    OPEN,
    PORTS,
    SUBJECT,
    changes,
    docker,
    kvm,
    reading,
    reason,
    state,
)
from tests.support.networks import context as plain

KVM = SysctlFile(
    "/etc/sysctl.d/60-kvm.conf", "".join(f"net.bridge.bridge-nf-call-{t}=0\n" for t in ("iptables", "ip6tables"))
)
LETS = "-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT"


def bridge(name: str = "br0", ports: Any = PORTS, isolated: bool = False, **more: Any) -> Bridge:
    values: dict[str, Any] = {"vlan_filtering": False, "nf_call_iptables": False, "nf_call_ip6tables": False}
    values |= {"ports": tuple(Port(port, isolated) for port in ports), "addresses": ()}
    return Bridge(name, **{**values, **more})


def docker26(first: str, policy: str = "DROP") -> Filter:
    return table(
        DOCKER_26.replace("-A FORWARD", f"{first}\n-A FORWARD", 1).replace(":FORWARD DROP", f":FORWARD {policy}")
    )


def context(nets: Any = None, host: Any = None, rules: Any = None, **more: Any) -> Any:
    return plain(nets or kvm(), host or docker({}, networks=(OPEN,)), rules or NetworksRules(), **more)


# ------------------------------------------------------------------------------------------------ whose frames


@pytest.mark.parametrize(
    ("nets", "want"),
    [
        (kvm(), ["br0"]),
        (kvm(bridge(ports=["vnet0"])), []),  # nothing passes
        (kvm(bridge(ports=["eno1"]), routes=(Route("default", "br0", "10.90.0.254"),)), ["br0"]),  # guests join the LAN
        (kvm(bridge(isolated=True)), []),  # none talks to another anyway
        (kvm(bridge("virbr0"), bridge("vmbr0", ["eno1", "tap100i0"])), ["virbr0", "vmbr0"]),
        (kvm(bridge("docker0", ["veth1", "veth2"]), bridge("br-0123456789ab", ["veth3", "veth4"])), []),
        (kvm(bridge("br-aaa", ["veth3", "veth4"])), []),  # a network of Docker's with a name of its own
        (kvm(bridge("br-aaa", ["veth3", "veth4", "veth5"])), ["br-aaa"]),  # and a guest of LXC's on it
        (kvm(bridge("br-aaa", ["veth3", "eno1"])), ["br-aaa"]),  # and with the LAN on it
    ],
)  # fmt: skip
def test_who_is_on_bridges_that_are_not_dockers(nets: Any, want: list[str]) -> None:
    host = docker(networks=(OPEN, Network("shop", "bridge", "br-aaa", False, True, (), ("till", "cart"))))
    assert [found.name for found in bridged.carrying((neutral(host),), nets)] == want


@pytest.mark.parametrize(
    ("nets", "by"),
    [
        (kvm(), "FORWARD policy DROP"),
        (kvm(br_netfilter=False, nf_call={}), "FORWARD policy DROP"),
        (kvm(filter4=ACCEPTS), ""),
        (kvm(filter4=docker26(LETS)), ""),
        (kvm(filter4=docker26("-A FORWARD -i br0 -o br0 -j ACCEPT")), ""),
        (kvm(filter4=docker26("-A FORWARD -i br+ -j ACCEPT")), ""),
        # some would pass, and some would not
        (kvm(filter4=docker26("-A FORWARD -i br0 -p tcp -m tcp --dport 22 -j ACCEPT")), "FORWARD policy DROP"),
        (kvm(filter4=docker26("-A FORWARD -s 10.90.0.0/24 -d 10.90.0.0/24 -j ACCEPT")), "FORWARD policy DROP"),
        (kvm(filter4=docker26("-A FORWARD -p icmp -j DROP", "ACCEPT")), "-A FORWARD -p icmp -j DROP"),
        (kvm(filter4=docker26(f"-A DOCKER-USER -p icmp -j RETURN\n{LETS.replace('FORWARD', 'DOCKER-USER')}")),
         "FORWARD policy DROP"),
        # an engine's guests have addresses of its subnets
        (kvm(bridge("virbr0", addresses=("192.168.122.1/24",)),
             filter4=docker26("-A FORWARD -s 192.168.122.0/24 -d 192.168.122.0/24 -i virbr0 -o virbr0 -j ACCEPT")), ""),
        # they meet it already
        (kvm(nf_call={"iptables": 1, "ip6tables": 1}), ""),
        (kvm(bridge(nf_call_iptables=True, nf_call_ip6tables=True)), ""),
        # rules that are not read
        (kvm(filter4=ACCEPTS, firewalls=("firewalld",)), "firewalld may reject them"),
        (kvm(filter4=ACCEPTS, guards=(Guard("forward", "inet filter", "forward"),)), "table inet filter may drop"),
        (kvm(filter4=ACCEPTS, guards=(Guard("forward", "ip filter", "FORWARD"),)), ""),  # iptables' own
        (kvm(filter4=ACCEPTS, guards=(Guard("input", "inet filter", "input"),)), ""),
        (kvm(filter4=ACCEPTS, guards=(Guard("forward", "bridge filter", "forward"),)), ""),  # is met as it is
        (kvm(filter4=ACCEPTS, filter6=Filter("DROP", "ACCEPT", ())), "FORWARD policy DROP"),
        (kvm(filter4=None, filter6=None), ""),
    ],
)  # fmt: skip
def test_whether_their_frames_would_be_dropped_if_they_met_iptables(nets: Any, by: str) -> None:
    found = bridged.stopped_by((neutral(docker(networks=(OPEN,))),), nets, called=(4, 6))
    assert [by in stopped.by for stopped in found] == ([True] if by else [])


@pytest.mark.parametrize(
    ("nets", "cut"),
    [
        (kvm(filter4=ACCEPTS), False),  # they do not meet it
        (kvm(filter4=ACCEPTS, nf_call={"iptables": 1, "ip6tables": 1}), True),
        (kvm(filter4=ACCEPTS, nf_call={"iptables": 0, "ip6tables": 1}), False),  # the policy is IPv4's
        (kvm(filter4=docker26(LETS, "ACCEPT"), nf_call={"iptables": 1}), False),
        (kvm(filter4=None, nf_call={"iptables": 1}), True),
        (kvm(nf_call={"iptables": 1}), False),  # it is DROP already
    ],
)
def test_whether_their_frames_would_be_dropped_by_a_policy_of_drop(nets: Any, cut: bool) -> None:
    assert bool(bridged.stopped_by((neutral(docker(networks=(OPEN,))),), nets, drops=(4,))) is cut


# ------------------------------------------------------------------------------------------------ Docker's start


def told(keys: Any = None, networks: Any = (OPEN,), version: str = "28.5.2", **more: Any) -> DockerReading:
    known = ("icc", "userland-proxy", "log-level")
    return docker(keys or {}, networks=networks, keys_known=known, version=version, **more)


def asked(put: Any, nets: Any = None, host: Any = None, accept: str = "", **more: Any) -> Change:
    return daemon_json(context(nets, host or told(**more), accept=accept), "docker", "what", put=put)


LEVEL = {"log-level": "info"}
SHUT = Network("shut", "bridge", "br-bbb", False, False, ("172.20.0.0/16",), ())


@pytest.mark.parametrize(
    ("put", "more", "says"),
    [
        ({"userland-proxy": False}, {}, "because of userland-proxy=false"),
        ({"icc": False}, {}, "because of icc=false"),
        (LEVEL, {"host": told({"icc": False})}, "icc=false"),
        (LEVEL, {"host": told(networks=(OPEN, SHUT))}, "network shut"),
        (LEVEL, {"nets": kvm(br_netfilter=False, nf_call={}), "version": "26.1.5"}, "loads br_netfilter"),
        ({"userland-proxy": False}, {"version": None}, "because of userland-proxy=false"),
        (LEVEL, {"nets": kvm(filter4=ACCEPTS, nf_call={"iptables": 1}, forwarding4=0)}, "FORWARD policy"),
        (LEVEL, {"nets": kvm(br_netfilter=Unknown("denied")), "version": "26.1.5"}, "cannot determine"),
        ({"userland-proxy": False}, {"nets": kvm(filter4=Unknown("denied"))}, "dropped: denied"),
    ],
)  # fmt: skip
def test_docker_is_not_restarted_where_its_start_would_cut_guests_off(put: Any, more: Any, says: str) -> None:
    change = asked(put, **more)
    assert isinstance(change, Blocked)
    assert says in change.why
    assert isinstance(asked(put, **{**more, "nets": reading()}), MergeJson)


def test_what_is_said_names_bridge_ports_and_ways_out() -> None:
    change = asked({"userland-proxy": False})
    assert isinstance(change, Blocked)
    for words in ("br0 (vnet0, vnet1)", "`iptables -I FORWARD -i br0 -o br0 -j ACCEPT`", "accept=bridged-guests"):
        assert words in change.reason


@pytest.mark.parametrize(
    ("put", "more"),
    [
        (LEVEL, {}),
        ({"userland-proxy": False}, {"nets": kvm(filter4=docker26(LETS), filter6=None)}),
        ({"userland-proxy": False}, {"host": told({"iptables": False})}),
        (LEVEL, {"nets": kvm(br_netfilter=False, nf_call={})}),
        ({"userland-proxy": False}, {"version": "26.1.5"}),
        (LEVEL, {"nets": kvm(filter4=ACCEPTS, nf_call={"iptables": 1}, forwarding4=0),
                                 "host": told({"ip-forward": False})}),
    ],
)  # fmt: skip
def test_it_is_restarted_where_it_cuts_nobody_off(put: Any, more: Any) -> None:
    assert isinstance(asked(put, **more), MergeJson)


def test_accepted_it_is_said_who_is_cut_off() -> None:
    change = asked({"userland-proxy": False}, accept="bridged-guests")
    assert isinstance(change, MergeJson)
    assert "guests on br0 (vnet0, vnet1) reach neither each other" in change.interrupts


def test_its_undo_takes_back_what_docker_never_does() -> None:
    rules, host = DockerRules(userland_proxy=False), told(info={"LiveRestoreEnabled": True})
    readings = {Docker: host, Networks: kvm()}
    kept, change = docker_subject.plan(judged(docker_subject, rules, readings, "bridged-guests"))
    assert isinstance(change, MergeJson)
    assert isinstance(kept, Command)
    assert kept.script == ":"
    assert kept.undo.splitlines() == [
        f"sysctl -q -w net.bridge.bridge-nf-call-{t}=0" for t in ("iptables", "ip6tables")
    ]
    (blocked,) = docker_subject.plan(judged(docker_subject, rules, readings))
    assert isinstance(blocked, Blocked)
    (alone,) = docker_subject.plan(judged(docker_subject, rules, {**readings, Networks: reading()}, "bridged-guests"))
    assert isinstance(alone, MergeJson)


def test_nor_for_what_containers_take_up_at_a_start() -> None:
    web = container()
    host = told({"userland-proxy": False}, containers=(web,))
    accept = "container-restart"
    blocked = restart(context(host=host, accept=accept), "seccomp", "why")
    assert isinstance(blocked, Blocked)
    assert "br0" in blocked.why
    started = restart(context(host=host, accept=f"{accept} bridged-guests"), "seccomp", "why")
    assert isinstance(started, Activate)
    assert "br0" in started.interrupts


# ------------------------------------------------------------------------------------------------ networks


def test_icc_is_left_to_our_own_table_where_dockers_way_would_cut_guests_off() -> None:
    rules = NetworksRules(icc=False, cover="all", br_netfilter=True)
    host = docker({}, networks=(OPEN,))
    planned = changes(context(host=host, rules=rules))
    assert not any(isinstance(change, (Blocked, MergeJson)) for change in planned)
    files = {change.path: change.text for change in planned if isinstance(change, WriteFile)}
    assert not {MODULES_FILE, SYSCTL_FILE} & set(files)
    after = kvm(files={**NONE, **files}, unit_enabled=True, dropped=("docker0",))
    assert files[LATER_FILE] == later_rule()
    assert state(context(after, host, rules), "icc") is State.PASS
    assert changes(context(after, host, rules)) == []
    passing = kvm(filter4=docker26(LETS), filter6=None)
    keys = [change.put for change in changes(context(passing, host, rules)) if isinstance(change, MergeJson)]
    assert keys == [{"icc": False}, {"default-network-opts": {"bridge": {ENABLE_ICC: "false"}}}]


BOTH = NetworksRules(icc=False, br_netfilter=True)


@pytest.mark.parametrize(
    ("rules", "host", "want", "says"),
    [
        (BOTH, docker({}, networks=(OPEN,)), State.NOT_APPLICABLE, "own nft table"),
        (BOTH, docker(installed=False), State.NOT_APPLICABLE, "not installed"),
        (BOTH, docker({}, networks=Unknown("no daemon")), State.UNKNOWN, "no daemon"),
        (BOTH, docker({}, networks=(OPEN, SHUT)), State.FAIL, "iptables=0"),
        (NetworksRules(br_netfilter=True), docker({}, networks=(OPEN,)), State.FAIL, "iptables=0"),
        (NetworksRules(icc=False), docker({}, networks=(OPEN,)), State.NOT_APPLICABLE, "does not declare"),
    ],
)  # fmt: skip
def test_br_netfilter_is_asked_for_where_something_stands_on_it(
    rules: NetworksRules, host: DockerReading, want: State, says: str
) -> None:
    found = context(host=host, rules=rules)
    assert state(found, "br-netfilter") is want
    assert says in reason(found, "br-netfilter")


def test_the_switches_wait_where_they_would_cut_guests_off() -> None:
    rules = NetworksRules(br_netfilter=True)
    (blocked,) = changes(context(rules=rules, files=(KVM,)))
    assert isinstance(blocked, Blocked)
    assert "br0 (vnet0, vnet1): FORWARD policy DROP" in blocked.why
    done = changes(context(rules=rules, accept="bridged-guests"))
    assert any("br0 (vnet0, vnet1)" in change.interrupts for change in done)
    assert not any(isinstance(change, Blocked) for change in done)
    passing = changes(context(kvm(filter4=docker26(LETS), filter6=None), rules=rules))
    assert [type(change).__name__ for change in passing] == ["Command", "WriteFile"]


def test_they_wait_for_a_policy_of_drop_that_is_to_come_in_the_same_run() -> None:
    rules = NetworksRules(br_netfilter=True, guarded_forwarding=True)
    switches, forward = changes(context(kvm(filter4=ACCEPTS), rules=rules, files=(KVM,)))
    assert isinstance(switches, Blocked)
    assert isinstance(forward, WriteFile)  # 0 in a file: nothing of br0 meets it


def test_what_an_earlier_run_switched_on_is_taken_back() -> None:
    rules = NetworksRules(icc=False, br_netfilter=True)
    nets = kvm(files={**NONE, SYSCTL_FILE: SWITCHES, MODULES_FILE: "br_netfilter\n"}, dropped=("docker0",))
    found = context(nets, rules=rules)
    assert state(found, "br-netfilter") is State.FAIL
    assert SYSCTL_FILE in reason(found, "br-netfilter")
    gone = [change for change in changes(found) if isinstance(change, RemoveFile)]
    assert [(change.path, change.activate) for change in gone] == [(SYSCTL_FILE, READ_AGAIN), (MODULES_FILE, "")]


def test_nor_does_docker_switch_it_on_again_in_the_same_run() -> None:
    rules = NetworksRules(icc=False, br_netfilter=True)
    nets = kvm(files={**NONE, SYSCTL_FILE: SWITCHES}, nf_call={"iptables": 1, "ip6tables": 1})
    assert not any(isinstance(change, MergeJson) for change in changes(context(nets, rules=rules)))
    assert isinstance(asked({"userland-proxy": False}, nets), Blocked)


@pytest.mark.parametrize(
    ("nets", "files", "blocked"),
    [
        (kvm(filter4=ACCEPTS), (KVM,), False),
        (kvm(filter4=ACCEPTS), (), True),  # 0 by hand alone: at the next boot they meet it
        (kvm(filter4=ACCEPTS, br_netfilter=False, nf_call={}, modules_load=()), (KVM,), False),
        (kvm(filter4=ACCEPTS, br_netfilter=False, nf_call={}, modules_load=()), (), True),  # this Docker loads it
        (kvm(filter4=ACCEPTS, nf_call={"iptables": 1}), (), True),
        (kvm(filter4=docker26(LETS, "ACCEPT"), nf_call={"iptables": 1}), (), False),
        (reading(filter4=ACCEPTS), (), False),
    ],
)
def test_forward_becomes_drop_only_where_guests_are_not_cut_off(nets: Any, files: Any, blocked: bool) -> None:
    rules = NetworksRules(guarded_forwarding=True)
    (change,) = guard_forwarding(ENGINES, context(nets, rules=rules, files=files))
    assert isinstance(change, Blocked) is blocked
    if blocked:
        assert "br0 (vnet0, vnet1)" in change.why if isinstance(change, Blocked) else False
        (accepted,) = guard_forwarding(ENGINES, context(nets, rules=rules, files=files, accept="bridged-guests"))
        assert isinstance(accepted, WriteFile)
        assert accepted.path == FORWARD_FILE
        assert "br0 (vnet0, vnet1)" in accepted.interrupts


# ------------------------------------------------------------------------------------------------ seen afterwards

GUESTS = NetworksRules(bridged_guests=True)


@pytest.mark.parametrize(
    ("nets", "want", "says"),
    [
        (reading(), State.NOT_APPLICABLE, "no bridge besides Docker's"),
        (kvm(), State.PASS, "br0"),
        (kvm(nf_call={"iptables": 1}), State.FAIL, "br0 (vnet0, vnet1): FORWARD policy DROP"),
        (kvm(nf_call={"iptables": 1}, filter4=docker26("-A FORWARD -i br0 -p tcp -j ACCEPT")), State.PASS, "br0"),
        (kvm(nf_call={"iptables": 1, "ip6tables": 1}, filter4=docker26(LETS)), State.PASS, "br0"),
        (kvm(nf_call={"iptables": 0, "ip6tables": 1}, filter6=Filter("DROP", "ACCEPT", ())), State.FAIL, "DROP"),
        (kvm(nf_call={"iptables": 1}, filter4=Unknown("denied")), State.UNKNOWN, "denied"),
        (kvm(bridges=Unknown("no ip")), State.UNKNOWN, "no ip"),
    ],
)  # fmt: skip
def test_guests_that_were_cut_off_are_seen(nets: Any, want: State, says: str) -> None:
    found = context(nets, rules=GUESTS)
    assert state(found, "bridged-guests") is want
    assert says in reason(found, "bridged-guests")
    blocked = [change.why for change in changes(found) if isinstance(change, Blocked)]
    assert len(blocked) == (want is State.FAIL)
    assert all("bridge-nf-call-iptables=0" in why for why in blocked)


def test_a_switch_that_docker_sets_with_each_start_is_no_remedy() -> None:
    (blocked,) = changes(context(kvm(nf_call={"iptables": 1}), told({"userland-proxy": False}), GUESTS))
    assert isinstance(blocked, Blocked)
    assert "Docker passes bridged frames through iptables because of userland-proxy=false" in blocked.why
    assert "bridge-nf-call" not in blocked.why


def test_it_is_not_demanded_unasked() -> None:
    assert state(context(kvm(nf_call={"iptables": 1})), "bridged-guests") is State.NOT_APPLICABLE


def test_the_name_is_known() -> None:
    assert bridged.ACCEPT in SUBJECT.accepts
