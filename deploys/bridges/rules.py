"""Bridges' part of the policy: who is on which network, who may talk to whom. What contradicts itself is refused."""

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
# How engines name the bridges that they make themselves. Docker's are the business of `networks`.
Engine = Literal["podman", "lxc", "lxd", "incus", "libvirt"]
ENGINE_BRIDGES: dict[Engine, tuple[str, ...]] = {
    "podman": ("podman", "cni-podman"), "lxc": ("lxcbr",), "lxd": ("lxdbr",), "incus": ("incusbr",),
    "libvirt": ("virbr",),
}  # fmt: skip
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
KERNELS_OWN = ("all", "default", "lo")  # net.ipv4.conf.all and default are no devices


def _device(name: str) -> str:
    if not DEVICE.fullmatch(name) or name in KERNELS_OWN:
        raise ValueError(
            f'"{name}" cannot name a network device: up to 15 letters, digits, ".", "_" and "-", not {_or(KERNELS_OWN)}'
        )
    return name


def _subnet(text: str) -> str:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f'"{text}" is no subnet such as 10.80.0.0/24 or fd00:80::/64 ({error})') from None
    if found.num_addresses < 4 or found.is_multicast or found.is_loopback:
        raise ValueError(f'"{text}" is no subnet that the host and containers could have addresses in')
    return str(found)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f'"{text}" is no IPv4 or IPv6 address') from None


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
    """A VLAN of a network: a segment of its own, `NETWORK.ID` in allow."""

    id: VlanId = Field(description="1 to 4094")
    subnets: tuple[Subnet, ...] = Field((), description="its subnets; the host has the first address of each")


class Port(Part):
    """A device on the bridge, such as the host's end of a container's veth pair."""

    vlan: VlanId | None = Field(None, description="the VLAN that it is an untagged member of")
    mac: Mac | None = Field(None, description="with antispoof: the only MAC address that it may send from (lower case)")
    addresses: tuple[IpAddress, ...] = Field((), description="with antispoof: the only IP addresses it may send from")


class BridgeNetwork(Part):
    """A network of containers on a bridge of the host."""

    bridge: Device = Field(description="the bridge's name; it is made where there is none")
    switch: Literal["linux", "openvswitch"] = Field(
        "linux", description="linux: a bridge of the kernel; openvswitch: where declared ports alone send and hear"
    )
    subnets: tuple[Subnet, ...] = Field((), description="its subnets (without vlans); the host has the first addresses")
    vlans: tuple[Vlan, ...] = Field((), description="makes the bridge VLAN-aware: each VLAN is a segment of its own")
    isolate: Literal["ports", "vlans", "none"] = Field(
        "ports", description="ports: no port reaches another; vlans: those of one VLAN do; none: all do"
    )
    antispoof: bool = Field(True, description="frames with another's MAC, ARP or IP address are dropped")
    uplink: Device | None = Field(None, description="the device that leads out; it reaches every port")
    tagged: tuple[VlanId, ...] = Field((), description="the VLANs that the uplink carries, tagged")
    ports: dict[Device, Port] = Field({}, description="ports by name; others may join, except where there are vlans")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        refuse(self._clashes())
        return self

    def _clashes(self) -> Iterator[tuple[Loc, str]]:
        ids = [vlan.id for vlan in self.vlans]
        yield from self._vlan_clashes(ids)
        if self.vlans and self.subnets:
            yield ("subnets",), "with vlans each VLAN has its own subnets: give them there"
        if self.isolate == "vlans" and not self.vlans:
            yield ("isolate",), '"vlans" needs vlans'
        if self.isolate == "none" and self.vlans:
            yield ("isolate",), '"none" contradicts vlans, which keep segments apart: say "vlans"'
        owners: dict[str, str] = {}
        for name, port in self.ports.items():
            yield from self._port_clashes(name, port, ids)
            for text in (port.mac or "", *port.addresses):
                if text and owners.setdefault(text, name) != name:
                    yield ("ports", name), f"{text} is already the address of {owners[text]}"

    def _vlan_clashes(self, ids: list[int]) -> Iterator[tuple[Loc, str]]:
        for number, vlan in enumerate(ids):
            if vlan in ids[:number]:
                yield ("vlans", number, "id"), f"VLAN {vlan} is given twice"
            if len(f"{self.bridge}.{vlan}") > 15:
                yield ("bridge",), f'"{self.bridge}.{vlan}", its device for VLAN {vlan}, is longer than 15 characters'
        for number, vlan in enumerate(self.tagged):
            if vlan not in ids:
                yield ("tagged", number), f"VLAN {vlan} is not among the vlans here"
        if self.tagged and self.uplink is None:
            yield ("tagged",), "there is no uplink that could carry tags"

    def _port_clashes(self, name: str, port: Port, ids: list[int]) -> Iterator[tuple[Loc, str]]:
        if name in (self.bridge, self.uplink):
            yield ("ports", name), f'"{name}" is the bridge or its uplink, and so no port'
        if self.vlans and port.vlan is None:
            yield ("ports", name), f"a port of a network with vlans is in one of them: give {name} its vlan"
        elif port.vlan is not None and port.vlan not in ids:
            yield ("ports", name, "vlan"), f"VLAN {port.vlan} is not among the vlans here"
        subnets = next((vlan.subnets for vlan in self.vlans if vlan.id == port.vlan), self.subnets)
        prefixes = [ipaddress.ip_network(subnet) for subnet in subnets]
        for number, text in enumerate(port.addresses):
            address = ipaddress.ip_address(text)
            if not address.is_link_local and not any(address in prefix for prefix in prefixes):
                yield ("ports", name, "addresses", number), f"{text} is in no subnet of this segment"
            if address in map(gateway, prefixes):
                yield ("ports", name, "addresses", number), f"{text} is the host's own address there"


class Allow(Part):
    """A flow between two segments that otherwise do not meet; answers come back."""

    from_: str = Field(alias="from", description="a segment (NETWORK or NETWORK.VLAN) or world")
    to: str = Field(
        description="a segment, host (its own services) or world (what is no segment; private addresses as the host's)"
    )
    proto: Literal["tcp", "udp", "icmp", "any"] = Field("any", description="icmp: of IPv4 and IPv6")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, description="the destination port of tcp or udp")

    @model_validator(mode="after")
    def _has_ports(self) -> Self:
        if self.port is not None and self.proto not in ("tcp", "udp"):
            raise ValueError("a port needs proto: tcp or udp")
        return self

    def __str__(self) -> str:
        return self.proto if self.port is None else f"{self.proto}/{self.port}"


class BridgesRules(Rules):
    """Bridges and VLANs of the host: who may talk to whom. What is not allowed between segments is dropped."""

    networks: dict[Name, BridgeNetwork] = Field({}, description="networks by name")
    allow: tuple[Allow, ...] = Field((), description="flows between segments, to the host and to the world")
    isolated_engines: tuple[Engine, ...] = Field(
        (), description="engines on whose own bridges no port reaches another; bridges made later too"
    )
    guarded_engines: dict[Engine, tuple[HostService, ...]] = Field(
        {},
        description="of an engine: all that is reached from its own bridges of the host's own services, such as "
        "tcp/9100, besides names and addresses (DNS, DHCP); and nothing comes from addresses that are not theirs",
    )
    metadata: Literal["closed"] | None = Field(
        None,
        description=f"closed: nothing on any bridge reaches {METADATA[0]}, {METADATA[1]} and {METADATA[2]}, but to ask "
        "for names there (port 53), as instances of Google Cloud do",
    )
    undeclared: Literal["refused"] | None = Field(
        None, description="refused: a bridge that no file, no engine and no policy makes is a finding"
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        refuse([*self._shared(), *self._overlaps(), *self._strange_flows()])
        return self

    def _shared(self) -> Iterator[tuple[Loc, str]]:
        """No device has two parts to play."""
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
            rows += [(("vlans", v, "subnets", n), text) for v, vlan in enumerate(network.vlans)
                     for n, text in enumerate(vlan.subnets)]  # fmt: skip
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
                    yield ("allow", number, key), f'there is no "{end}"; there are: {", ".join(ends)}'
            if flow.from_ == flow.to:
                yield ("allow", number, "to"), f"{flow.to} is where it comes from: within a segment, isolate decides"
            if flow.from_ == WORLD and flow.to == HOST:
                yield ("allow", number, "to"), "what reaches the host from the world is not decided here"


@dataclass(frozen=True)
class Segment:
    """Those that share a broadcast domain: a network, or a VLAN of one."""

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
        """The host's addresses here, with prefix."""
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
    """How the bridges begin on which engines' guests are kept apart."""
    return [prefix for engine in rules.isolated_engines for prefix in ENGINE_BRIDGES[engine]]


def guards(rules: BridgesRules) -> dict[str, Engine]:
    """How the bridges begin on which engines' guests reach but the services that are named; and whose they are."""
    return {prefix: engine for engine in rules.guarded_engines for prefix in ENGINE_BRIDGES[engine]}


def gateway(prefix: Prefix) -> Address:
    """The host's address in a subnet: the first one."""
    return prefix.network_address + 1


def overlap(one: Prefix, other: Prefix) -> bool:
    return one.version == other.version and one.overlaps(other)


def refuse(problems: Iterable[tuple[Loc, str]]) -> None:
    """Raise all problems at once, each at its own key, so that the complaint can name the line."""
    errors: list[Any] = [
        InitErrorDetails(type=PydanticCustomError("refused", "{text}", {"text": text}), loc=loc, input=None)
        for loc, text in problems
    ]
    if errors:
        raise ValidationError.from_exception_data("policy", errors)
