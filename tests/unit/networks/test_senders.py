"""Containers of root's Podman send as themselves alone, on the networks that `networks.antispoof` covers; and nothing
else of `networks` is asked of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, RemoveFile, WriteFile
from deploys.core.control import State
from deploys.networks import tables as subject
from deploys.networks.guard_chains import Senders
from deploys.networks.isolation import NetworksRules, later_rule
from deploys.networks.ports import FILES as PORT_FILES
from deploys.networks.ports import text_of
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.engines.docker.docker import Docker, DockerReading
from facts.engines.podman import Podman
from facts.engines.podman.podman import Network as File
from facts.engines.podman.podman import PodmanReading
from facts.engines.shapes import Network
from facts.kernel.kernel import Kernel
from facts.networks.networks import LATER_FILE, RULES_FILE, UNIT, UNIT_FILE, Bridge, Networks, NetworksReading, Port
from facts.networks.nft import chains
from tests.support.hosts import NO_PODMAN, beside, judged, listed
from tests.support.networks import DEFAULT, NONE, SUBJECT, changes, docker, reading, reason, state
from tests.support.podman import podman as podman_host
from tests.support.userns import kernel

RULES = NetworksRules(antispoof=True, cover="all")
PODS = Network("podman", "bridge", "podman0", False, True, ("10.88.0.0/16",), ())
SHOP = Network("shop", "bridge", "podman1", False, True, ("10.89.0.0/24",), ())
OWN = Network("own", "bridge", "br-own", False, True, ("10.90.0.0/24",), ())
NAMED = Network("named", "bridge", "podman-lan", False, True, ("10.91.0.0/24",), ())
LAN = Network("lan", "macvlan", "", False, True, (), ())
ABSENT = docker(installed=False, running=False, networks=Unknown("the Docker daemon does not run"))
IDLE = docker(networks=(replace(DEFAULT, containers=()),))
UNIT_TEXT = templates.text(f"networks/{UNIT}")
PORT_TEXTS = {path: text_of(path) for path in PORT_FILES}
TEXT = subject.rules_text(RULES, {}, {}, senders=Senders(("podman*",)))


def podman(*networks: Network, **more: Any) -> PodmanReading:
    """With these networks, beside its own, which has no file."""
    files = {each.name: _file(each) for each in networks or (PODS, SHOP) if each is not PODS}
    return podman_host(**{"networks": files} | more)


def _file(network: Network) -> File:
    keys = {"network_interface": network.bridge, "subnets": [{"subnet": subnet} for subnet in network.subnets]}
    return File("", json.dumps(keys), network.driver, {})


def host(
    nets: NetworksReading,
    there: Any = None,
    rules: NetworksRules = RULES,
    beside_it: DockerReading = ABSENT,
    running: Any = (),
) -> Context:
    readings = {Networks: nets, Docker: beside_it, Podman: there or podman(), Kernel: kernel(),
                Containers: beside(beside_it, *running, also=("podman",))}  # fmt: skip
    return judged(SUBJECT, rules, readings)


def guarded(text: str = TEXT, **more: Any) -> NetworksReading:
    """The host with this text in its kernel and its files."""
    files = {**NONE, RULES_FILE: text, UNIT_FILE: UNIT_TEXT, **PORT_TEXTS, **more.pop("files", {})}
    return reading(**{"own": chains(text), "files": files, "unit_enabled": True, **more})


def written(found: list[Change]) -> str:
    """The rules file that is to be written."""
    (text,) = [each.text for each in found if isinstance(each, WriteFile) and each.path == RULES_FILE]
    return text


def plugged(bridge: str, *ports: str) -> tuple[Bridge, ...]:
    return (Bridge(bridge, tuple(Port(name, False) for name in ports), False, False, False, ()),)


@pytest.mark.parametrize(
    ("nets", "there", "want", "says"),
    [
        (guarded(), podman(), State.PASS, "send from their own addresses alone, on podman, shop"),
        (guarded(bridges=plugged("podman1", "veth0"), ports=("veth0",)), podman(), State.PASS, "alone"),
        (guarded(bridges=plugged("podman1", "veth0")), podman(), State.FAIL, "which container owns port veth0"),
        (reading(), podman(), State.FAIL, "on network podman containers can send from their neighbours' addresses"),
        (guarded(unit_enabled=False), podman(), State.FAIL, "applies now, but no file restores it"),
        (guarded(TEXT.replace('"podman*"', '"podman0"')), podman(), State.FAIL, "on network shop"),
        (guarded(TEXT.replace('"podman*"', '"podman0"')), podman(PODS), State.FAIL, "on new networks"),
        (guarded(), podman(PODS, OWN), State.FAIL, "on network own"),
        (guarded(), podman(PODS, LAN), State.FAIL, "on network lan (macvlan)"),
        (guarded(), podman(networks=Unknown("with CNI here")), State.UNKNOWN, "with CNI here"),
        (guarded(), Unknown("no answer"), State.UNKNOWN, "no answer"),
        (guarded(), NO_PODMAN, State.NOT_APPLICABLE, "Docker is not installed; Podman is not installed"),
    ],
)
def test_whether_podmans_containers_send_as_themselves(nets: Any, there: Any, want: State, says: str) -> None:
    where = host(nets, there)
    assert state(where, "antispoof") is want
    assert says in reason(where, "antispoof")


@pytest.mark.parametrize("there", [podman(), Unknown("no answer")])
def test_all_else_is_asked_of_docker_alone(there: Any) -> None:
    rules = NetworksRules(icc=False, host_services=[], br_netfilter=True, bridged_guests=True, guarded_forwarding=True)
    where = host(reading(), there, rules)
    assert {name: each.state for name, each in where.findings.items()} == dict.fromkeys(
        where.findings, State.NOT_APPLICABLE
    )
    assert changes(where) == []
    asked = host(reading(), there, rules, IDLE)
    assert "podman" not in written(changes(asked))
    assert state(asked, "antispoof") is State.NOT_APPLICABLE


def test_one_run_holds_them_to_their_addresses_and_the_next_changes_nothing() -> None:
    found = changes(host(reading()))
    assert written(found) == TEXT
    assert [each.path for each in found if isinstance(each, WriteFile)] == [*PORT_FILES, RULES_FILE, UNIT_FILE]
    (rules,) = [each for each in found if isinstance(each, WriteFile) and each.path == RULES_FILE]
    assert rules.what.startswith("drop packets from foreign addresses on podman*")
    assert rules.controls == ("networks.icc", "networks.host-services", "networks.antispoof")[-1:]
    assert changes(host(guarded())) == []


def test_beside_dockers_networks() -> None:
    text = written(changes(host(reading(), beside_it=IDLE, rules=RULES.model_copy(update={"icc": False}))))
    for row in ('meta ibrname "docker0" drop', 'meta ibrname "docker0" iifname @known goto as-itself',
                'meta ibrname "podman*" iifname @known goto as-itself', 'iifname "podman*" goto from-own'):  # fmt: skip
        assert f"\t{row}\n" in text
    assert 'ibrname "podman*" drop' not in text
    both = RULES.model_copy(update={"host_services": []})
    services = written(changes(host(reading(), beside_it=IDLE, rules=both)))
    assert 'iifname "docker0" goto to-host' in services
    assert 'iifname "podman*" goto to-host' not in services


@pytest.mark.parametrize(
    ("rules", "bridges", "spared"),
    [
        ({"cover": "default"}, ("podman0",), ()),
        ({"cover": ["shop", "own"]}, ("br-own", "podman1"), ()),
        ({"cover": "all"}, ("br-own", "podman*"), ()),
        ({"cover": "all", "except_": ["own"]}, ("podman*",), ()),
        ({"cover": "all", "except_": ["shop"]}, ("br-own", "podman*"), ("podman1",)),
        ({"cover": "all", "except_": ["named"]}, ("br-own", "podman*"), ("podman-lan",)),
    ],
)
def test_the_networks_that_the_policy_covers(rules: Any, bridges: tuple[str, ...], spared: tuple[str, ...]) -> None:
    policy, there = RULES.model_copy(update=rules), podman(PODS, SHOP, OWN, NAMED)
    text = written(changes(host(reading(), there, policy)))
    assert text == subject.rules_text(policy, {}, {}, senders=Senders(bridges, spared))
    assert state(host(guarded(text), there, policy), "antispoof") is State.PASS
    if spared:
        opened = text.replace(f'meta ibrname "{spared[0]}" accept', "")
        assert f"closes network {policy.except_[0]}, though" in reason(
            host(guarded(opened), there, policy), "antispoof"
        )


def test_a_network_without_a_bridge_is_left_to_its_owner() -> None:
    (blocked,) = [each for each in changes(host(guarded(), podman(PODS, LAN))) if isinstance(each, Blocked)]
    assert blocked.controls == ("networks.antispoof",)
    assert "move the containers of lan to a bridge network" in blocked.by_hand
    icc = RULES.model_copy(update={"antispoof": None, "icc": False})
    assert not [each for each in changes(host(reading(), podman(PODS, LAN), icc, IDLE)) if isinstance(each, Blocked)]


def test_a_foreign_bridge_that_the_pattern_matches_is_left_alone() -> None:
    bridges = plugged("podmanbr0", "eth0")
    nets = guarded(bridges=bridges)
    assert "closes the bridge podmanbr0, which is no container engine's" in reason(host(nets), "antispoof")
    text = written(changes(host(nets)))
    assert text == subject.rules_text(RULES, {}, {}, senders=Senders(("podman*",), ("podmanbr0",)))
    assert state(host(guarded(text, bridges=bridges)), "antispoof") is State.PASS


@pytest.mark.parametrize("network", [OWN, SHOP])
def test_a_bridge_with_a_port_of_others_is_left_alone(network: Network) -> None:
    nets = reading(bridges=plugged(network.bridge, "eth0"))
    found = changes(host(nets, podman(PODS, network)))
    (blocked,) = [each for each in found if isinstance(each, Blocked)]
    assert f"eth0, a port of {network.bridge}, does not lead to a container of Podman's" in blocked.why
    assert f'"{network.bridge}" iifname @known goto' not in written(found)
    assert (f'meta ibrname "{network.bridge}" accept' in written(found)) is (network is SHOP), "or the pattern has it"


def test_ports_on_podmans_own_bridges_are_its_containers_and_on_others_as_many_as_run() -> None:
    ports = ("veth0", "veth1")
    for network, lone in ((SHOP, False), (OWN, True)):
        nets = reading(bridges=plugged(network.bridge, *ports))
        found = changes(host(nets, podman(PODS, network), running=(listed("web"),)))
        assert any("more ports (veth0, veth1) than" in each.why for each in found if isinstance(each, Blocked)) is lone


def test_who_can_change_addresses_is_said_where_it_is_held_to_them_for_the_first_time() -> None:
    running = (listed("vpn", cap_bnd=1 << 12), listed("web"))
    by_docker = guarded(
        subject.rules_text(RULES, {}, {"docker0": True}), ports=("veth9",), files={LATER_FILE: later_rule()}
    )
    for nets in (reading(), by_docker):
        found = changes(host(nets, running=running, beside_it=IDLE))
        (rules,) = [each for each in found if isinstance(each, WriteFile) and each.path == RULES_FILE]
        assert rules.interrupts == "containers with CAP_NET_ADMIN can send only from their present addresses: vpn"
    lost = guarded(bridges=plugged("podman1", "veth0"))
    (load,) = changes(host(lost, running=running))
    assert isinstance(load, Command)
    assert load.interrupts == ""
    assert 'ALL="veth0"' in load.script


def test_what_is_lost_live_is_loaded_again() -> None:
    gone = guarded(own=chains(TEXT.replace('meta ibrname "podman*" iifname @known goto as-itself', "")))
    (load,) = changes(host(gone))
    assert isinstance(load, Command)
    assert load.script == subject.LOAD


@pytest.mark.parametrize("there", [podman(networks=Unknown("with CNI here")), Unknown("no answer")])
def test_a_podman_whose_networks_are_not_known_stops_nothing_of_dockers(there: Any) -> None:
    where = host(reading(), there, beside_it=IDLE)
    assert "on network bridge containers can send" in reason(where, "antispoof")
    text = written(changes(where))
    assert 'ibrname "docker0" iifname @known goto as-itself' in text
    whole = host(guarded(text, files={LATER_FILE: later_rule()}), there, beside_it=IDLE)
    assert state(whole, "antispoof") is State.UNKNOWN


@pytest.mark.parametrize("there", [podman(networks=Unknown("with CNI here")), Unknown("no answer")])
@pytest.mark.parametrize("cover", ["all", ["bridge", "podman", "own"]])
def test_of_a_podman_whose_networks_are_not_known_the_file_keeps_what_it_has(there: Any, cover: Any) -> None:
    rules = RULES.model_copy(update={"cover": cover, "except_": ["shop"] if cover == "all" else []})
    before = written(changes(host(reading(), podman(PODS, SHOP, OWN), rules, IDLE)))
    bridges, both = plugged("podman1"), rules.model_copy(update={"icc": False})
    found = changes(host(guarded(before, bridges=bridges, own={}), there, both, IDLE))
    rows = [
        [row for row in text.split("\n") if "podman" in row or "br-own" in row] for text in (before, written(found))
    ]
    assert rows[0] == rows[1] != []


def test_udev_tells_only_bridges_that_no_pattern_tells() -> None:
    old = guarded(files={LATER_FILE: later_rule()})
    assert state(host(old), "antispoof") is State.PASS
    assert LATER_FILE not in [each.path for each in changes(host(reading())) if isinstance(each, WriteFile)]
    with_docker = changes(host(reading(), beside_it=IDLE))
    assert LATER_FILE in [each.path for each in with_docker if isinstance(each, WriteFile)]


def test_what_the_policy_asks_no_more_is_taken_out() -> None:
    where = host(guarded(), rules=NetworksRules(cover="all"), beside_it=IDLE)
    assert "left from an earlier policy" in reason(where, "antispoof")
    found = changes(where)
    assert "podman" not in written(found)
    assert [each.path for each in found if isinstance(each, RemoveFile)] == list(PORT_FILES)
