"""The files by which the host's network manager makes the bridges at boot: by path, pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploys.bridges.managers.networkmanager import HEAD, nm_files
from deploys.bridges.wanted import WantedBridge, WantedPort, put_address
from deploys.core import templates
from facts.networks.bridges import IFUPDOWN, IFUPDOWN_FILES, NETWORKD, NETWORKD_FILES, NETWORKMANAGER

# The host's side of a bridge. KeepConfiguration keeps addresses that were added by other means.
HOST_SIDE = [
    ("LinkLocalAddressing", "no"),
    ("IPv6AcceptRA", "no"),
    ("ConfigureWithoutCarrier", "yes"),
    ("KeepConfiguration", "yes"),
]
# Only where it runs: an undo may run at boot, before any network; a call over D-Bus would then start networkd, which
# would wait for that undo. Without D-Bus a restart reads the files, and keeps what is configured.
NETWORKD_RELOAD = """if systemctl -q is-active systemd-networkd; then
  networkctl reload 2>/dev/null || systemctl try-restart systemd-networkd || exit 1
fi"""
NM_RELOAD = """udevadm control --reload
if systemctl -q is-active NetworkManager; then nmcli connection reload || exit 1; fi"""
Options = list[tuple[str, str]]


def files_for(manager: str, bridges: Iterable[WantedBridge]) -> dict[str, str]:
    """The texts that make these bridges at boot, and attach their ports whenever these appear."""
    if manager == IFUPDOWN:
        return {f"{IFUPDOWN_FILES}{bridge.name}": HEAD + "\n".join(_ifupdown(bridge)) for bridge in bridges}
    if manager == NETWORKMANAGER:
        return nm_files(bridges)
    return {f"{NETWORKD_FILES}{name}": HEAD + text for bridge in bridges for name, text in _networkd(bridge)}


def reload_for(manager: str, bridges: Iterable[WantedBridge]) -> str:
    """sh that makes the manager read its files. The bridges exist already, so nothing goes down."""
    names = [bridge.name for bridge in bridges]
    if manager == IFUPDOWN:
        up = "\n".join(f"ifquery --state {name} >/dev/null 2>&1 || ifup {name} || exit 1" for name in names)
        return f"{up}\n"
    if manager == NETWORKMANAGER:  # it leaves existing devices alone until the next boot
        return NM_RELOAD
    files = " ".join(f"{NETWORKD_FILES}{name}.network" for name in names)
    return f"FILES='{files}'\n{templates.text('bridges/use-networkd-files.sh')}"


def forget_for(manager: str, bridges: Iterable[WantedBridge]) -> str:
    """sh that makes the manager forget files that are gone."""
    if manager == IFUPDOWN:  # it still records the devices as up; without a file, ifdown only deletes that record
        names = " ".join(name for bridge in bridges for name in (bridge.name, *(port.name for port in bridge.ports)))
        return f'for i in {names}; do ifquery "$i" >/dev/null 2>&1 || ifdown "$i" 2>/dev/null; done'
    return {NETWORKD: NETWORKD_RELOAD, NETWORKMANAGER: NM_RELOAD}.get(manager, ":")


# ------------------------------------------------------------------------------------------------ systemd-networkd


def _ini(*sections: tuple[str, Options]) -> str:
    return "\n".join(f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in rows) for name, rows in sections)


def _networkd(bridge: WantedBridge) -> Iterator[tuple[str, str]]:
    aware: Options = [("VLANFiltering", "yes"), ("DefaultPVID", "none")]
    extra = [("Bridge", aware)] if bridge.vlans else []
    yield f"{bridge.name}.netdev", _ini(("NetDev", [("Name", bridge.name), ("Kind", "bridge")]), *extra)
    for device, addresses in {bridge.name: (), **bridge.addresses}.items():
        own = device == bridge.name
        vlans: Options = [("VLAN", name) for name in bridge.vlan_devices] if own else []
        tags = [("BridgeVLAN", [("VLAN", str(vlan))]) for vlan in bridge.vlans] if own else []
        yield f"{device}.network", _ini(*_match(device), ("Network", HOST_SIDE + vlans), *_static(addresses), *tags)
    for device, vlan in bridge.vlan_devices.items():
        yield f"{device}.netdev", _ini(("NetDev", [("Name", device), ("Kind", "vlan")]), ("VLAN", [("Id", str(vlan))]))
    for port in bridge.ports:
        yield f"{port.name}.network", _ini(*_match(port.name), *_networkd_port(port))


def _match(device: str) -> list[tuple[str, Options]]:
    return [("Match", [("Name", device)]), ("Link", [("RequiredForOnline", "no")])]


def _static(addresses: tuple[str, ...]) -> Iterator[tuple[str, Options]]:
    """A bridge without ports has no carrier, and duplicate address detection would wait for one."""
    for address in addresses:
        yield "Address", [("Address", address), ("DuplicateAddressDetection", "none")]


def _networkd_port(port: WantedPort) -> Iterator[tuple[str, Options]]:
    yield "Network", [("Bridge", port.bridge), ("LinkLocalAddressing", "no"), ("IPv6AcceptRA", "no")]
    yield "Bridge", [("Isolated", "yes" if port.isolated else "no")]
    for tag in port.tags:
        untagged: Options = [("PVID", str(tag.id)), ("EgressUntagged", str(tag.id))] if tag.untagged else []
        yield "BridgeVLAN", [("VLAN", str(tag.id)), *untagged]


# ------------------------------------------------------------------------------------------------ ifupdown


def _ifupdown(bridge: WantedBridge) -> Iterator[str]:
    """With iproute2, because bridge-utils may be missing. Each command can run twice."""
    name = bridge.name
    options = " vlan_filtering 1 vlan_default_pvid 0" if bridge.vlans else ""
    yield f"auto {name}\niface {name} inet manual"
    yield f"\tpre-up ip link add name {name} type bridge{options} 2>/dev/null || :"
    yield f"\tup ip link set {name} up"
    for device, vlan in bridge.vlan_devices.items():
        yield f"\tup bridge vlan add dev {name} vid {vlan} self"
        yield f"\tup ip link add link {name} name {device} type vlan id {vlan} 2>/dev/null || :"
        yield f"\tup ip link set {device} up"
    for device, addresses in bridge.addresses.items():
        yield from (f"\tup {put_address(address, device)}" for address in addresses)
    yield f"\tpost-down ip link del {name}"
    for port in bridge.ports:
        yield from _ifupdown_port(port)
    yield ""


def _ifupdown_port(port: WantedPort) -> Iterator[str]:
    name = port.name
    yield f"\nallow-hotplug {name}\niface {name} inet manual"
    yield f"\tup ip link set {name} master {port.bridge}"
    for tag in port.tags:
        yield f"\tup bridge vlan add dev {name} vid {tag.id}{' pvid untagged' if tag.untagged else ''}"
    yield f"\tup bridge link set dev {name} isolated {'on' if port.isolated else 'off'}"
    yield f"\tup ip link set {name} up"
