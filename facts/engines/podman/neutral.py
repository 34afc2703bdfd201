"""Root's Podman as one of the host's container engines, as far as the addresses of its containers go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from facts.capabilities import CAPABILITIES
from facts.containers import ContainersReading
from facts.core.json_text import load
from facts.core.reading import Unknown, attempt, known
from facts.engines.podman.podman import PodmanReading
from facts.engines.shapes import EngineReading, Member, Network
from facts.processes import Process

NET_ADMIN = 1 << CAPABILITIES.index("NET_ADMIN")


def neutral(podman: PodmanReading | Unknown, containers: ContainersReading | Unknown) -> EngineReading:
    """On which of its networks a container is, no file tells: each counts as on all of them."""
    read = podman if isinstance(podman, PodmanReading) else None
    networks = attempt("networks", lambda: _networks(known(podman)))
    members = attempt("containers", lambda: tuple(_members(known(networks), known(containers))))
    names = tuple(each.name for each in members) if isinstance(members, tuple) else ()
    return EngineReading(
        name="Podman",
        installed=read is None or read.installed,
        running=False,  # it has no daemon
        default_network=_said(read, "default_network", "podman") if read else "",
        networks=networks if isinstance(networks, Unknown) else tuple(_with(each, names) for each in networks),
        containers=members,
        # No setting of its keeps containers on one network apart.
        icc=True,
        icc_later=None,
        iptables=False,
        dns=(),
        pools=(),
        loads_br_netfilter=False,
        own_bridges="podman*",
    )


def _said(podman: PodmanReading, key: str, default: str) -> str:
    """What containers.conf says of networks (containers.conf(5))."""
    found = podman.settings.get(f"network.{key}") if isinstance(podman.settings, dict) else None
    return str(found.value) if found else default


def _networks(podman: PodmanReading) -> tuple[Network, ...]:
    """What is no JSON is left out, as Podman does itself. Of its default network there is a file only where it was
    changed."""
    files = {name: each for name, each in known(podman.networks).items() if not isinstance(each, Unknown)}
    found = {name: _network(name, each.driver, load(each.text)) for name, each in files.items()}
    name, subnet = _said(podman, "default_network", "podman"), _said(podman, "default_subnet", "10.88.0.0/16")
    return tuple({name: Network(name, "bridge", "podman0", False, True, (subnet,), ()), **found}.values())


def _network(name: str, driver: str, keys: dict[str, Any]) -> Network:
    """As netavark's file has it (podman-network-inspect(1))."""
    bridge = str(keys.get("network_interface", "")) if driver == "bridge" else ""
    return Network(name, driver, bridge, keys.get("internal") is True, True, tuple(_subnets(keys.get("subnets"))), ())


def _subnets(given: Any) -> Iterator[str]:
    for each in given if isinstance(given, list) else ():
        if isinstance(each, dict) and isinstance(each.get("subnet"), str):
            yield each["subnet"]


def _with(network: Network, names: tuple[str, ...]) -> Network:
    return replace(network, containers=names if network.bridge else ())


def _members(networks: tuple[Network, ...], reading: ContainersReading) -> Iterator[Member]:
    """Root's containers that have a network of their own."""
    bridged = tuple(each.name for each in networks if each.bridge)
    own = (each for each in known(reading.containers) if each.engine == "podman" and not each.user)
    for each in own:
        if isinstance(each.process, Process) and "net" not in reading.shared(each.process):
            yield Member(each.name, each.pid, bridged, bool(each.process.cap_bnd & NET_ADMIN))
