"""A host with declared bridges, and what it reads as once they are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploys.bridges import controls as subject
from deploys.bridges.firewalls.firewalld_direct import CHAIN
from deploys.bridges.firewalls.forwarding import SWITCH, forward_text
from deploys.bridges.managers.files import files_for
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.plan import plan as plan_bridges
from deploys.bridges.plan import unit_text
from deploys.bridges.rules import Allow, BridgeNetwork, BridgesRules, Port, Vlan
from deploys.bridges.wanted import wanted
from deploys.core.change import Change, Context
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from facts.core.survey import Survey
from facts.core.system import System, SystemReading
from facts.engines.docker.docker import Docker
from facts.networks.bridges import (
    FORWARD_FILE,
    OUR_FILES,
    RULES_FILE,
    SYSCTL_FILE,
    UNIT_FILE,
    BridgePort,
    Bridges,
    BridgesReading,
    Device,
)
from facts.networks.forward import Filter
from facts.networks.networks import Membership, Networks, NetworksReading, Route
from tests.support.hosts import docker as engine
from tests.support.networks import reading as networks_reading

MAC = "02:00:00:00:80:0b"
TENANTS = BridgeNetwork(
    bridge="br-tenants", subnets=("10.80.0.0/24", "fd00:80::/64"),
    ports={"t-a": Port(), "t-b": Port(mac=MAC, addresses=("10.80.0.11",))},
)  # fmt: skip
WEB = BridgeNetwork(
    bridge="br-web", isolate="vlans", vlans=(Vlan(id=10, subnets=("10.81.10.0/24",)), Vlan(id=20)),
    uplink="eth1", tagged=(10,), ports={"web-a": Port(vlan=10), "db": Port(vlan=20)},
)  # fmt: skip
FLOW = Allow.model_validate({"from": "web.10", "to": "web.20", "proto": "tcp", "port": 5432})
DNS = Allow.model_validate({"from": "tenants", "to": "host", "proto": "udp", "port": 53})
RULES = BridgesRules(networks={"tenants": TENANTS, "web": WEB}, allow=(FLOW, DNS))
NETWORKD = "systemd-networkd"


def device(name: str, kind: str = "veth", master: str | None = None, **more: Any) -> Device:
    port = BridgePort(False, False, True, False) if master else None
    base = Device(
        name=name, index=9, kind=kind, up=True, master=master, parent=None, port=port,
        vlan_filtering=False if kind == "bridge" else None, default_pvid=1 if kind == "bridge" else None,
        vlan=None, peer=f"netns {name}" if kind == "veth" else None, pid=None, managed=None, file=None,
    )  # fmt: skip
    return replace(base, **more)


ETH0 = device("eth0", "", managed=NETWORKD, file="/etc/systemd/network/10-lab.network")
ETH1 = device("eth1", "")
BARE = (ETH0, ETH1)
ROUTES = (Route("default", "eth0", "10.0.2.2"), Route("10.0.2.0/24", "eth0", None))
ADDRESSES = {"lo": ("127.0.0.1/8",), "eth0": ("10.0.2.15/24",)}


def reading(**more: Any) -> BridgesReading:
    values: dict[str, Any] = {
        "devices": BARE, "client": "10.0.2.2", "ssh_port": 22, "files": dict.fromkeys(OUR_FILES),
        "unit_enabled": False, "nft": True, "listed": (), "loaded": None, "firewalld": None, "ufw": None,
        "firewalld_version": "2.3.1-1",
        "reverted": None, "interfaces": (), "switches": None, "switch_enabled": False,
        "subnets": (),
    }  # fmt: skip
    return BridgesReading(**{**values, **more})


PASSING = (
    f"-A FORWARD -j {CHAIN}",
    *(
        f"-A {CHAIN} -i {one} -o {other} -j ACCEPT"
        for one, other in (("br-tenants",) * 2, ("br-web",) * 2, ("br-web.10", "br-web.20"))
    ),
)


def nets(**more: Any) -> NetworksReading:
    values = {
        "routes": ROUTES,
        "addresses": ADDRESSES,
        "connection": "eth0",
        "forwarding4": 1,
        "filter4": Filter("DROP", "ACCEPT", PASSING),
    }
    return networks_reading(**{**values, **more})


def made(name: str, **more: Any) -> Device:
    return device(name, "bridge", managed=NETWORKD, file=f"/etc/systemd/network/05-hullproof-{name}.network", **more)


ISOLATED = BridgePort(True, False, True, False)
DEVICES = (
    *BARE[:1], device("eth1", "", "br-web"), made("br-tenants"), made("br-web", vlan_filtering=True, default_pvid=0),
    device("br-web.10", "vlan"), device("br-web.20", "vlan"), device("t-a", master="br-tenants", port=ISOLATED),
    device("t-x", master="br-tenants"), device("web-a", master="br-web"), device("db", master="br-web"),
)  # fmt: skip
OPEN = BridgePort(False, False, True, False)
MEMBERS = (
    Membership("br-web", 10, 10, False, False), Membership("br-web", 20, 20, False, False),
    Membership("eth1", 10, 10, False, False), Membership("web-a", 10, 10, True, True),
    Membership("db", 20, 20, True, True), Membership("eth9", 1, 1, True, True),
)  # fmt: skip
LISTED = ("table bridge bridges-hullproof {", "\tchain forward {", '\t\tmeta ibrname "br-tenants" goto x', "\t}", "}")


def hardened(rules: BridgesRules = RULES, **more: Any) -> BridgesReading:
    files = {RULES_FILE: filter_text(rules), UNIT_FILE: unit_text(), SYSCTL_FILE: SWITCH}
    files |= {FORWARD_FILE: forward_text(rules, ("eth0",))}
    return reading(**{
        "devices": DEVICES, "files": files | files_for(NETWORKD, wanted(rules)), "unit_enabled": True,
        "listed": LISTED, "loaded": LISTED, **more,
    })  # fmt: skip


def on(**more: Any) -> NetworksReading:
    ours = {"br-tenants": ("10.80.0.1/24", "fd00:80::1/64"), "br-web.10": ("10.81.10.1/24",)}
    routes = (*ROUTES, Route("10.80.0.0/24", "br-tenants", None), Route("10.81.10.0/24", "br-web.10", None))
    return nets(**{"addresses": ADDRESSES | ours, "memberships": MEMBERS, "routes": routes, **more})


NO_DOCKER = engine({}, installed=False)


def context(
    bridges: Any = None,
    networks: Any = None,
    rules: BridgesRules = RULES,
    docker: Any = NO_DOCKER,
    accept: str = "",
    family: str = "debian",
) -> Context:
    system = SystemReading(family, (), "", "", "", "", 0, 0, True, None)
    survey = Survey({Bridges: bridges or reading(), Networks: networks or nets(), Docker: docker, System: system})
    policy = Policy("test", {BridgesRules: rules}, accept=frozenset(accept.split()))
    return Context(survey, policy, {f.control.id: f for f in judge(subject.CONTROLS, survey, policy)})


def plan(where: Context) -> list[Change]:
    return list(plan_bridges(where))


def state(where: Context, control: str) -> State:
    return where.findings[f"bridges.{control}"].state


def reason(where: Context, control: str) -> str:
    return where.findings[f"bridges.{control}"].verdict.reason


def replace_rules(**more: Any) -> BridgesRules:
    return RULES.model_copy(update=more)
