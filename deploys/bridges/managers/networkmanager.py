"""Bridges that NetworkManager makes at boot: keyfiles, and udev rules for what NetworkManager cannot do.

NetworkManager has no isolated ports and ignores veth devices: udev attaches declared ports when they appear.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from deploys.bridges.wanted import WantedBridge, WantedPort
from facts.networks.bridges import NM_FILES, PORTS_FILE, UDEV_FILE, ZONE

HEAD = "# Written by hullproof from the policy's `bridges`.\n"
OURS = uuid.UUID("6f0a4b1e-2c3d-5e8f-9a7b-d1c0ffee1dea")  # the namespace of the UUIDs of hullproof's connections
Sections = dict[str, dict[str, str]]


def nm_files(bridges: Iterable[WantedBridge]) -> dict[str, str]:
    bridges = list(bridges)
    files = {f"{NM_FILES}{name}.nmconnection": text for bridge in bridges for name, text in _connections(bridge)}
    ports = [port for bridge in bridges for port in bridge.ports]
    if ports:
        files[PORTS_FILE] = HEAD + "".join(_attach(port) for port in ports)
        files[UDEV_FILE] = HEAD + "".join(
            f'ACTION=="add", SUBSYSTEM=="net", KERNEL=="{port.name}", RUN+="/bin/sh {PORTS_FILE} {port.name}"\n'
            for port in ports
        )
    return files


def connection_of(device: str) -> str:
    """The UUID of hullproof's connection for the device."""
    return str(uuid.uuid5(OURS, device))


def _attach(port: WantedPort) -> str:
    steps = [f"ip link set {port.name} master {port.bridge}"]
    steps += [f"bridge vlan add dev {port.name} vid {t.id}{' pvid untagged' if t.untagged else ''}" for t in port.tags]
    steps += [f"bridge link set dev {port.name} isolated {'on' if port.isolated else 'off'}"]
    return f'if [ "$1" = {port.name} ]; then\n  ' + "\n  ".join([*steps, f"ip link set {port.name} up"]) + "\nfi\n"


def _connections(bridge: WantedBridge) -> Iterator[tuple[str, str]]:
    aware = {"vlan-filtering": "true", "vlan-default-pvid": "0", "vlans": ", ".join(map(str, bridge.vlans))}
    options = {"stp": "false"} | (aware if bridge.vlans else {})
    yield bridge.name, _keyfile(bridge.name, "bridge", {"bridge": options}, bridge.addresses.get(bridge.name, ()))
    for device, vlan in bridge.vlan_devices.items():
        own = {"vlan": {"id": str(vlan), "parent": bridge.name, "flags": "1"}}
        yield device, _keyfile(device, "vlan", own, bridge.addresses.get(device, ()))
    for port in bridge.ports:
        if not any(tag.untagged for tag in port.tags) and not port.isolated:  # the uplink exists before its bridge
            tags = {"vlans": ", ".join(str(tag.id) for tag in port.tags)} if port.tags else {}
            yield port.name, _keyfile(port.name, "ethernet", {"bridge-port": tags}, None, master=bridge.name)


def _keyfile(name: str, kind: str, own: Sections, addresses: tuple[str, ...] | None, master: str | None = None) -> str:
    connection = {
        "id": f"hullproof-{name}",
        "uuid": connection_of(name),
        "type": kind,
        "interface-name": name,
        "autoconnect": "true",
    }
    # Without firewalld a zone has no effect; with it, NetworkManager uses firewalld's default zone where none is named.
    place = {"master": master, "slave-type": "bridge"} if master else {"zone": ZONE}
    sections: Sections = {"connection": connection | place}
    sections |= own
    if addresses is not None:
        sections["ipv4"] = _static([text for text in addresses if ":" not in text])
        sections["ipv6"] = _static([text for text in addresses if ":" in text])
    return HEAD + "\n".join(
        f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in rows.items())
        for section, rows in sections.items()
    )


def _static(addresses: list[str]) -> dict[str, str]:
    if not addresses:
        return {"method": "disabled"}
    return {f"address{number}": text for number, text in enumerate(addresses, 1)} | {
        "method": "manual",
        "never-default": "true",
    }
