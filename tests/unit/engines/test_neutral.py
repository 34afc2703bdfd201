"""Docker read as one of the host's engines; and a host whose networks belong to another engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Context
from deploys.core.control import State
from deploys.networks import controls
from deploys.networks.forwarding import guard_forwarding
from deploys.networks.host_services import on_a_lan
from deploys.networks.isolation import NetworksRules, covered, uncovered
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.docker.docker import Docker, DockerReading
from facts.engines.docker.neutral import ENABLE_ICC, neutral
from facts.engines.shapes import EngineReading, Member, Network, by_bridge, known_networks, owner
from facts.kernel.kernel import Kernel
from facts.networks.forward import Filter
from facts.networks.networks import Bridge, Networks, Port
from tests.support import bridges
from tests.support.hosts import container, judged
from tests.support.networks import ACCEPTS, DEFAULT, SHOP, docker, reading
from tests.support.userns import kernel

PODS = Network("pods", "bridge", "podman1", False, True, ("10.89.0.0/24",), ("api", "worker"))
NAMED = Network("podman", "bridge", "podman0", False, True, (), ())
ABSENT = docker(installed=False, running=False, networks=Unknown("the Docker daemon does not run"))


def podman(**more: Any) -> EngineReading:
    values: dict[str, Any] = {
        "name": "Podman", "installed": True, "running": True, "default_network": "podman", "networks": (PODS,),
        "containers": (Member("api", 71, ("pods",), False),), "icc": True, "icc_later": None, "iptables": True,
        "dns": (), "pools": (("10.91.0.0/16", "a pool of containers.conf"),), "loads_br_netfilter": False,
    }  # fmt: skip
    return EngineReading(**{**values, **more})


# ------------------------------------------------------------------------------------------------ Docker's


@pytest.mark.parametrize(
    ("host", "field", "want"),
    [
        (docker({}), "icc", True),
        (docker({"icc": False}), "icc", False),
        (docker({}, flags={"icc": "false"}), "icc", False),
        (docker({"iptables": False}), "iptables", False),
        (docker({}), "icc_later", True),
        (docker({"default-network-opts": {"bridge": {ENABLE_ICC: "false"}}}), "icc_later", False),
        (docker({}, keys_known=()), "icc_later", None),
        (docker({}), "dns", ()),
        (docker({"dns": ["10.0.0.2"]}), "dns", ("10.0.0.2",)),
        (docker({}, flags={"dns": "10.0.0.2 10.0.0.3"}), "dns", ("10.0.0.2", "10.0.0.3")),
        (docker({"default-address-pools": [{"base": "10.9.0.0/16", "size": 24}]}), "pools",
         (("10.9.0.0/16", "a pool of Docker's default-address-pools"),)),
        (docker({}, version="27.5.1"), "loads_br_netfilter", True),
        (docker({}, version="28.0.0"), "loads_br_netfilter", False),
    ],
)  # fmt: skip
def test_what_docker_is_set_to(host: DockerReading, field: str, want: Any) -> None:
    assert getattr(neutral(host), field) == want


@pytest.mark.parametrize("field", ["icc", "iptables", "dns", "pools", "icc_later"])
def test_what_cannot_be_read_is_unknown_and_nothing_else_is(field: str) -> None:
    engine = neutral(docker({"icc": "no", "iptables": 0, "dns": 1, "default-address-pools": 1,
                             "default-network-opts": 1}))  # fmt: skip
    with pytest.raises(UnknownReading, match="so dockerd does not start with it"):
        known(getattr(engine, field))
    assert engine.networks == (DEFAULT, SHOP)


def test_its_containers() -> None:
    given = (container("web", networks=("bridge",)), container("vpn", cap_add=("NET_ADMIN",), networks=("shop",)))
    members = known(neutral(docker(containers=given)).containers)
    assert [(each.name, each.networks, each.net_admin) for each in members] == [
        ("web", ("bridge",), False),
        ("vpn", ("shop",), True),
    ]
    assert neutral(docker(containers=Unknown("denied"))).containers == Unknown("denied")


# ------------------------------------------------------------------------------------------------ several engines


def test_the_networks_of_all() -> None:
    engines = (neutral(docker()), podman())
    assert known_networks(engines) == [DEFAULT, SHOP, PODS]
    assert [owner(network, engines).name for network in (SHOP, PODS)] == ["Docker", "Podman"]
    assert known_networks((neutral(ABSENT), podman())) == [PODS]
    silent = podman(networks=Unknown("no answer"))
    assert list(by_bridge((neutral(docker()), silent))) == ["docker0", "br-aaa"]
    with pytest.raises(UnknownReading, match="no answer"):
        known_networks((neutral(docker()), silent))


ALL = NetworksRules(icc=False, cover="all", guarded_forwarding=True)


def test_networks_judges_those_of_an_engine_that_is_not_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present, "engines", lambda survey: (neutral(survey[Docker]), podman()))
    where = judged(controls.subject(()), ALL, {Networks: reading(), Docker: ABSENT, Kernel: kernel()})
    found = where.findings["networks.icc"]
    assert found.state is State.FAIL
    assert "on network pods containers reach each other" in found.verdict.reason


@pytest.mark.parametrize(
    ("control", "engine", "nets", "says"),
    [
        ("forwarding", podman(running=False), reading(), "Podman is not running, and of no other engine is this asked"),
        ("forwarding", podman(), reading(filter4=Filter("ACCEPT", "ACCEPT", ())), "the container engine's chains are"),
        ("bridged-guests", podman(), reading(), "no bridge besides Podman's has ports"),
    ],
)
def test_a_reason_names_the_engine_that_is_there(
    monkeypatch: pytest.MonkeyPatch, control: str, engine: EngineReading, nets: Any, says: str
) -> None:
    monkeypatch.setattr(present, "engines", lambda survey: (engine,))
    rules = NetworksRules(guarded_forwarding=True, bridged_guests=True)
    found = judged(controls.subject(()), rules, {Networks: nets, Kernel: kernel()}).findings[f"networks.{control}"]
    assert says in found.verdict.reason
    assert "Docker" not in found.verdict.reason


def test_a_port_that_leads_elsewhere_is_no_container_of_the_engines() -> None:
    nets = reading(bridges=(Bridge("podman1", (Port("eth0", False),), False, False, False, ()),))
    why = "eth0, a port of podman1, does not lead to a container of Podman's"
    assert on_a_lan(PODS, (neutral(docker()), podman()), nets) == why


@pytest.mark.parametrize(
    ("cover", "want"), [("default", ["bridge", "podman"]), (["bridge", "pods"], ["bridge", "pods"])]
)
def test_each_engine_has_a_default_network_of_its_own(cover: Any, want: list[str]) -> None:
    rules = NetworksRules(icc=False, cover=cover)
    engines = (neutral(docker()), podman(networks=(NAMED, PODS)))
    assert [network.name for network in covered(rules, engines)] == want
    assert {network.name for network in uncovered(rules, engines)} == {"bridge", "shop", "podman", "pods"} - set(want)


class Asked:
    """An engine that notes what it is asked to change."""

    def __init__(self, reading: EngineReading) -> None:
        self.known = reading

    def reading(self, survey: Survey) -> EngineReading:
        return self.known

    def keep_default_apart(self, context: Context, subject: str) -> Change:
        return Blocked(subject, f"{self.known.name}: default", why="noted")

    def keep_later_apart(self, context: Context, subject: str) -> Change:
        return Blocked(subject, f"{self.known.name}: later", why="noted")

    def write_rules_again(self, context: Context, subject: str) -> Change:
        return Blocked(subject, f"{self.known.name}: rules", why="noted")

    def why_called(self, context: Context) -> str:
        return ""


@pytest.mark.parametrize(
    ("engine", "nets", "want"),
    [
        (podman(networks=(NAMED,), icc_later=True), reading(filter4=ACCEPTS), ["Podman: default", "Podman: later"]),
        (podman(networks=(NAMED,), icc=False, icc_later=False), reading(filter4=ACCEPTS), []),
        (podman(), reading(filter4=Filter("ACCEPT", "ACCEPT", ())), ["Podman: rules"]),
        (podman(running=False), reading(filter4=Filter("ACCEPT", "ACCEPT", ())), []),
    ],
)
def test_a_change_is_asked_of_the_engine_that_needs_it(
    monkeypatch: pytest.MonkeyPatch, engine: EngineReading, nets: Any, want: list[str]
) -> None:
    monkeypatch.setattr(present, "engines", lambda survey: (engine,))
    subject = controls.subject((Asked(engine),))
    plan = subject.plan(judged(subject, ALL, {Networks: nets, Kernel: kernel()}, "network-isolation"))
    assert [each.what for each in plan if isinstance(each, Blocked) and each.why == "noted"] == want


def test_forwarded_packets_are_not_dropped_where_no_engine_can_write_its_rules_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(present, "engines", lambda survey: (podman(),))
    nets = reading(filter4=Filter("ACCEPT", "ACCEPT", ()))
    where = judged(controls.subject(()), ALL, {Networks: nets, Kernel: kernel()}, "forward-drop")
    assert where.findings["networks.forwarding"].state is State.FAIL
    assert list(guard_forwarding((), where)) == []


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (podman(pools=(("10.80.0.0/12", "a pool of containers.conf"),)), "10.80.0.0/12, a pool of containers.conf"),
        (podman(networks=(replace(PODS, subnets=("10.80.0.0/16",)),)), "10.80.0.0/16, the Podman network pods"),
        (podman(networks=(replace(PODS, bridge="br-web"),)), "br-web belongs to the Podman network pods"),
        (podman(installed=False, networks=Unknown("no answer")), ""),
    ],
)
def test_bridges_name_the_engine_that_is_in_the_way(
    monkeypatch: pytest.MonkeyPatch, engine: EngineReading, why: str
) -> None:
    monkeypatch.setattr(present, "engines", lambda survey: (neutral(survey[Docker]), engine))
    blocked = [each.why for each in bridges.plan(bridges.context(docker=ABSENT)) if isinstance(each, Blocked)]
    assert len(blocked) == bool(why)
    assert all(why in each for each in blocked)
