"""Networks: the host's own services and forged addresses, from readings alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from deploys.core import templates
from deploys.core.change import Blocked, Command, RemoveFile, WriteFile
from deploys.core.control import State
from deploys.networks import tables as subject
from deploys.networks.isolation import NetworksRules, later_rule
from deploys.networks.ports import FILES as PORT_FILES
from deploys.networks.ports import text_of
from facts.core.reading import Unknown
from facts.engines.docker.docker import Network
from facts.networks.networks import (
    LATER_FILE,
    PORTS_FILE,
    RULES_FILE,
    UNIT,
    UNIT_FILE,
    Bridge,
    NetworksReading,
    Port,
    Route,
)
from facts.networks.nft import chains
from tests.support.hosts import container
from tests.support.networks import BOTH_BRIDGES, DEFAULT, NONE, SHOP, changes, context, docker, reading, reason, state

GUARD = NetworksRules(host_services=["udp/53"], antispoof=True, cover="all")
GUARDED = subject.rules_text(GUARD, BOTH_BRIDGES, BOTH_BRIDGES)
UNIT_TEXT = templates.text(f"networks/{UNIT}")
PORT_TEXTS = {path: text_of(path) for path in PORT_FILES}
THERE = {**NONE, RULES_FILE: GUARDED, UNIT_FILE: UNIT_TEXT, LATER_FILE: later_rule(), **PORT_TEXTS}
PLUGGED = (Bridge("docker0", (Port("veth1", False), Port("veth2", False)), False, False, False, ()),)
IDLE = replace(DEFAULT, containers=())


def guarded(text: str = GUARDED, **more: Any) -> NetworksReading:
    return reading(**{"own": chains(text), "files": THERE, "unit_enabled": True, **more})


def inserted(chain: str, row: str, text: str = GUARDED) -> str:
    """`nft insert rule`: after the chain's head, if it has one."""
    return re.sub(rf"(chain {chain} \{{\n(?:\t\ttype .*\n)?)", rf"\1\t\t{row}\n", text)


@pytest.mark.parametrize(
    ("nets", "host", "services", "forged"),
    [
        (guarded(), docker(), "containers reach udp/53 of the host's own services", "own addresses alone"),
        (reading(), docker(), "no rule leads to hullproof's chain", "no rule leads to hullproof's chain"),
        (guarded(GUARDED.replace('"docker0" g', '"x" g')), docker(), "bridge containers reach", "(set on disk, not"),
        (guarded(inserted("input", 'iifname "docker0" accept')), docker(), "no rule leads to hullproof's "
            "chain", "alone"),
        (guarded(inserted("input", "tcp dport 22 accept")), docker(), "`tcp dport 22 accept` in hullproof's "
            "chain", "alone"),
        (guarded(inserted("to-host", "tcp dport 22 accept")), docker(), "differs from the policy", "alone"),
        (guarded(inserted("from-own", "accept")), docker(), "containers reach udp/53", "from the policy: accept;"),
        (guarded(unit_enabled=False), docker(), "applies now, but no file", "applies now, but no file"),
        (guarded(files={**THERE, LATER_FILE: None}), docker(), "on new networks", "on new networks"),
        (guarded(inserted("as-itself", "accept")), docker(), "containers reach udp/53", "from the policy: accept;"),
        (guarded(inserted("ports", "accept")), docker(), "containers reach udp/53", "rule `accept` in hullproof's"),
        (guarded(inserted("ports", 'meta ibrname "docker0" accept')), docker(), "containers reach udp/53",
         "network bridge containers can send from their neighbours' addresses (set on disk, not in force)"),
        (guarded(files={**THERE, PORTS_FILE: "# old"}), docker(), "containers reach udp/53", "no file restores"),
        (guarded(bridges=PLUGGED, ports=("veth1",)), docker(), "containers reach udp/53", "container owns port veth2"),
        (guarded(bridges=PLUGGED, ports=("veth1", "veth2")), docker(), "containers reach udp", "own addresses alone"),
        (guarded(own=Unknown("not root")), docker(), "not root", "not root"),
        (guarded(), docker(networks=()), "names none", "names none"),
    ],
)  # fmt: skip
def test_whether_the_host_is_closed_to_containers(nets: Any, host: Any, services: str, forged: str) -> None:
    where = context(nets, host, GUARD)
    for control, words in (("host-services", services), ("antispoof", forged)):
        assert words in reason(where, control)
        right = words.startswith(("containers reach udp", "own addresses alone", "alone"))
        want = {"not root": State.UNKNOWN, "names none": State.NOT_APPLICABLE}.get(words)
        assert state(where, control) is (want or (State.PASS if right else State.FAIL))


def test_a_network_that_udev_named_is_closed() -> None:
    later = Network("x", "bridge", "br-0123456789ab", False, True, ("172.20.0.0/16",), ())
    named = guarded(later=(later.bridge,))
    assert state(context(named, docker(networks=(later,)), GUARD), "host-services") is State.PASS
    assert state(context(guarded(), docker(networks=(later,)), GUARD), "host-services") is State.FAIL


def test_running_containers_keep_the_hosts_services_until_that_is_accepted() -> None:
    later = Network("x", "bridge", "br-0123456789ab", False, True, ("172.20.0.0/16",), ("shop",))
    host = docker(networks=(IDLE, later))
    found = changes(context(host=host, rules=GUARD))
    (blocked,) = [change for change in found if isinstance(change, Blocked)]
    assert "may use them (shop)" in blocked.why
    assert blocked.accepts == ("host-services",)
    (rules,) = [change for change in found if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert 'iifname "docker0" goto to-host' in rules.text
    assert 'iifname "br-0123456789ab" accept' in rules.text, "or udev closes it"
    assert 'iifname "br-0123456789ab" goto from-own' in rules.text
    assert "hook forward" not in rules.text, "nobody asked to keep containers apart"
    assert "close the host's own services to docker0, drop packets from foreign addresses" in rules.what
    accepted = changes(context(host=host, rules=GUARD, accept="host-services"))
    (rules,) = [change for change in accepted if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert rules.interrupts == "these containers no longer reach the host's own services except udp/53: shop"
    assert changes(context(guarded(), rules=GUARD)) == []


def test_what_was_closed_before_is_mended_and_changed_unasked_and_what_that_takes_away_is_told() -> None:
    (load,) = changes(context(guarded(inserted("to-host", "accept")), rules=GUARD))
    assert isinstance(load, Command)
    more = GUARD.model_copy(update={"host_services": ["udp/53", "tcp/9100"]})
    (rules,) = changes(context(guarded(), rules=more))
    assert isinstance(rules, WriteFile)
    assert not rules.interrupts
    (rules,) = changes(context(guarded(), rules=GUARD.model_copy(update={"host_services": []})))
    assert isinstance(rules, WriteFile)
    assert rules.interrupts == "these containers no longer reach the host's own services: cart, db, till, web"
    assert 'iifname "docker0" goto to-host' in rules.text


def test_the_way_that_we_came_in_by_is_not_closed() -> None:
    """The controller is a container of the host."""
    came = reading(doors=("ens3", "docker0"), ssh_port=2222)
    (blocked,) = changes(context(came, rules=GUARD, accept="host-services"))
    assert isinstance(blocked, Blocked)
    assert "comes in through network bridge: name tcp/2222 in networks.host_services" in blocked.why
    named = GUARD.model_copy(update={"host_services": ["tcp/2222"]})
    assert len(changes(context(came, rules=named, accept="host-services"))) > 1


def test_who_asks_the_host_itself_for_names_is_not_cut_off_unasked() -> None:
    own = {"addresses": {"eth0": ("192.0.2.5/24",), "lo": ("127.0.0.1/8",)}, "resolvers": ("192.0.2.5",)}
    rules = GUARD.model_copy(update={"host_services": []})
    host = docker(networks=(IDLE,))
    (blocked,) = [change for change in changes(context(reading(**own), host, rules)) if isinstance(change, Blocked)]
    assert (
        "192.0.2.5, which containers use as their DNS server, is this host (udp/53): name what they need" in blocked.why
    )
    named = changes(context(reading(**own), host, GUARD))
    assert not [change for change in named if isinstance(change, Blocked)]
    told = docker({"dns": ["192.0.2.5"]}, networks=(IDLE,))
    by_docker = changes(context(reading(**own | {"resolvers": ("9.9.9.9",)}), told, rules))
    assert any(
        "192.0.2.5, which containers use as their DNS server" in change.why
        for change in by_docker
        if isinstance(change, Blocked)
    )


def test_what_is_lost_live_is_loaded_and_what_is_asked_no_more_is_taken_out() -> None:
    (load,) = changes(
        context(guarded(inserted("to-host", "accept")), docker(networks=(IDLE, replace(SHOP, containers=()))), GUARD)
    )
    assert isinstance(load, Command)
    assert load.script == subject.LOAD
    fewer = GUARD.model_copy(update={"antispoof": None})
    where = context(guarded(), rules=fewer)
    assert "left from an earlier policy" in reason(where, "antispoof")
    *removed, rules = changes(where)
    assert isinstance(rules, WriteFile)
    assert "from-own" not in rules.text
    assert "as-itself" not in rules.text
    assert [change.path for change in removed if isinstance(change, RemoveFile)] == list(PORT_FILES)
    only = GUARD.model_copy(update={"cover": ["shop"]})
    assert "hullproof's table closes network bridge" in reason(context(guarded(), rules=only), "antispoof")


def test_what_udev_closes_against_the_policy_is_told_and_let_go() -> None:
    again = Network("shop", "bridge", "br-0123456789ab", False, True, ("172.20.0.0/16",), ())
    spared = GUARD.model_copy(update={"except_": ["shop"]})
    anew = guarded(later=(again.bridge,))
    assert "hullproof's table closes network shop" in reason(context(anew, docker(networks=(IDLE, again)), spared),
                                                              "host-services")  # fmt: skip
    (rules,) = changes(context(anew, docker(networks=(IDLE, again)), spared))
    assert isinstance(rules, WriteFile)
    assert 'iifname "br-0123456789ab" accept' in rules.text
    fewer = GUARD.model_copy(update={"cover": "default"})
    assert "new networks are closed, though networks.cover is not all" in reason(
        context(guarded(), rules=fewer), "antispoof"
    )
    rules, removed = changes(context(guarded(), rules=fewer))
    assert isinstance(rules, WriteFile)
    assert isinstance(removed, RemoveFile)
    assert removed.path == LATER_FILE
    assert "@later" not in rules.text


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            {"bridges": (Bridge("docker0", (Port("eth0", False),), False, False, False, ()),)},
            "eth0, a port of docker0, does not lead to a container",
        ),
        ({"routes": (Route("default", "docker0", "192.0.2.1"),)}, "default route leads through docker0"),
    ],
)
def test_a_bridge_that_is_the_lans_is_left_alone(more: Any, why: str) -> None:
    host = docker(networks=(IDLE,))
    found = changes(context(reading(**more), host, NetworksRules(host_services=[], antispoof=True, icc=False)))
    (blocked,) = [change for change in found if isinstance(change, Blocked)]
    assert why in blocked.why
    texts = [change.text for change in found if isinstance(change, WriteFile) and change.path == RULES_FILE]
    assert not any('"docker0"' in text for text in texts)
    here = reading(**more, doors=("docker0",))
    (blocked,) = [change for change in changes(context(here, host, GUARD)) if isinstance(change, Blocked)]
    assert why in blocked.why, "it is not closed, so nobody who comes in by it is cut off"


@pytest.mark.parametrize("name", ["br0", "br-0123456789ab"])
def test_guests_of_others_on_a_bridge_that_was_there_before_its_network(name: str) -> None:
    """LXC names its guests' ports as Docker does."""
    ports = tuple(Port(port, False) for port in ("veth1", "veth2", "veth3"))
    own = Network("own", "bridge", name, False, True, ("10.90.0.0/24",), ("web",))
    nets = reading(bridges=(Bridge(name, ports, False, False, False, ()),))
    found = changes(context(nets, docker(networks=(own,)), NetworksRules(icc=False, cover=["own"])))
    blocked = [change.why for change in found if isinstance(change, Blocked)]
    assert ["more ports (veth1, veth2, veth3) than the network has containers" in why for why in blocked] == (
        [True] if name == "br0" else []
    )


def test_what_may_be_made_anew_keeps_the_hosts_services_too() -> None:
    """`docker compose down; up`: the same network, and a bridge of another name."""
    text = subject.rules_text(GUARD, {"docker0": True}, {"docker0": False})
    assert "@later goto to-host" not in text
    assert "@later goto from-own" in text


def test_as_whom_containers_send_is_read_before_the_rules_ask() -> None:
    mover = replace(container("vpn", cap_add=("NET_ADMIN",)), networks=("bridge",))
    host = docker(networks=(IDLE,), containers=(mover, replace(mover, name="web", cap_add=())))
    found = [change for change in changes(context(host=host, rules=GUARD)) if isinstance(change, WriteFile)]
    assert [change.path for change in found][:4] == [*PORT_FILES, RULES_FILE]
    assert found[3].interrupts == "containers with CAP_NET_ADMIN can send only from their present addresses: vpn"
    missing = guarded(bridges=PLUGGED, ports=())
    (load,) = changes(context(missing, docker(networks=(IDLE, replace(SHOP, containers=()))), GUARD))
    assert isinstance(load, Command)
    assert load.script.startswith('FILE=/etc/hullproof/ports.sh\nALL="veth1 veth2"\n')


def test_what_the_host_is_still_to_serve_hides_no_drift() -> None:
    """A network that keeps the host's services unasked, and of which a rule was lost."""
    text = subject.rules_text(GUARD, {"docker0": True}, {"docker0": False})
    host, files = docker(networks=(DEFAULT,)), {**THERE, RULES_FILE: text}
    whole = changes(context(guarded(text, files=files), host, GUARD))
    assert [type(change) for change in whole] == [Blocked]
    lost = text.replace('meta ibrname "docker0" iifname @known goto as-itself', "")
    _, load = changes(context(guarded(lost, files=files), host, GUARD))
    assert isinstance(load, Command)
    assert load.script == subject.LOAD


@pytest.mark.parametrize("service", ["tcp", "tcp/0", "tcp/65536", "icmp/8", "53", "tcp/22/23"])
def test_what_is_no_service_is_refused(service: str) -> None:
    with pytest.raises(ValueError, match="is not a service such as tcp/9100"):
        NetworksRules(host_services=[service])
