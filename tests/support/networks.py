"""A host with Docker's bridges, or with its own that carry guests, judged and planned for."""

from __future__ import annotations

from typing import Any

from deploys.core.change import Change, Context
from deploys.core.control import State
from deploys.engines.docker.networks import DockerNetworks
from deploys.networks import controls
from deploys.networks.isolation import NetworksRules
from facts.core.reading import Unknown, known
from facts.engines.docker.docker import Docker, DockerReading, Network
from facts.kernel.kernel import Kernel
from facts.networks.forward import Filter
from facts.networks.networks import FILES, LOADED_FILE, MODULES_FILE, Bridge, Networks, NetworksReading, Port
from facts.networks.own_tables import BETWEEN, HEADS, ROUTED
from tests.support.forward import DOCKER_26, table
from tests.support.hosts import docker as engine
from tests.support.hosts import judged
from tests.support.userns import kernel

ENGINES = (DockerNetworks(),)
NONE: dict[str, Any] = {**dict.fromkeys(FILES), LOADED_FILE: "# as it was loaded"}  # none of hullproof's files
SUBJECT = controls.subject(ENGINES)
DEFAULT = Network("bridge", "bridge", "docker0", False, False, ("172.17.0.0/16",), ("web", "db"))
SHOP = Network("shop", "bridge", "br-aaa", False, True, ("172.18.0.0/16",), ("cart", "till"))


def reading(**more: Any) -> NetworksReading:
    """A host with Docker on which icc=false is in force on the default bridge by iptables."""
    values: dict[str, Any] = {
        "bridges": (
            Bridge("docker0", (), False, False, False, ("172.17.0.1/16",)),
            Bridge("br-aaa", (), False, False, False, ("172.18.0.1/16",)),
        ),
        "vlans": (),
        "memberships": (),
        "addresses": {},
        "routes": (),
        "connection": "ens3",
        "doors": ("ens3",),
        "ssh_port": 22,
        "br_netfilter": True,
        "nf_call": {"iptables": 1, "ip6tables": 1, "arptables": 1},
        "forwarding4": 1,
        "forwarding6": 0,
        "modules_load": (MODULES_FILE,),
        "modules_blocked": (),
        "devices_blocked": (),
        "filter4": table(),
        "guards": (),
        "filter6": Filter("ACCEPT", "ACCEPT", ()),
        "tables": (),
        "own": {},
        "dormant": (),
        "ports": (),
        "later": (),
        "redirects": (),
        "resolvers": ("127.0.0.53",),
        "files": NONE,
        "unit_enabled": False,
        "managers": ("systemd-networkd",),
        "firewalls": (),
    }
    if (dropped := more.pop("dropped", None)) is not None:
        more["own"] = dropped if isinstance(dropped, Unknown) else apart(*dropped)
    return NetworksReading(**{**values, **more})


def apart(*bridges: str) -> dict[str, tuple[str, ...]]:
    """hullproof's chains that keep the containers on these bridges apart."""
    return {
        BETWEEN: (HEADS[BETWEEN], *(f'meta ibrname "{bridge}" drop' for bridge in bridges)),
        ROUTED: (HEADS[ROUTED], *(f'iifname "{bridge}" oifname "{bridge}" drop' for bridge in bridges)),
    }


def docker(keys: Any = None, networks: Any = (DEFAULT, SHOP), **more: Any) -> DockerReading:
    return engine({"icc": False} if keys is None else keys, networks=networks, **more)


NO_RULES = Filter("ACCEPT", "ACCEPT", ())
ACCEPTS = table(DOCKER_26.replace(":FORWARD DROP", ":FORWARD ACCEPT"))
DEFAULTS = NetworksRules(icc=False, br_netfilter=True, guarded_forwarding=True)


def context(
    nets: Any = None,
    host: Any = None,
    rules: NetworksRules = DEFAULTS,
    accept: str = "",
    files: Any = (),
    **of_kernel: Any,
) -> Context:
    readings = {Networks: nets or reading(), Docker: host or docker(), Kernel: kernel(*files, **of_kernel)}
    return judged(SUBJECT, rules, readings, accept)


def state(where: Context, control: str) -> State:
    return where.findings[f"networks.{control}"].state


def reason(where: Context, control: str) -> str:
    return where.findings[f"networks.{control}"].verdict.reason


DOCKER0 = {"docker0": True}
BOTH_BRIDGES = {"br-aaa": True, **DOCKER0}
OPEN = Network("bridge", "bridge", "docker0", False, True, ("172.17.0.0/16",), ())


def changes(where: Context) -> list[Change]:
    return list(SUBJECT.plan(where))


PORTS = ("vnet0", "vnet1")
BR0 = Bridge("br0", tuple(Port(name, False) for name in PORTS), False, False, False, ("10.90.0.1/24",))
OFF: dict[str, Any] = {"nf_call": {"iptables": 0, "ip6tables": 0}}


def kvm(*bridges: Bridge, **more: Any) -> Any:
    """A host whose own bridge carries guests, and whose iptables does not see their frames."""
    return reading(**{**OFF, "bridges": (*known(reading().bridges), *(bridges or (BR0,))), **more})
