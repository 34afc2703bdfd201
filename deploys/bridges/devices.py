"""Bridges, VLANs and ports as the policy wants them, and what has to move on a host for that: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deploys.bridges.rules import BridgeNetwork, BridgesRules, segments
from facts.core.reading import known
from facts.networks.bridges import BridgesReading, Device
from facts.networks.networks import Membership, NetworksReading


@dataclass(frozen=True)
class Tag:
    """A VLAN membership: bridge(8)."""

    id: int
    untagged: bool  # and the port's PVID


@dataclass(frozen=True)
class WantedPort:
    name: str
    bridge: str
    isolated: bool
    tags: tuple[Tag, ...]


@dataclass(frozen=True)
class WantedBridge:
    name: str
    vlans: tuple[int, ...]  # of the bridge itself: what the host takes part in; () where it knows no VLANs
    addresses: dict[str, tuple[str, ...]]  # by device: the bridge, or its VLAN devices
    ports: tuple[WantedPort, ...]

    @property
    def vlan_devices(self) -> dict[str, int]:
        return {f"{self.name}.{vlan}": vlan for vlan in self.vlans}


@dataclass(frozen=True)
class Move:
    """One difference between the policy and the kernel: in words, and how it is moved and moved back (sh)."""

    says: str
    do: str
    undo: str
    mends: bool = False  # what is there already is kept apart as it was, or is in no VLAN that is not its own


def wanted(rules: BridgesRules) -> list[WantedBridge]:
    """The kernel's bridges; those of Open vSwitch are elsewhere."""
    return [
        WantedBridge(
            net.bridge,
            tuple(vlan.id for vlan in net.vlans),
            {segment.device: segment.gateways for segment in segments(rules) if segment.network == name},
            tuple(_ports(net)),
        )
        for name, net in rules.networks.items()
        if net.switch == "linux"
    ]


def _ports(net: BridgeNetwork) -> Iterator[WantedPort]:
    for name, port in net.ports.items():
        tags = (Tag(port.vlan, True),) if port.vlan else ()
        yield WantedPort(name, net.bridge, net.isolate == "ports", tags)
    if net.uplink:
        yield WantedPort(net.uplink, net.bridge, False, tuple(Tag(vlan, False) for vlan in net.tagged))


def moves(rules: BridgesRules, reading: BridgesReading, networks: NetworksReading) -> Iterator[Move]:
    """What the kernel lacks, in the order in which it can be done. A declared port that is not there is no lack."""
    for bridge in wanted(rules):
        there = reading.device(bridge.name)
        yield from _bridge(bridge, there)
        ports = [*bridge.ports, *_joined(bridge, reading)]
        for port in ports:
            if device := reading.device(port.name):
                yield from _port(port, device)
        if bridge.vlans:
            own = tuple(Tag(v, False) for v in bridge.vlans)
            yield from _tags(bridge.name, "self", own, networks, there, bool(there))
            for port in ports:
                if device := reading.device(port.name):
                    yield from _tags(port.name, "master", port.tags, networks, there, device.master == bridge.name)
            if there and not there.vlan_filtering:
                yield Move(f"{bridge.name} does not filter VLANs",
                           f"ip link set {bridge.name} type bridge vlan_filtering 1",
                           f"ip link set {bridge.name} type bridge vlan_filtering 0", mends=True)  # fmt: skip
        yield from _addresses(bridge, reading, networks)


def _bridge(bridge: WantedBridge, there: Device | None) -> Iterator[Move]:
    options = " vlan_filtering 1 vlan_default_pvid 0" if bridge.vlans else ""
    name = bridge.name
    if there is None:
        made = f"ip link add name {name} type bridge{options} && ip link set {name} up"
        yield Move(f"there is no bridge {name}", made, f"ip link del {name}")
        return
    if bridge.vlans and there.default_pvid:
        yield Move(f"ports that join {name} land in VLAN {there.default_pvid}",
                   f"ip link set {name} type bridge vlan_default_pvid 0",
                   f"ip link set {name} type bridge vlan_default_pvid {there.default_pvid}", mends=True)  # fmt: skip
    if not there.up:
        yield Move(f"{name} is down", f"ip link set {name} up", f"ip link set {name} down")


def _joined(bridge: WantedBridge, reading: BridgesReading) -> Iterator[WantedPort]:
    """Ports that the policy does not name but somebody attached: they are in no VLAN. That they reach nobody is the
    filter's business, which knows them from their first frame on; nothing would set the kernel's flag on new ones."""
    declared = {port.name for port in bridge.ports}
    for device in reading.ports(bridge.name):
        if device.name not in declared and device.port:
            yield WantedPort(device.name, bridge.name, device.port.isolated, ())


def _port(port: WantedPort, device: Device) -> Iterator[Move]:
    name = port.name
    if device.master != port.bridge:
        back = f"ip link set {name} master {device.master}" if device.master else f"ip link set {name} nomaster"
        yield Move(f"{name} is no port of {port.bridge}",
                   f"ip link set {name} master {port.bridge} && ip link set {name} up", back)  # fmt: skip
    isolated = bool(device.port and device.port.isolated) and device.master == port.bridge
    if port.isolated != isolated:
        on, off = ("on", "off") if port.isolated else ("off", "on")
        says = f"port {name} of {port.bridge} is not isolated" if port.isolated else f"port {name} is isolated"
        yield Move(says, f"bridge link set dev {name} isolated {on}", f"bridge link set dev {name} isolated {off}",
                   mends=port.isolated and device.master == port.bridge)  # fmt: skip


def _tags(device: str, where: str, want: tuple[Tag, ...], networks: NetworksReading, bridge: Device | None,
          here: bool) -> Iterator[Move]:  # fmt: skip
    """VLAN memberships; a device that is not on the bridge yet has none."""
    rows = networks.member_of(device)
    found = {vlan: row for row in rows if here for vlan in range(row.id, row.last + 1)}
    for tag in want:
        row = found.pop(tag.id, None)
        if row is None or (row.pvid, row.untagged) != (tag.untagged, tag.untagged):
            says = f"{device} is no {'untagged' if tag.untagged else 'tagged'} member of VLAN {tag.id}"
            add = _vlan("add", device, tag.id, tag.untagged, where)
            yield Move(says, add, _back(device, tag.id, row, where))
    for vlan, row in found.items():
        # The bridge's default PVID comes and goes with that setting. One that was added by name systemd-networkd 257
        # would remember, and give back to the device the next time that it configures it.
        drop = f"{_vlan('del', device, vlan, False, where)} 2>/dev/null || :"
        by_default = bridge is not None and vlan == bridge.default_pvid and row.pvid and row.untagged
        back = ":" if by_default else _back(device, vlan, row, where)
        yield Move(f"{device} is a member of VLAN {vlan}", drop, back, mends=True)


def _vlan(verb: str, device: str, vlan: int, untagged: bool, where: str, pvid: bool | None = None) -> str:
    flags = (" pvid" if (untagged if pvid is None else pvid) else "") + (" untagged" if untagged else "")
    return f"bridge vlan {verb} dev {device} vid {vlan}{flags} {where}"


def _back(device: str, vlan: int, row: Membership | None, where: str) -> str:
    if row is None:
        return _vlan("del", device, vlan, False, where)
    return _vlan("add", device, vlan, row.untagged, where, row.pvid)


def _addresses(bridge: WantedBridge, reading: BridgesReading, networks: NetworksReading) -> Iterator[Move]:
    for name, vlan in bridge.vlan_devices.items():
        if reading.device(name) is None:
            yield Move(f"there is no VLAN device {name}",
                       f"ip link add link {bridge.name} name {name} type vlan id {vlan} && ip link set {name} up",
                       f"ip link del {name}")  # fmt: skip
    yield from address_moves(bridge.name, bridge.addresses, networks)


def address_moves(bridge: str, wanted: Mapping[str, tuple[str, ...]], networks: NetworksReading) -> Iterator[Move]:
    """The host's addresses by device: the bridge, or those of its VLANs."""
    for address in known(networks.addresses).get(bridge, ()):  # of a time before it had VLANs
        if bridge not in wanted and any(address in addresses for addresses in wanted.values()):
            says = f"{bridge} has the address {address}, which is its VLAN's"
            yield Move(says, f"ip address del {address} dev {bridge}", f"ip address add {address} dev {bridge}")
    for device, addresses in wanted.items():
        for address in addresses:
            if address not in known(networks.addresses).get(device, ()):
                yield Move(f"{device} has no address {address}", put_address(address, device),
                           f"ip address del {address} dev {device}")  # fmt: skip


def put_address(address: str, device: str) -> str:
    """Usable at once: without ports a bridge has no carrier, and a look for duplicates would wait for one."""
    return f"ip address replace {address} dev {device}{' nodad' if ':' in address else ''}"
