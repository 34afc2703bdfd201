"""Bridges: every device with its role in a bridge, its network manager and the container behind it; and the state of
hullproof's own files and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.json_text import load
from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown, attempt, known
from facts.core.reverted import FILE, Reverted, read_reverted
from facts.networks import connection, engine_subnets, openvswitch
from facts.networks.nft import dormant
from facts.networks.openvswitch import SWITCH_FILE, Switch, read_switches
from facts.networks.own_filter import NO_FILTER, OwnFilter, read_own_filter
from facts.networks.scripts import script

TABLE = "bridges-hullproof"  # not hullproof-…: the table of `networks` is called hullproof
RULES_FILE = "/etc/hullproof/bridges.nft"
LOADED_FILE = "/run/hullproof/bridges.nft"  # the tables as nft listed them when the unit had loaded them
UNIT = "hullproof-bridges.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
ENABLED = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"
SYSCTL_FILE = "/etc/sysctl.d/99-zz-hullproof-bridges.conf"
REVERTED_FILE = f"{FILE}bridges"
NETWORKD, IFUPDOWN, NETWORKMANAGER = "systemd-networkd", "ifupdown", "NetworkManager"
NETWORKD_FILES = "/etc/systemd/network/05-hullproof-"
IFUPDOWN_FILES = "/etc/network/interfaces.d/hullproof-"
NM_FILES = "/etc/NetworkManager/system-connections/hullproof-"
UDEV_FILE = "/etc/udev/rules.d/90-hullproof-bridges.rules"
PORTS_FILE = "/etc/hullproof/bridges.ports"
MANAGED = (NETWORKD_FILES, IFUPDOWN_FILES, NM_FILES, UDEV_FILE, PORTS_FILE)  # of these, the manager decides which exist
ZONE = "hullproof"  # of firewalld
FIREWALLD_ZONE = f"/etc/firewalld/zones/{ZONE}.xml"
FIREWALLD_POLICY = f"/etc/firewalld/policies/{ZONE}-in.xml"  # zones and policies share no names
FIREWALLD_DIRECT = "/etc/firewalld/direct.xml"  # it also holds rules that are not hullproof's
WHERE_WANTED = (*MANAGED, FIREWALLD_ZONE, FIREWALLD_POLICY, FIREWALLD_DIRECT)
FORWARD_FILE = "/etc/hullproof/bridges.forward"
OUR_FILES = (RULES_FILE, UNIT_FILE, SYSCTL_FILE, FORWARD_FILE, *openvswitch.FILES)


@dataclass(frozen=True)
class BridgePort(Jsonable):
    """A device as a port of its bridge: bridge(8), or the like in Open vSwitch."""

    isolated: bool  # reaches only ports that are not isolated
    locked: bool
    learning: bool
    hairpin: bool


@dataclass(frozen=True)
class Device(Jsonable):
    name: str
    index: int
    kind: str  # bridge, veth, vlan, …; "" for hardware
    up: bool
    master: str | None
    parent: str | None  # the device under a VLAN device; the other end of a veth pair on this host
    port: BridgePort | None
    vlan_filtering: bool | None  # of a bridge
    default_pvid: int | None  # of a bridge
    vlan: int | None  # of a VLAN device
    peer: str | None  # behind a veth: "netns NAME", "process 12 (nginx)", "namespace 3"
    pid: int | None  # that process
    managed: str | None  # systemd-networkd, ifupdown, NetworkManager; None: unmanaged
    file: str | None  # networkd's file for it; the UUID of NetworkManager's connection that made it


@dataclass(frozen=True)
class BridgesReading(Jsonable):
    devices: tuple[Device, ...] | Unknown
    client: str | Unknown | None  # the address that the survey's connection comes from; None: not by SSH
    ssh_port: int | Unknown | None  # where it came to
    files: dict[str, str | Unknown | None]  # the texts of hullproof's own files, the network manager's among them
    unit_enabled: bool
    nft: bool  # the tool is there
    listed: tuple[str, ...] | Unknown  # hullproof's tables as nft lists them now, line by line; () where there are none
    loaded: tuple[str, ...] | Unknown | None  # the same when hullproof's unit loaded them; None: it has not
    firewalld: tuple[str, ...] | Unknown | None  # devices whose packets it accepts; None: it has no nft table
    firewalld_version: str | Unknown  # its package's
    ufw: tuple[str, ...] | Unknown | None  # its rules in its own syntax ("allow 22/tcp"), in order; None: not enabled
    reverted: Reverted | Unknown | None
    interfaces: tuple[str, ...]  # devices that ifupdown's files name, other than hullproof's
    switches: tuple[Switch, ...] | Unknown | None  # bridges of Open vSwitch; None: it is not installed
    switch_enabled: bool
    subnets: tuple[tuple[str, str], ...]  # of engines' networks, up or not, each with its file

    def device(self, name: str) -> Device | None:
        return self.remember("by name", lambda: {row.name: row for row in reversed(known(self.devices))}).get(name)

    def switch(self, bridge: str) -> Switch | None:
        """The bridge in Open vSwitch's database."""
        return next((switch for switch in known(self.switches) or () if switch.name == bridge), None)

    def ports(self, bridge: str) -> list[Device]:
        return list(self.remember("ports", self._by_master).get(bridge, ()))

    def filter_on_disk(self) -> OwnFilter:
        """What hullproof's own files filter: the nft rules and the flows of Open vSwitch."""
        texts = (known(self.files.get(path)) or "" for path in (RULES_FILE, SWITCH_FILE))
        return self.remember("disk", lambda: read_own_filter(*texts))

    def filter_live(self) -> OwnFilter:
        """What hullproof's nft tables in the kernel filter."""
        text = "\n".join(known(self.listed))
        return self.remember("live", lambda: NO_FILTER if dormant(text) else read_own_filter(text))

    def _by_master(self) -> dict[str, list[Device]]:
        found: dict[str, list[Device]] = {}
        for device in known(self.devices):
            found.setdefault(device.master or "", []).append(device)
        return found


class Bridges(SectionFact[BridgesReading]):
    """ip-link(8), bridge(8), ip-netns(8), lsns(8), nft(8), ovs-vsctl(8); the network managers' own records."""

    key: ClassVar[str] = "bridges"
    timeout: ClassVar[int] = 20
    script: ClassVar[str] = "".join(
        [
            script(
                "bridges.sh",
                TABLE=TABLE,
                CHAIN=f"filter_IN_{ZONE}",
                FILES=" ".join([*OUR_FILES, LOADED_FILE, REVERTED_FILE]),
                PATTERNS=" ".join(WHERE_WANTED),
                ENABLED=ENABLED,
            ),
            openvswitch.SCRIPT,
            engine_subnets.SCRIPT,
            connection.SCRIPT,
            ":\n",
        ]
    )

    @staticmethod
    def parse(section: Section) -> BridgesReading:
        ours = section.blocks.get("ours")
        loaded = section.file(LOADED_FILE)
        switches = attempt("ovs-vsctl", lambda: read_switches(section))
        return BridgesReading(
            devices=_devices(section, switches if isinstance(switches, tuple) else ()),
            client=connection.client(section),
            ssh_port=connection.port(section),
            files={path: section.file(path) for path in (*OUR_FILES, *_written(section))},
            unit_enabled=section.block("enabled") == Block(0, f"{ENABLED}\n"),
            nft="tables" in section.blocks,
            listed=_listed(section, ours),
            loaded=_rules(loaded) if isinstance(loaded, str) else loaded,
            firewalld=_zones(section),
            firewalld_version=section.text("version"),
            ufw=_ufw(section),
            reverted=read_reverted(section, "bridges"),
            interfaces=tuple(_interfaces(section)),
            switches=switches,
            switch_enabled=openvswitch.enabled(section),
            subnets=engine_subnets.read_subnets(section),
        )


def _zones(section: Section) -> tuple[str, ...] | Unknown | None:
    """A zone that accepts everything ends with `iifname "br-web" accept` for each of its devices; before firewalld 2,
    its devices lead to a chain that ends with `accept`. Of those chains only hullproof's zone's was listed."""
    if "firewalld" not in section.blocks:
        return None
    text = section.text("firewalld")
    if isinstance(text, Unknown):
        return text
    ours = text.partition(f"chain filter_IN_{ZONE} {{")[2].partition("}")[0]
    opened = any(line.strip() == "accept" for line in ours.splitlines())
    end = f"(?:accept|goto filter_IN_{ZONE})" if opened else "accept"
    return tuple(re.findall(rf'^[ \t]*iifname "([^"\n]+)" {end}$', text, re.MULTILINE))


def _ufw(section: Section) -> tuple[str, ...] | Unknown | None:
    """`ufw show added`: a heading, then `ufw allow in on br-web to any port 53 proto udp comment 'dns'`."""
    if "ufw" not in section.blocks:
        return None
    text = section.text("ufw")
    return text if isinstance(text, Unknown) else tuple(re.findall(r"^ufw (.+)$", text, re.MULTILINE))


def _said(section: Section, name: str) -> str:
    """What a command printed; "" where it had nothing to read (the host has no such manager)."""
    block = section.blocks.get(name)
    return block.text if block and block.status == 0 else ""


def _written(section: Section) -> list[str]:
    return [name for name in section.blocks if name.startswith(WHERE_WANTED)]


def _interfaces(section: Section) -> list[str]:
    rows = re.findall(r"^(/[^:\n]+):[ \t]*iface[ \t]+(\S+)", _said(section, "interfaces"), re.MULTILINE)
    return list(dict.fromkeys(name for path, name in rows if not path.startswith(IFUPDOWN_FILES)))


def _listed(section: Section, ours: Block | None) -> tuple[str, ...] | Unknown:
    tables = section.blocks.get("tables")
    if tables is None:
        return ()
    if tables.status != 0:
        return Unknown(f"nft list tables: {tables.complaint}")
    if ours is None:
        return ()
    # One of the two tables may be missing: the error message about it is not a rule.
    return _rules(ours.text)


def _rules(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip() and not _complaint(line))


def _complaint(line: str) -> bool:
    return line.startswith("Error:") or line.lstrip().startswith(("list table ", "^"))


@dataclass(frozen=True)
class _Around:
    """What other programs report about devices."""

    admin: dict[int, str]  # networkd's state of a device, by index
    file: dict[int, str]
    nm: dict[int, dict[str, str]]  # NetworkManager's state of a device, by index
    ifupdown: set[str]
    peers: dict[int, tuple[str, int | None]]  # a namespace's id here -> who is in it


def _around(section: Section) -> _Around:
    admin: dict[int, str] = {}
    file: dict[int, str] = {}
    for index, key, value in re.findall(r"/links/(\d+):(\w+)=(.*)$", _said(section, "networkd"), re.MULTILINE):
        (admin if key == "ADMIN_STATE" else file)[int(index)] = value
    nm: dict[int, dict[str, str]] = {}
    for index, key, value in re.findall(r"/devices/(\d+):([\w-]+)=(.*)$", _said(section, "nm"), re.MULTILINE):
        nm.setdefault(int(index), {})[key] = value
    up = re.findall(r"^(\S+)=", _said(section, "ifstate"), re.MULTILINE)
    return _Around(admin, file, nm, set(up), _peers(section))


def _peers(section: Section) -> dict[int, tuple[str, int | None]]:
    """lsns gives the processes in a namespace, ip-netns the names of named namespaces."""
    peers: dict[int, tuple[str, int | None]] = {}
    spaces = section.json("spaces")
    for row in spaces.get("namespaces", []) if isinstance(spaces, dict) else []:
        space = whole_number(str(row.get("netnsid", "")))
        if space is not None and row.get("pid"):  # util-linux 2.42 also lists namespaces without a process
            peers[space] = (f"process {row['pid']} ({row.get('command')})", int(row["pid"]))
    named = section.json("named")
    for row in named if isinstance(named, list) else []:
        if "name" in row and int(row["nsid"]) >= 0:
            peers[int(row["nsid"])] = (f"netns {row['name']}", peers.get(int(row["nsid"]), ("", None))[1])
    return peers


def _devices(section: Section, switches: tuple[Switch, ...]) -> tuple[Device, ...] | Unknown:
    text = section.text("links")
    if isinstance(text, Unknown):
        return text
    try:
        rows = load(text)
    except ValueError as error:
        return Unknown(f"ip link: not JSON ({error})")
    return attempt("ip link", lambda: tuple(_read_devices(rows, _around(section), switches)))


def _read_devices(rows: list[dict[str, Any]], around: _Around, switches: tuple[Switch, ...]) -> Iterator[Device]:
    """To the kernel all ports of Open vSwitch belong to one device; here to their bridge."""
    on = {port.name: (switch.name, port) for switch in reversed(switches) for port in reversed(switch.ports)}
    for row in rows:
        if not row.get("ifname"):
            continue
        device = _device(row, around)
        if device.name in on:
            name, port = on[device.name]
            device = replace(device, master=name, port=BridgePort(port.protected, False, True, False))
        yield device


def _device(row: dict[str, Any], around: _Around) -> Device:
    info = row.get("linkinfo", {})
    kind, data = str(info.get("info_kind", "")), info.get("info_data", {})
    slave = info.get("info_slave_data", {}) if info.get("info_slave_kind") == "bridge" else None
    name, index = str(row["ifname"]), int(row["ifindex"])
    space = row.get("link_netnsid")
    behind = None if space is None else around.peers.get(int(space), (f"namespace {space}", None))
    return Device(
        name=name,
        index=index,
        kind=kind,
        up="UP" in row.get("flags", []),
        master=row.get("master"),
        parent=row.get("link") if space is None else None,
        port=None if slave is None else BridgePort(*(bool(slave.get(f)) for f in BridgePort.__dataclass_fields__)),
        vlan_filtering=bool(data.get("vlan_filtering")) if kind == "bridge" else None,
        default_pvid=int(data.get("vlan_default_pvid", 1)) if kind == "bridge" else None,
        vlan=int(data["id"]) if kind == "vlan" and "id" in data else None,
        peer=behind[0] if behind else None,
        pid=behind[1] if behind else None,
        managed=(managed := _manager(name, kind, index, around)),
        file=around.nm[index].get("connection-uuid") if managed == NETWORKMANAGER and kind else around.file.get(index),
    )


def _manager(name: str, kind: str, index: int, around: _Around) -> str | None:
    if around.admin.get(index, "unmanaged") not in ("unmanaged", "initialized", "pending"):
        return NETWORKD
    if name in around.ifupdown:
        return IFUPDOWN
    nm = around.nm.get(index, {})
    # A device that was created by hand is managed too, but nm-owned is false.
    return NETWORKMANAGER if nm.get("managed") == "true" and (not kind or nm.get("nm-owned") == "true") else None
