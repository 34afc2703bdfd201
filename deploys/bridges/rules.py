"""The policy's `bridges` section: networks and the flows between them. A policy that contradicts itself is refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from deploys.core.policy import Rules
from deploys.networks.isolation import HostService

Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Loc = tuple[str | int, ...]

HOST, WORLD = "host", "world"
METADATA = ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254")  # of most clouds; by IPv6, of Amazon's and Google's
# How engines name the bridges that they create. Docker's are covered by the policy's `networks` section.
Engine = Literal["podman", "lxc", "lxd", "incus", "libvirt"]
ENGINE_BRIDGES: dict[Engine, tuple[str, ...]] = {
    "podman": ("podman", "cni-podman"),
    "lxc": ("lxcbr",),
    "lxd": ("lxdbr",),
    "incus": ("incusbr",),
    "libvirt": ("virbr",),
}
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
KERNELS_OWN = ("all", "default", "lo")  # net.ipv4.conf.all and default are not devices


def _device(name: str) -> str:
    if not DEVICE.fullmatch(name) or name in KERNELS_OWN:
        raise ValueError(
            f'"{name}" cannot name a network device: use up to 15 letters, digits, ".", "_" and "-", but not '
            f"{_or(KERNELS_OWN)}"
        )
    return name


def _subnet(text: str) -> str:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f'"{text}" is not a subnet such as 10.80.0.0/24 or fd00:80::/64 ({error})') from None
    if found.num_addresses < 4 or found.is_multicast or found.is_loopback:
        raise ValueError(f'"{text}" has no addresses for the host and containers')
    return str(found)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f'"{text}" is not an IPv4 or IPv6 address') from None


def _or(words: Iterable[str]) -> str:
    *some, last = words
    return f"{', '.join(some)} or {last}" if some else last


Device = Annotated[str, AfterValidator(_device)]
Subnet = Annotated[str, AfterValidator(_subnet)]
IpAddress = Annotated[str, AfterValidator(_address)]
Mac = Annotated[str, StringConstraints(pattern=r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$")]
VlanId = Annotated[int, Field(ge=1, le=4094)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class Vlan(Part):
    """A VLAN of a network: a separate segment, called `NETWORK.ID` in allow."""

    id: VlanId = Field(description="The VLAN id, from 1 to 4094.")
    subnets: tuple[Subnet, ...] = Field(
        (), description="The subnets of the VLAN; the host has the first address of each."
    )


class Port(Part):
    """A port of the bridge, such as the host's end of a container's veth pair."""

    vlan: VlanId | None = Field(None, description="The VLAN of which the port is an untagged member.")
    mac: Mac | None = Field(
        None, description="With antispoof, the only MAC address that the port may send from (lower case)."
    )
    addresses: tuple[IpAddress, ...] = Field(
        (), description="With antispoof, the only IP addresses that the port may send from."
    )


class BridgeNetwork(Part):
    """A network of containers on a bridge of the host."""

    bridge: Device = Field(description="The name of the bridge, which is created where it does not exist.")
    switch: Literal["linux", "openvswitch"] = Field(
        "linux",
        description="linux: a Linux bridge; openvswitch: an Open vSwitch bridge, on which only declared ports send "
        "and receive.",
    )
    subnets: tuple[Subnet, ...] = Field(
        (), description="The subnets of a network without vlans; the host has the first address of each."
    )
    vlans: tuple[Vlan, ...] = Field(
        (), description="VLANs, each a separate segment; with them the bridge is VLAN-aware."
    )
    isolate: Literal["ports", "vlans", "none"] = Field(
        "ports",
        description="ports: no port reaches another; vlans: ports of the same VLAN reach each other; none: all ports "
        "do.",
    )
    antispoof: bool = Field(
        True, description="Frames from a MAC, ARP or IP address that is not the port's own are dropped."
    )
    uplink: Device | None = Field(None, description="The device that leads out of the host; it reaches every port.")
    tagged: tuple[VlanId, ...] = Field((), description="The VLANs that the uplink carries with tags.")
    ports: dict[Device, Port] = Field(
        {}, description="The ports by name; other devices may join, except in a network with vlans."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        refuse(self._clashes())
        return self

    def _clashes(self) -> Iterator[tuple[Loc, str]]:
        ids = [vlan.id for vlan in self.vlans]
        yield from self._vlan_clashes(ids)
        if self.vlans and self.subnets:
            yield ("subnets",), "a network with vlans has its subnets under each VLAN: move them there"
        if self.isolate == "vlans" and not self.vlans:
            yield ("isolate",), '"vlans" needs VLANs under vlans'
        if self.isolate == "none" and self.vlans:
            yield ("isolate",), '"none" contradicts vlans, which separate segments: use "vlans"'
        owners: dict[str, str] = {}
        for name, port in self.ports.items():
            yield from self._port_clashes(name, port, ids)
            for text in (port.mac or "", *port.addresses):
                if text and owners.setdefault(text, name) != name:
                    yield ("ports", name), f"{text} is already the address of {owners[text]}"

    def _vlan_clashes(self, ids: list[int]) -> Iterator[tuple[Loc, str]]:
        for number, vlan in enumerate(ids):
            if vlan in ids[:number]:
                yield ("vlans", number, "id"), f"VLAN {vlan} is declared twice"
            if len(f"{self.bridge}.{vlan}") > 15:
                yield ("bridge",), f'"{self.bridge}.{vlan}", its device for VLAN {vlan}, is longer than 15 characters'
        for number, vlan in enumerate(self.tagged):
            if vlan not in ids:
                yield ("tagged", number), f"VLAN {vlan} is not declared under vlans"
        if self.tagged and self.uplink is None:
            yield ("tagged",), "tagged needs an uplink, which carries the tags"

    def _port_clashes(self, name: str, port: Port, ids: list[int]) -> Iterator[tuple[Loc, str]]:
        if name in (self.bridge, self.uplink):
            yield ("ports", name), f'"{name}" is the bridge or its uplink and cannot be a port'
        if self.vlans and port.vlan is None:
            yield ("ports", name), f"each port of a network with vlans is in one of them: give {name} its vlan"
        elif port.vlan is not None and port.vlan not in ids:
            yield ("ports", name, "vlan"), f"VLAN {port.vlan} is not declared under vlans"
        subnets = next((vlan.subnets for vlan in self.vlans if vlan.id == port.vlan), self.subnets)
        prefixes = [ipaddress.ip_network(subnet) for subnet in subnets]
        for number, text in enumerate(port.addresses):
            address = ipaddress.ip_address(text)
            if not address.is_link_local and not any(address in prefix for prefix in prefixes):
                yield ("ports", name, "addresses", number), f"{text} is not in a subnet of this segment"
            if address in map(gateway, prefixes):
                yield ("ports", name, "addresses", number), f"{text} is the host's own address in this segment"


class Allow(Part):
    """An allowed flow between two segments that otherwise do not reach each other; replies are allowed too."""

    from_: str = Field(alias="from", description="Where the flow starts: a segment (NETWORK or NETWORK.VLAN) or world.")
    to: str = Field(
        description="Where the flow goes: a segment, host (the host's own services) or world (everything outside the "
        "segments; private source addresses are masqueraded)."
    )
    proto: Literal["tcp", "udp", "icmp", "any"] = Field(
        "any", description="The protocol; icmp is that of IPv4 and IPv6."
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, description="The destination port of tcp or udp.")

    @model_validator(mode="after")
    def _has_ports(self) -> Self:
        if self.port is not None and self.proto not in ("tcp", "udp"):
            raise ValueError("a port needs proto: tcp or udp")
        return self

    def __str__(self) -> str:
        return self.proto if self.port is None else f"{self.proto}/{self.port}"


class BridgesRules(Rules):
    """Bridges and VLANs of the host and the flows between them. Between segments only allowed flows pass."""

    networks: dict[Name, BridgeNetwork] = Field({}, description="The networks by name.")
    allow: tuple[Allow, ...] = Field(
        (), description="The allowed flows between segments, to the host and to the world."
    )
    isolated_engines: tuple[Engine, ...] = Field(
        (),
        description="Engines whose guests do not reach each other on the engine's own bridges, also on bridges "
        "created later.",
    )
    guarded_engines: dict[Engine, tuple[HostService, ...]] = Field(
        {},
        description="By engine, the only services of the host that guests on its own bridges reach, such as "
        "tcp/9100; DNS "
        "and DHCP are always allowed. Packets from foreign source addresses are dropped.",
    )
    metadata: Literal["closed"] | None = Field(
        None,
        description=f"closed: nothing on any bridge reaches the cloud's metadata addresses {METADATA[0]}, "
        f"{METADATA[1]} and "
        f"{METADATA[2]}, except for DNS (port 53), which instances of Google Cloud need.",
    )
    undeclared: Literal["refused"] | None = Field(
        None, description="refused: a bridge that comes from no file, no engine and no policy is a finding."
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        refuse([*self._shared(), *self._overlaps(), *self._strange_flows()])
        return self

    def _shared(self) -> Iterator[tuple[Loc, str]]:
        """No device has two roles."""
        seen: dict[str, str] = {}
        for name, network in self.networks.items():
            devices: list[tuple[Loc, str]] = [(("bridge",), network.bridge)]
            devices += [(("vlans", n, "id"), f"{network.bridge}.{vlan.id}") for n, vlan in enumerate(network.vlans)]
            devices += [(("uplink",), network.uplink)] if network.uplink else []
            devices += [(("ports", port), port) for port in network.ports]
            for loc, device in devices:
                if device in seen:
                    yield ("networks", name, *loc), f'"{device}" is already used by {seen[device]}'
                seen.setdefault(device, f"networks.{name}")

    def _overlaps(self) -> Iterator[tuple[Loc, str]]:
        seen: list[tuple[Prefix, str]] = []
        for name, network in self.networks.items():
            rows: list[tuple[Loc, str]] = [(("subnets", n), text) for n, text in enumerate(network.subnets)]
            for v, vlan in enumerate(network.vlans):
                rows += [(("vlans", v, "subnets", n), text) for n, text in enumerate(vlan.subnets)]
            for loc, text in rows:
                prefix = ipaddress.ip_network(text)
                for other, owner in seen:
                    if overlap(prefix, other):
                        yield ("networks", name, *loc), f"{text} overlaps {other} of {owner}"
                seen.append((prefix, f"networks.{name}"))

    def _strange_flows(self) -> Iterator[tuple[Loc, str]]:
        names = [segment.name for segment in segments(self)]
        for number, flow in enumerate(self.allow):
            for key, end in (("from", flow.from_), ("to", flow.to)):
                ends = [*names, WORLD] if key == "from" else [*names, HOST, WORLD]
                if end not in ends:
                    yield ("allow", number, key), f'"{end}" does not exist; choose one of {", ".join(ends)}'
            if flow.from_ == flow.to:
                yield (
                    ("allow", number, "to"),
                    f"the flow starts and ends in {flow.to}: within a segment, isolate decides",
                )
            if flow.from_ == WORLD and flow.to == HOST:
                yield ("allow", number, "to"), "flows from the world to the host are not decided by bridges.allow"


@dataclass(frozen=True)
class Segment:
    """A broadcast domain: a network, or a VLAN of one."""

    name: str  # tenants, web.10
    network: str
    bridge: str
    vlan: int | None
    device: str  # where the host has its address: the bridge, or bridge.vlan
    subnets: tuple[str, ...]
    ports: tuple[str, ...]
    switched: bool  # on Open vSwitch

    @property
    def gateways(self) -> tuple[str, ...]:
        """The host's addresses in the segment, with prefix."""
        prefixes = [ipaddress.ip_network(subnet) for subnet in self.subnets]
        return tuple(f"{gateway(prefix)}/{prefix.prefixlen}" for prefix in prefixes)


def segments(rules: BridgesRules) -> list[Segment]:
    found: list[Segment] = []
    for name, net in rules.networks.items():
        switched = net.switch == "openvswitch"
        if not net.vlans:
            found.append(Segment(name, name, net.bridge, None, net.bridge, net.subnets, tuple(net.ports), switched))
        for vlan in net.vlans:
            ports = tuple(port for port, what in net.ports.items() if what.vlan == vlan.id)
            device = f"{net.bridge}.{vlan.id}"
            found.append(Segment(f"{name}.{vlan.id}", name, net.bridge, vlan.id, device, vlan.subnets, ports, switched))
    return found


def engine_prefixes(rules: BridgesRules) -> list[str]:
    """The prefixes of the names of bridges on which engines' guests are isolated."""
    return [prefix for engine in rules.isolated_engines for prefix in ENGINE_BRIDGES[engine]]


def guards(rules: BridgesRules) -> dict[str, Engine]:
    """By prefix of the names of their bridges, the engines whose guests reach only named services of the host."""
    return {prefix: engine for engine in rules.guarded_engines for prefix in ENGINE_BRIDGES[engine]}


def without_metadata(rules: BridgesRules) -> BridgesRules:
    """The same, but for the metadata addresses, which are left open."""
    return rules.model_copy(update={"metadata": None})


def gateway(prefix: Prefix) -> Address:
    """The host's address in a subnet: the first one."""
    return prefix.network_address + 1


def overlap(one: Prefix, other: Prefix) -> bool:
    return one.version == other.version and one.overlaps(other)


def refuse(problems: Iterable[tuple[Loc, str]]) -> None:
    """Raises all problems at once, each at its own key, so that the message can name the line."""
    errors: list[Any] = [
        InitErrorDetails(type=PydanticCustomError("refused", "{text}", {"text": text}), loc=loc, input=None)
        for loc, text in problems
    ]
    if errors:
        raise ValidationError.from_exception_data("policy", errors)
