"""The Linux bridges, VLANs and ports that a policy declares: a pure function of its rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploys.bridges.rules import BridgeNetwork, BridgesRules, segments


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
    vlans: tuple[int, ...]  # VLANs in which the host itself takes part; () for a bridge without VLAN filtering
    addresses: dict[str, tuple[str, ...]]  # by device: the bridge, or its VLAN devices
    ports: tuple[WantedPort, ...]

    @property
    def vlan_devices(self) -> dict[str, int]:
        return {f"{self.name}.{vlan}": vlan for vlan in self.vlans}


def wanted(rules: BridgesRules) -> list[WantedBridge]:
    """The kernel's bridges; those of Open vSwitch are in `deploys.bridges.openvswitch`."""
    return [
        WantedBridge(
            name=net.bridge,
            vlans=tuple(vlan.id for vlan in net.vlans),
            addresses={each.device: each.gateways for each in segments(rules) if each.network == name},
            ports=tuple(_ports(net)),
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


def put_address(address: str, device: str) -> str:
    """sh that adds an address, usable at once: a bridge without ports has no carrier, and duplicate address detection
    would wait for one."""
    return f"ip address replace {address} dev {device}{' nodad' if ':' in address else ''}"
