"""Reasons why a policy's bridges cannot be made on a host, found before anything is changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from deploys.bridges.managers.networkmanager import connection_of
from deploys.bridges.rules import HOST, BridgeNetwork, Prefix, Segment, guards, overlap
from deploys.bridges.view import BridgesView
from facts.core.reading import Unknown, known
from facts.engines.shapes import EngineReading
from facts.networks.bridges import NETWORKD_FILES, NETWORKMANAGER, Device

# By the policy's `switch`: the kind of device that `bridge` has to be, and its name.
KINDS = {"linux": ("bridge", "a Linux bridge"), "openvswitch": ("openvswitch", "an Open vSwitch bridge")}
KIND_NAMES = {"": "a network card", "bridge": "a Linux bridge", "openvswitch": "an Open vSwitch device"}


def conflicts(view: BridgesView) -> list[str]:
    """One sentence each. UnknownReading where it cannot be determined: then nothing is changed either."""
    if not view.rules.networks:
        return list(_connection(view)) if view.rules.guarded_engines else []
    return [*_taken(view), *_bridges(view), *_ports(view), *_connection(view), *_modules(view)]


# ------------------------------------------------------------------------------------------------ subnets


def _taken(view: BridgesView) -> Iterator[str]:
    """Subnets that the host or an engine uses already."""
    used = [*_used(view), *_files(view)]
    for segment in view.segments:
        for text in segment.subnets:
            prefix = ipaddress.ip_network(text)
            if clash := next((f"{other}, {whose}" for other, whose in used if overlap(prefix, other)), None):
                yield f"{segment.name}: {text} overlaps {clash}"
            client = known(view.reading.client)
            if client and ipaddress.ip_address(client.partition("%")[0]) in prefix:
                yield f"{segment.name}: {text} contains {client}, the address that your SSH connection comes from"


def _used(view: BridgesView) -> Iterator[tuple[Prefix, str]]:
    own = {name for segment in view.segments for name in (segment.device, segment.bridge)}
    for route in known(view.networks.routes):
        if route.device not in own and route.destination != "default" and (prefix := _prefix(route.destination)):
            yield prefix, f"the route through {route.device}"
    for device, addresses in known(view.networks.addresses).items():
        for address in addresses:
            if device not in own and (prefix := _prefix(address)):
                yield prefix, f"the address {address} of {device}"
    for engine in view.engines:
        if engine.installed:
            yield from _engine(engine, own)


def _engine(engine: EngineReading, own: set[str]) -> Iterator[tuple[Prefix, str]]:
    stopped = isinstance(engine.networks, Unknown) and engine.running is False
    for network in () if stopped else known(engine.networks):
        for subnet in network.subnets:
            if network.bridge not in own and (prefix := _prefix(subnet)):
                yield prefix, f"the {engine.name} network {network.name}"
    for subnet, whose in known(engine.pools):
        if prefix := _prefix(subnet):
            yield prefix, whose


def _files(view: BridgesView) -> Iterator[tuple[Prefix, str]]:
    """Networks of Podman and libvirt, which may be down at the moment."""
    for subnet, where in view.reading.subnets:
        if prefix := _prefix(subnet):
            yield prefix, f"a network of {where}" if where.startswith("/") else where


def _prefix(text: str) -> Prefix | None:
    try:
        prefix = ipaddress.ip_interface(text).network
    except ValueError:
        return None
    return None if prefix.is_link_local or prefix.is_multicast or prefix.is_loopback else prefix


# ------------------------------------------------------------------------------------------------ devices


def _bridges(view: BridgesView) -> Iterator[str]:
    engines = view.engine_networks
    for name, net in view.rules.networks.items():
        device = view.reading.device(net.bridge)
        kind, wanted = KINDS[net.switch]
        if device and device.kind != kind:
            yield f"{name}: {net.bridge} is {KIND_NAMES.get(device.kind, f'a {device.kind} device')}, not {wanted}"
        elif net.bridge in engines:
            yield (
                f"{name}: {net.bridge} belongs to {engines[net.bridge]}; the policy's section `networks` is about those"
            )
        elif where := _defined(net.bridge, device, view):
            yield f"{name}: {net.bridge} is already defined in {where}: remove it there or from bridges.networks"


def _defined(name: str, device: Device | None, view: BridgesView) -> str | None:
    if name in view.reading.interfaces:
        return "/etc/network/interfaces"
    if device and device.managed == NETWORKMANAGER:
        return None if device.file == connection_of(name) else f"NetworkManager's connection {device.file}"
    if device and device.file and not device.file.startswith(NETWORKD_FILES):
        rendered = device.file.startswith("/run/systemd/network/10-netplan-")
        return "/etc/netplan" if rendered else device.file
    return None


def _ports(view: BridgesView) -> Iterator[str]:
    networks = view.networks
    for name, net in view.rules.networks.items():
        if net.uplink and view.reading.device(net.uplink) is None:
            yield f"{name}: the uplink {net.uplink} does not exist on this host"
        for port in _declared_ports(net):
            device = view.reading.device(port)
            if device is None or device.master == net.bridge:
                continue
            addresses = known(networks.addresses).get(port, ())
            routed = [address for address in addresses if not ipaddress.ip_interface(address).is_link_local]
            if device.master:
                yield f"{name}: {port} is already a port of {device.master}"
            elif routed and port != networks.connection:
                yield f"{name}: {port} has the address {routed[0]}, which would stop working on a port of a bridge"


def _declared_ports(net: BridgeNetwork) -> list[str]:
    return [*net.ports, *([net.uplink] if net.uplink else [])]


# ------------------------------------------------------------------------------------------------ the connection


def _connection(view: BridgesView) -> Iterator[str]:
    """Whatever would cut the SSH connection: a port that carries it, or a bridge by which it comes in."""
    if known(view.reading.client) is None:
        return
    carrier = known(view.networks.connection)
    beneath = list(_beneath(carrier, view))
    for name, net in view.rules.networks.items():
        for port in _declared_ports(net):
            device = view.reading.device(port)
            if port in beneath and device and device.master != net.bridge:
                yield f"{name}: {port} carries your SSH connection, which would break when {port} joins {net.bridge}"
    ssh_port = known(view.reading.ssh_port)
    for segment in view.segments:
        if segment.device == carrier and not _admits_ssh(view, segment, ssh_port):
            yield (
                f"{segment.name}: your SSH connection comes in through {carrier}, and bridges.allow has no flow from "
                f"{segment.name} to host for tcp/{ssh_port}"
            )
    for prefix, engine in guards(view.rules).items():
        came = [door for door in known(view.networks.doors) if door.startswith(prefix)]
        if came and f"tcp/{ssh_port}" not in view.rules.guarded_engines[engine]:
            yield (
                f"your SSH connection comes in through {came[0]}, and bridges.guarded_engines does not name "
                f"tcp/{ssh_port} for {engine}"
            )


def _beneath(device: str, view: BridgesView) -> Iterator[str]:
    """The device and those that it is stacked on."""
    name: str | None = device
    for _ in range(8):
        if name is None:
            return
        yield name
        found = view.reading.device(name)
        name = found.parent if found else None


def _admits_ssh(view: BridgesView, segment: Segment, port: int | None) -> bool:
    flows = [flow for flow in view.rules.allow if flow.from_ == segment.name and flow.to == HOST]
    return any(flow.proto == "any" or (flow.proto == "tcp" and flow.port in (None, port)) for flow in flows)


# ------------------------------------------------------------------------------------------------ the kernel


def _modules(view: BridgesView) -> Iterator[str]:
    """Kernel modules that the networks need and that modprobe.d blocks: after the next boot they would be missing."""
    nets = view.rules.networks.values()
    needs = {"nf_tables": True, "bridge": any(net.switch == "linux" for net in nets)}
    needs |= {"openvswitch": any(net.switch == "openvswitch" for net in nets)}
    needs |= {"8021q": any(net.switch == "linux" and net.vlans for net in nets)}
    for blocked in known(view.networks.devices_blocked):
        module = blocked.partition(": ")[2].split()[1]
        if needs.get(module):
            yield f"the kernel module {module} is blocked by {blocked}"
