"""What every container engine is read as, whichever it is: for the subjects that judge the networks of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from facts.core.reading import Jsonable, Unknown, known
from facts.waiting import Waiting as Waiting


@dataclass(frozen=True)
class Network(Jsonable):
    name: str
    driver: str
    bridge: str  # the Linux bridge's name; "" for other drivers
    internal: bool
    icc: bool  # com.docker.network.bridge.enable_icc as the daemon has it (absent: true); macvlan, ipvlan: not private
    subnets: tuple[str, ...]
    containers: tuple[str, ...]  # names


@dataclass(frozen=True)
class Member:
    """A running container, as far as networks ask for it."""

    name: str
    pid: int
    networks: tuple[str, ...]  # names
    net_admin: bool  # it can change its addresses


@dataclass(frozen=True)
class EngineReading:
    name: str  # as in a sentence: "Docker"
    installed: bool
    running: bool | Unknown
    default_network: str  # its name
    networks: tuple[Network, ...] | Unknown
    containers: tuple[Member, ...] | Unknown
    # What its configuration says, in force or not:
    icc: bool | Unknown  # containers on its default network reach each other
    icc_later: bool | Unknown | None  # the same of networks created without an option; None: it has no such setting
    iptables: bool | Unknown  # it writes iptables rules
    dns: tuple[str, ...] | Unknown  # what containers are given instead of the host's resolv.conf; () for nothing
    pools: tuple[tuple[str, str], ...] | Unknown  # subnets for new networks, each with what sets it
    loads_br_netfilter: bool  # whenever it starts
    own_bridges: str = ""  # the names that it gives bridges itself, as a pattern of nft's; "": udev tells them

    @cached_property
    def by_bridge(self) -> dict[str, Network]:
        """Its networks that have a bridge; none where its networks are unknown."""
        networks = self.networks if isinstance(self.networks, tuple) else ()
        return {network.bridge: network for network in networks if network.bridge}


def known_networks(engines: Iterable[EngineReading]) -> list[Network]:
    """The networks of all that are installed. UnknownReading where those of one are unknown."""
    return [network for engine in engines if engine.installed for network in known(engine.networks)]


def by_bridge(engines: Iterable[EngineReading]) -> dict[str, Network]:
    """The networks that have a bridge, of the engines whose networks are known."""
    return {bridge: network for engine in engines for bridge, network in engine.by_bridge.items()}


def owner(network: Network, engines: Iterable[EngineReading]) -> EngineReading:
    """The engine that a network with a bridge is of."""
    return next(engine for engine in engines if network.bridge in engine.by_bridge)
