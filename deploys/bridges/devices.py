"""Differences between the bridges, VLANs and ports that a policy declares and those that the kernel has: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deploys.bridges.view import BridgesView
from deploys.bridges.wanted import Tag, WantedBridge, WantedPort, put_address
from facts.core.reading import known
from facts.networks.bridges import Device
from facts.networks.networks import Membership


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between the policy and the host. `found` is a sentence for a finding, `action` begins with a verb
    for the plan; `script` and `undo` are sh."""

    found: str
    action: str
    script: str
    undo: str
    restores: bool = False  # it gives isolation back, or takes a VLAN away, on devices that the bridge has already


def differences(view: BridgesView) -> Iterator[Difference]:
    """In the order in which they can be removed. A declared port may join later: its absence is no difference."""
    for bridge in view.wanted:
        there = view.reading.device(bridge.name)
        yield from _bridge(bridge, there)
        ports = [*bridge.ports, *_undeclared(bridge, view)]
        for port in ports:
            if device := view.reading.device(port.name):
                yield from _port(port, device)
        if bridge.vlans:
            yield from _vlans(bridge, there, ports, view)
        yield from _addresses(bridge, view)


def _bridge(bridge: WantedBridge, there: Device | None) -> Iterator[Difference]:
    options = " vlan_filtering 1 vlan_default_pvid 0" if bridge.vlans else ""
    name = bridge.name
    if there is None:
        yield Difference(
            found=f"bridge {name} does not exist",
            action=f"create bridge {name}",
            script=f"ip link add name {name} type bridge{options} && ip link set {name} up",
            undo=f"ip link del {name}",
        )
        return
    if bridge.vlans and there.default_pvid:
        yield Difference(
            found=f"new ports of {name} join VLAN {there.default_pvid} (its default PVID)",
            action=f"remove the default PVID {there.default_pvid} of {name}",
            script=f"ip link set {name} type bridge vlan_default_pvid 0",
            undo=f"ip link set {name} type bridge vlan_default_pvid {there.default_pvid}",
            restores=True,
        )
    if not there.up:
        yield _up(name, undo=f"ip link set {name} down")


def _up(device: str, undo: str) -> Difference:
    return Difference(
        found=f"{device} is down", action=f"set {device} up", script=f"ip link set {device} up", undo=undo
    )


def _undeclared(bridge: WantedBridge, view: BridgesView) -> Iterator[WantedPort]:
    """Attached ports that the policy does not name: they belong to no VLAN. Their isolation is left to the nft filter,
    which applies from a port's first frame; the kernel has no default for its isolation flag."""
    declared = {port.name for port in bridge.ports}
    for device in view.reading.ports(bridge.name):
        if device.name not in declared and device.port:
            yield WantedPort(device.name, bridge.name, device.port.isolated, ())


def _port(port: WantedPort, device: Device) -> Iterator[Difference]:
    name, bridge = port.name, port.bridge
    if device.master != bridge:
        yield Difference(
            found=f"{name} is not a port of {bridge}",
            action=f"attach {name} to {bridge}",
            script=f"ip link set {name} master {bridge} && ip link set {name} up",
            undo=f"ip link set {name} " + (f"master {device.master}" if device.master else "nomaster"),
        )
    isolated = bool(device.port and device.port.isolated) and device.master == bridge
    if port.isolated != isolated:
        on, off = ("on", "off") if port.isolated else ("off", "on")
        yield Difference(
            found=f"port {name} of {bridge} is {'not ' if port.isolated else ''}isolated",
            action=f"turn isolation of port {name} {on}",
            script=f"bridge link set dev {name} isolated {on}",
            undo=f"bridge link set dev {name} isolated {off}",
            restores=port.isolated and device.master == bridge,
        )


# ------------------------------------------------------------------------------------------------ VLANs


def _vlans(
    bridge: WantedBridge, there: Device | None, ports: list[WantedPort], view: BridgesView
) -> Iterator[Difference]:
    """A device that is not on the bridge yet has no memberships."""
    own = tuple(Tag(vlan, False) for vlan in bridge.vlans)
    yield from _tags(_Member(bridge.name, "self", there), own, _memberships(bridge.name, view, there is not None))
    for port in ports:
        if device := view.reading.device(port.name):
            found = _memberships(port.name, view, device.master == bridge.name)
            yield from _tags(_Member(port.name, "master", there), port.tags, found)
    if there and not there.vlan_filtering:
        yield Difference(
            found=f"{bridge.name} does not filter VLANs",
            action=f"turn VLAN filtering of {bridge.name} on",
            script=f"ip link set {bridge.name} type bridge vlan_filtering 1",
            undo=f"ip link set {bridge.name} type bridge vlan_filtering 0",
            restores=True,
        )


def _memberships(device: str, view: BridgesView, attached: bool) -> dict[int, Membership]:
    rows = view.networks.member_of(device)
    return {vlan: row for row in rows if attached for vlan in range(row.id, row.last + 1)}


@dataclass(frozen=True)
class _Member:
    """A device whose VLANs are set with bridge(8): the bridge itself (`where` is self), or a port of it (master)."""

    device: str
    where: str
    bridge: Device | None

    def command(self, verb: str, vlan: int, *, pvid: bool = False, untagged: bool = False) -> str:
        flags = (" pvid" if pvid else "") + (" untagged" if untagged else "")
        return f"bridge vlan {verb} dev {self.device} vid {vlan}{flags} {self.where}"

    def back(self, vlan: int, row: Membership | None) -> str:
        if row is None:
            return self.command("del", vlan)
        return self.command("add", vlan, pvid=row.pvid, untagged=row.untagged)

    def default(self, vlan: int, row: Membership) -> bool:
        """Whether the bridge's default PVID gave this membership, and takes it away again."""
        return self.bridge is not None and vlan == self.bridge.default_pvid and row.pvid and row.untagged


def _tags(member: _Member, want: tuple[Tag, ...], found: dict[int, Membership]) -> Iterator[Difference]:
    for tag in want:
        row = found.pop(tag.id, None)
        if row is None or (row.pvid, row.untagged) != (tag.untagged, tag.untagged):
            kind = "untagged" if tag.untagged else "tagged"
            yield Difference(
                found=f"{member.device} is not {'an' if tag.untagged else 'a'} {kind} member of VLAN {tag.id}",
                action=f"make {member.device} {'an' if tag.untagged else 'a'} {kind} member of VLAN {tag.id}",
                script=member.command("add", tag.id, pvid=tag.untagged, untagged=tag.untagged),
                undo=member.back(tag.id, row),
            )
    for vlan, row in found.items():
        # An undo that adds the default PVID by name would make systemd-networkd 257 remember it, and set it again the
        # next time that it configures the device.
        yield Difference(
            found=f"{member.device} is a member of VLAN {vlan}",
            action=f"remove {member.device} from VLAN {vlan}",
            script=f"{member.command('del', vlan)} 2>/dev/null || :",
            undo=":" if member.default(vlan, row) else member.back(vlan, row),
            restores=True,
        )


# ------------------------------------------------------------------------------------------------ addresses


def _addresses(bridge: WantedBridge, view: BridgesView) -> Iterator[Difference]:
    for name, vlan in bridge.vlan_devices.items():
        if view.reading.device(name) is None:
            yield Difference(
                found=f"VLAN device {name} does not exist",
                action=f"create VLAN device {name}",
                script=f"ip link add link {bridge.name} name {name} type vlan id {vlan} && ip link set {name} up",
                undo=f"ip link del {name}",
            )
    yield from address_differences(bridge.name, bridge.addresses, view)


def address_differences(bridge: str, wanted: Mapping[str, tuple[str, ...]], view: BridgesView) -> Iterator[Difference]:
    """The host's addresses by device: the bridge, or its VLAN devices."""
    found = known(view.networks.addresses)
    for address in found.get(bridge, ()):  # set before the network had VLANs
        if bridge not in wanted and any(address in addresses for addresses in wanted.values()):
            yield Difference(
                found=f"{bridge} has the address {address}, which belongs on its VLAN device",
                action=f"remove {address} from {bridge}",
                script=f"ip address del {address} dev {bridge}",
                undo=f"ip address add {address} dev {bridge}",
            )
    for device, addresses in wanted.items():
        for address in addresses:
            if address not in found.get(device, ()):
                yield Difference(
                    found=f"{device} does not have the address {address}",
                    action=f"add {address} to {device}",
                    script=put_address(address, device),
                    undo=f"ip address del {address} dev {device}",
                )
