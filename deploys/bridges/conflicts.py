"""What a host says against a policy's bridges: whatever would collide there, found before anything is touched."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from deploys.bridges.managers.networkmanager import connection_of
from deploys.bridges.rules import HOST, BridgesRules, Prefix, Segment, guards, overlap, segments
from deploys.engines.docker.daemon import configured
from facts.core.reading import Unknown, known
from facts.engines.docker.docker import DockerReading
from facts.networks.bridges import NETWORKD_FILES, NETWORKMANAGER, BridgesReading, Device
from facts.networks.networks import NetworksReading

WANTED = {"linux": ("bridge", "bridge"), "openvswitch": ("openvswitch", "bridge of Open vSwitch")}
FOUND = {"": "a network card", "bridge": "a bridge of the kernel", "openvswitch": "a device of Open vSwitch"}


def conflicts(
    rules: BridgesRules, reading: BridgesReading, networks: NetworksReading, docker: DockerReading
) -> list[str]:
    """Each in one sentence. UnknownReading where it cannot be told: nothing is touched then either."""
    if not rules.networks:
        return list(_connection(rules, reading, networks)) if rules.guarded_engines else []
    return [
        *_taken(rules, networks, docker, reading),
        *_bridges(rules, reading, docker),
        *_ports(rules, reading, networks),
        *_connection(rules, reading, networks),
        *_modules(rules, networks),
    ]


def _taken(
    rules: BridgesRules, networks: NetworksReading, docker: DockerReading, reading: BridgesReading
) -> Iterator[str]:
    """Subnets that the host or an engine uses already."""
    ours = {name for segment in segments(rules) for name in (segment.device, segment.bridge)}
    used = [*_used(ours, networks, docker), *_files(reading)]
    for segment in segments(rules):
        for text in segment.subnets:
            prefix = ipaddress.ip_network(text)
            if clash := next((f"{other}, {whose}" for other, whose in used if overlap(prefix, other)), None):
                yield f"{segment.name}: {text} overlaps {clash}"
            client = known(reading.client)
            if client and ipaddress.ip_address(client.partition("%")[0]) in prefix:
                yield f"{segment.name}: {text} holds {client}, from where your own SSH connection comes"


def _used(ours: set[str], networks: NetworksReading, docker: DockerReading) -> Iterator[tuple[Prefix, str]]:
    for route in known(networks.routes):
        if route.device not in ours and route.destination != "default" and (prefix := _prefix(route.destination)):
            yield prefix, f"the route by {route.device}"
    for device, addresses in known(networks.addresses).items():
        for address in addresses:
            if device not in ours and (prefix := _prefix(address)):
                yield prefix, f"the address {address} of {device}"
    if docker.installed:
        yield from _engines(ours, docker)


def _files(reading: BridgesReading) -> Iterator[tuple[Prefix, str]]:
    """Of Podman and libvirt, whose networks may be down just now."""
    for subnet, where in reading.subnets:
        if prefix := _prefix(subnet):
            yield prefix, f"a network of {where}" if where.startswith("/") else where


def _engines(ours: set[str], docker: DockerReading) -> Iterator[tuple[Prefix, str]]:
    stopped = isinstance(docker.networks, Unknown) and docker.running is False
    for network in () if stopped else known(docker.networks):
        for subnet in network.subnets:
            if network.bridge not in ours and (prefix := _prefix(subnet)):
                yield prefix, f"the Docker network {network.name}"
    pools = configured(docker, "default-address-pools")
    for pool in pools if isinstance(pools, list) else []:
        if isinstance(pool, dict) and (prefix := _prefix(str(pool.get("base")))):
            yield prefix, "a pool of Docker's default-address-pools"


def _prefix(text: str) -> Prefix | None:
    try:
        prefix = ipaddress.ip_interface(text).network
    except ValueError:
        return None
    return None if prefix.is_link_local or prefix.is_multicast or prefix.is_loopback else prefix


def _bridges(rules: BridgesRules, reading: BridgesReading, docker: DockerReading) -> Iterator[str]:
    engines = (
        {network.bridge: network.name for network in docker.networks} if isinstance(docker.networks, tuple) else {}
    )
    for name, net in rules.networks.items():
        device = reading.device(net.bridge)
        kind, what = WANTED[net.switch]
        if device and device.kind != kind:
            yield f"{name}: {net.bridge} is no {what} but {FOUND.get(device.kind, device.kind)}"
        elif net.bridge in engines:
            yield f"{name}: {net.bridge} is the Docker network {engines[net.bridge]}: see `networks` in the policy"
        elif where := _defined(net.bridge, device, reading):
            yield f"{name}: {net.bridge} is already defined in {where}, which is not ours: remove it there, or here"


def _defined(name: str, device: Device | None, reading: BridgesReading) -> str | None:
    if name in reading.interfaces:
        return "/etc/network/interfaces"
    if device and device.managed == NETWORKMANAGER:
        return None if device.file == connection_of(name) else f"NetworkManager's connection {device.file}"
    if device and device.file and not device.file.startswith(NETWORKD_FILES):
        rendered = device.file.startswith("/run/systemd/network/10-netplan-")
        return "/etc/netplan" if rendered else device.file
    return None


def _ports(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[str]:
    for name, net in rules.networks.items():
        if net.uplink and reading.device(net.uplink) is None:
            yield f"{name}: there is no device {net.uplink} here that could be the uplink"
        for port in [*net.ports, *([net.uplink] if net.uplink else [])]:
            device = reading.device(port)
            if device is None or device.master == net.bridge:
                continue
            addresses = known(networks.addresses).get(port, ())
            routed = [address for address in addresses if not ipaddress.ip_interface(address).is_link_local]
            if device.master:
                yield f"{name}: {port} is a port of {device.master} already"
            elif routed and port != networks.connection:
                yield f"{name}: {port} has the address {routed[0]}, which a port of a bridge would lose"


def _connection(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[str]:
    """What would part us from the host: a device of ours beneath the SSH connection, or a door that it comes in by."""
    if known(reading.client) is None:
        return
    carrier = known(networks.connection)
    beneath = list(_beneath(carrier, reading))
    for name, net in rules.networks.items():
        for port in [*net.ports, *([net.uplink] if net.uplink else [])]:
            device = reading.device(port)
            if port in beneath and device and device.master != net.bridge:
                yield f"{name}: {port} carries your own SSH connection, and as a port of {net.bridge} would cut it"
    for segment in segments(rules):
        if segment.device == carrier and not _admits_ssh(rules, segment, known(reading.ssh_port)):
            yield f"{segment.name}: your own SSH connection comes in by {carrier}, and no flow to host lets it"
    for prefix, engine in guards(rules).items():
        came = [door for door in known(networks.doors) if door.startswith(prefix)]
        if came and f"tcp/{known(reading.ssh_port)}" not in rules.guarded_engines[engine]:
            yield f"your own SSH connection comes in by {came[0]}, and guarded_engines does not let it for {engine}"


def _beneath(device: str, reading: BridgesReading) -> Iterator[str]:
    """The device and those that it stands on."""
    name: str | None = device
    for _ in range(8):
        if name is None:
            return
        yield name
        found = reading.device(name)
        name = found.parent if found else None


def _admits_ssh(rules: BridgesRules, segment: Segment, port: int | None) -> bool:
    flows = [flow for flow in rules.allow if flow.from_ == segment.name and flow.to == HOST]
    return any(flow.proto == "any" or (flow.proto == "tcp" and flow.port in (None, port)) for flow in flows)


def _modules(rules: BridgesRules, networks: NetworksReading) -> Iterator[str]:
    """What may not be loaded, though the networks are made of it: they would be gone after the next boot."""
    nets = rules.networks.values()
    needs = {"nf_tables": True, "bridge": any(net.switch == "linux" for net in nets)}
    needs |= {"openvswitch": any(net.switch == "openvswitch" for net in nets)}
    needs |= {"8021q": any(net.switch == "linux" and net.vlans for net in nets)}
    for line in known(networks.devices_blocked):
        module = line.partition(": ")[2].split()[1]
        if needs.get(module):
            yield f"the kernel module {module} is blocked by {line}"
