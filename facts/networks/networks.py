"""Networks: bridges and their ports, the sysctls that pass bridged frames to the firewall, and the firewall's rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.json_text import load
from facts.core.lines import Lines
from facts.core.reading import Block, Jsonable, Section, Unknown, attempt, known
from facts.networks import connection, nft
from facts.networks.forward import Filter, read_filter
from facts.networks.own_tables import OwnTables, in_own_words, isolated, read_own_tables
from facts.networks.scripts import script
from facts.networks.tc import Redirect, read_redirects

BLOCKS = r"\s*(install|blacklist)\s+"
NF_CALL = ("iptables", "ip6tables", "arptables")
RULES_FILE = "/etc/hullproof/networks.nft"
LOADED_FILE = "/run/hullproof/networks.nft"  # the file that was loaded, and what nft printed right after that
UNIT = "hullproof-networks.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
ENABLED = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"
MODULES_FILE = "/etc/modules-load.d/hullproof-networks.conf"
SYSCTL_FILE = "/etc/sysctl.d/99-zz-hullproof-networks.conf"
LATER_FILE = "/etc/udev/rules.d/70-hullproof-networks.rules"
FORWARD_FILE = "/etc/systemd/system/docker.service.d/zz-hullproof-forward.conf"
PORTS_FILE = "/etc/hullproof/ports.sh"
PORT_UNIT_FILE = "/etc/systemd/system/hullproof-port@.service"
PORT_RULES_FILE = "/etc/udev/rules.d/71-hullproof-ports.rules"
FILES = (
    RULES_FILE,
    LOADED_FILE,
    UNIT_FILE,
    MODULES_FILE,
    SYSCTL_FILE,
    LATER_FILE,
    FORWARD_FILE,
    PORTS_FILE,
    PORT_UNIT_FILE,
    PORT_RULES_FILE,
)
RESOLVERS = "/etc/resolv.conf"
UNITS = ("systemd-networkd", "NetworkManager", "networking", "firewalld", "ufw", "nftables")


@dataclass(frozen=True)
class Port(Jsonable):
    name: str
    isolated: bool  # bridge(8): talks only to ports that are not isolated


@dataclass(frozen=True)
class Bridge(Jsonable):
    name: str
    ports: tuple[Port, ...]
    vlan_filtering: bool
    nf_call_iptables: bool  # the bridge's own setting, beside the host's sysctl
    nf_call_ip6tables: bool
    addresses: tuple[str, ...]  # "172.17.0.1/16"


@dataclass(frozen=True)
class Vlan(Jsonable):
    """A VLAN device: `name` carries the tag `id` of `link`."""

    name: str
    link: str
    id: int


@dataclass(frozen=True)
class Membership(Jsonable):
    """A bridge port's VLAN."""

    device: str
    id: int
    last: int  # of a range; `id` itself for a single VLAN
    pvid: bool
    untagged: bool


@dataclass(frozen=True)
class Route(Jsonable):
    destination: str  # "default" or a prefix
    device: str
    gateway: str | None


@dataclass(frozen=True)
class Guard(Jsonable):
    """An nft chain with a policy of drop."""

    hook: str  # input or forward
    table: str  # "inet filter"
    chain: str


@dataclass(frozen=True)
class NetworksReading(Jsonable):
    bridges: tuple[Bridge, ...] | Unknown
    vlans: tuple[Vlan, ...] | Unknown
    memberships: tuple[Membership, ...] | Unknown
    addresses: dict[str, tuple[str, ...]] | Unknown  # device -> addresses with prefix
    routes: tuple[Route, ...] | Unknown  # the main tables of IPv4 and IPv6
    connection: str | Unknown  # the device that carries the connection this survey came by
    doors: tuple[str, ...] | Unknown  # that device, and those whose subnets contain the connection's other end
    ssh_port: int | Unknown | None  # the port that it came to; None: the survey did not come by SSH
    br_netfilter: bool | Unknown  # loaded (or built in)
    nf_call: dict[str, int | Unknown]  # iptables, ip6tables, arptables -> 0 or 1; {} without br_netfilter
    forwarding4: int | Unknown | None
    forwarding6: int | Unknown | None  # None: no IPv6
    modules_load: tuple[str, ...] | Unknown  # modules-load.d files that name br_netfilter
    modules_blocked: tuple[str, ...] | Unknown  # modprobe.d lines against br_netfilter
    devices_blocked: tuple[str, ...] | Unknown  # those against other modules of networks: bridge, 8021q …
    filter4: Filter | Unknown | None  # iptables; None: not installed
    filter6: Filter | Unknown | None
    tables: tuple[str, ...] | Unknown | None  # nft: "inet firewalld"; None: nft is not installed
    guards: tuple[Guard, ...] | Unknown | None  # of nft; None: not installed
    own: dict[str, tuple[str, ...]] | Unknown  # the chains of hullproof's own tables that are in force; {}: none
    dormant: tuple[str, ...] | Unknown  # the families of hullproof's tables that are there, and not in force
    ports: tuple[str, ...] | Unknown  # bridge ports whose addresses hullproof's bridge table has
    later: tuple[str, ...] | Unknown  # bridges that udev has added to both tables
    redirects: tuple[Redirect, ...] | Unknown  # by tc, past bridges and firewalls
    resolvers: tuple[str, ...]  # of /etc/resolv.conf
    files: dict[str, str | Unknown | None]  # the texts of hullproof's own files
    unit_enabled: bool
    managers: tuple[str, ...] | Unknown  # systemd-networkd, NetworkManager, ifupdown: active; netplan: has a file
    firewalls: tuple[str, ...] | Unknown  # firewalld, ufw, nftables: active units

    def bridge(self, name: str) -> Bridge | None:
        """UnknownReading where the devices are unknown."""
        return self.remember("by name", lambda: {row.name: row for row in reversed(known(self.bridges))}).get(name)

    @property
    def dropped(self) -> frozenset[str]:
        """The bridges on which hullproof's tables keep containers apart, live."""
        return self.remember("dropped", lambda: isolated(known(self.own), known(self.later)))

    def drops(self, bridge: str) -> bool:
        """Whether hullproof's tables keep the containers on it apart, live."""
        return bridge in self.dropped

    def knows(self, port: str) -> bool:
        """Whether hullproof's table has its addresses."""
        return port in self.remember("ports", lambda: frozenset(known(self.ports)))

    def on_disk(self) -> OwnTables:
        """hullproof's own tables, as its rules file describes them."""
        return self.remember("on disk", lambda: read_own_tables(known(self.files.get(RULES_FILE)) or ""))

    def named_later(self) -> frozenset[str]:
        return self.remember("later", lambda: frozenset(known(self.later)))

    def member_of(self, device: str) -> list[Membership]:
        """The device's VLANs."""
        return self.remember("memberships", self._by_device).get(device, [])

    def _by_device(self) -> dict[str, list[Membership]]:
        found: dict[str, list[Membership]] = {}
        for row in known(self.memberships):
            found.setdefault(row.device, []).append(row)
        return found

    def ports_of(self, name: str) -> tuple[str, ...]:
        bridge = self.bridge(name)
        return tuple(port.name for port in bridge.ports) if bridge else ()

    @property
    def default_devices(self) -> tuple[str, ...]:
        """The devices that carry the default routes."""
        routes = () if isinstance(self.routes, Unknown) else self.routes
        return tuple(sorted({route.device for route in routes if route.destination == "default"}))

    @property
    def outward_devices(self) -> tuple[str, ...]:
        """The devices of default routes and of routes through a gateway."""
        routes = () if isinstance(self.routes, Unknown) else self.routes
        return tuple(sorted({route.device for route in routes if route.destination == "default" or route.gateway}))


class Networks(SectionFact[NetworksReading]):
    """ip-link(8), ip-address(8), bridge(8), iptables-save(8), nft(8), modules-load.d(5)."""

    key: ClassVar[str] = "networks"
    timeout: ClassVar[int] = 20
    script: ClassVar[str] = "".join(
        [
            script("networks.sh", FILES=" ".join([*FILES, RESOLVERS]), ENABLED=ENABLED, UNITS=" ".join(UNITS)),
            connection.SCRIPT,
            connection.BACK,
            ":",
        ]
    )

    @staticmethod
    def parse(section: Section) -> NetworksReading:
        devices = _json(section, "addr")
        switches, settings = Lines(section.block("switches")), Lines(section.block("settings"))
        denied = settings.complaint("Permission denied")
        nf_call = {name: switches.number(f"/proc/sys/net/bridge/bridge-nf-call-{name}") for name in NF_CALL}
        loaded = nf_call["iptables"]
        addresses = attempt("ip address", lambda: _addresses(known(devices)))
        return NetworksReading(
            bridges=attempt("ip address", lambda: _bridges(known(devices))),
            vlans=attempt("ip address", lambda: _vlans(known(devices))),
            memberships=attempt("bridge vlan", lambda: _memberships(known(_json(section, "vlan")))),
            addresses=addresses,
            routes=attempt("ip route", lambda: _routes(_json(section, "route4"), _json(section, "route6"))),
            connection=connection.device(section, addresses),
            doors=connection.doors(section, addresses),
            ssh_port=connection.port(section),
            br_netfilter=loaded if isinstance(loaded, Unknown) else loaded is not None,
            nf_call={name: value for name, value in nf_call.items() if value is not None},
            forwarding4=switches.number("/proc/sys/net/ipv4/ip_forward"),
            forwarding6=switches.number("/proc/sys/net/ipv6/conf/all/forwarding"),
            modules_load=denied or tuple(_saying(settings, r"\s*br_netfilter\s*$", "/modules")),
            modules_blocked=denied or tuple(_saying(settings, BLOCKS + r"br_netfilter\b", "/modprobe.d/")),
            devices_blocked=denied or tuple(_saying(settings, BLOCKS + r"(?!br_netfilter)", "/modprobe.d/")),
            filter4=_filter(section.block("filter4")),
            filter6=_filter(section.block("filter6")),
            tables=_tables(section.block("tables")),
            guards=_guards(section.block("tables")),
            **_own_tables(section),
            redirects=read_redirects(section),
            resolvers=_resolvers(section.file(RESOLVERS)),
            files={path: section.file(path) for path in FILES},
            unit_enabled=section.block("enabled") == Block(0, f"{ENABLED}\n"),
            managers=_managers(section.block("units"), section.block("netplan")),
            firewalls=_active(section.block("units"), ("firewalld", "ufw", "nftables")),
        )


def _json(section: Section, name: str) -> list[dict[str, Any]] | Unknown:
    """A list of objects, as `ip -j` and `bridge -j` print them; no output at all is an empty list."""
    text = section.text(name)
    if isinstance(text, Unknown):
        return text
    try:
        found = load(text) if text.strip() else []
    except ValueError as error:
        return Unknown(f"{name}: not JSON ({error})")
    if not isinstance(found, list):
        return Unknown(f"{name}: not a list")
    return [item for item in found if isinstance(item, dict) and item]


def _cidrs(device: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{a['local']}/{a['prefixlen']}" for a in device.get("addr_info", []) if "local" in a)


def _addresses(devices: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    return {device["ifname"]: found for device in devices if (found := _cidrs(device))}


def _info(device: dict[str, Any], what: str) -> dict[str, Any]:
    found = device.get("linkinfo", {}).get(what, {})
    return found if isinstance(found, dict) else {}


def _bridges(devices: list[dict[str, Any]]) -> tuple[Bridge, ...]:
    bridges: list[Bridge] = []
    by_master: dict[Any, list[dict[str, Any]]] = {}
    for device in devices:
        by_master.setdefault(device.get("master"), []).append(device)
    for device in devices:
        if device.get("linkinfo", {}).get("info_kind") == "bridge":
            name, data = device["ifname"], _info(device, "info_data")
            ports = by_master.get(name, [])
            bridges.append(
                Bridge(
                    name=name,
                    ports=tuple(Port(p["ifname"], bool(_info(p, "info_slave_data").get("isolated"))) for p in ports),
                    vlan_filtering=bool(data.get("vlan_filtering")),
                    nf_call_iptables=bool(data.get("nf_call_iptables")),
                    nf_call_ip6tables=bool(data.get("nf_call_ip6tables")),
                    addresses=_cidrs(device),
                )
            )
    return tuple(bridges)


def _vlans(devices: list[dict[str, Any]]) -> tuple[Vlan, ...]:
    return tuple(
        Vlan(device["ifname"], str(device.get("link", "")), int(_info(device, "info_data").get("id", 0)))
        for device in devices
        if device.get("linkinfo", {}).get("info_kind") == "vlan"
    )


def _memberships(ports: list[dict[str, Any]]) -> tuple[Membership, ...]:
    found: list[Membership] = []
    for port in ports:
        for vlan in port.get("vlans", []):
            flags = [str(flag) for flag in vlan.get("flags", [])]
            first = int(vlan["vlan"])
            last = int(vlan.get("vlanEnd", first))
            if not 0 <= first <= last < 4096:
                raise ValueError(f"there are no VLANs {first} to {last}"[:80])
            found.append(Membership(port["ifname"], first, last, "PVID" in flags, "Egress Untagged" in flags))
    return tuple(found)


def _routes(
    routes4: list[dict[str, Any]] | Unknown, routes6: list[dict[str, Any]] | Unknown
) -> tuple[Route, ...] | Unknown:
    if isinstance(routes4, Unknown):
        return routes4
    both = routes4 + ([] if isinstance(routes6, Unknown) else routes6)
    return tuple(Route(str(r.get("dst", "")), str(r.get("dev", "")), r.get("gateway")) for r in both)


def _saying(settings: Lines, pattern: str, where: str) -> list[str]:
    """The files under `where` with a matching line; for modprobe.d with the line itself."""
    found = [(path, line.strip()) for path, lines in settings.found.items() if where in path for line in lines]
    hits = [(path, line) for path, line in found if re.match(pattern, line)]
    return [f"{path}: {line}" if "modprobe" in where else path for path, line in hits]


def _filter(block: Block | Unknown) -> Filter | Unknown | None:
    if isinstance(block, Unknown):
        return block
    if block.status == 127:
        return None
    if block.status != 0:
        return Unknown(f"iptables-save: {block.complaint}")
    return read_filter(block.text) or Unknown("iptables-save: the output is incomplete")


def _tables(block: Block | Unknown) -> tuple[str, ...] | Unknown | None:
    if isinstance(block, Unknown):
        return block
    if block.status == 127:
        return None
    if block.status != 0:
        return Unknown(f"nft list chains: {block.complaint}")
    return tuple(re.findall(r"^table (\S+ \S+)", block.text, re.MULTILINE))


def _guards(block: Block | Unknown) -> tuple[Guard, ...] | Unknown | None:
    tables = _tables(block)
    if not isinstance(tables, tuple) or isinstance(block, Unknown):
        return tables if isinstance(tables, Unknown) else None
    return tuple(Guard(*row) for row in nft.guards(block.text))


def _resolvers(text: str | Unknown | None) -> tuple[str, ...]:
    """resolv.conf(5)."""
    return tuple(re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)) if isinstance(text, str) else ()


def _own_tables(section: Section) -> dict[str, Any]:
    """What is live of hullproof's tables, by the field of the reading."""
    text, kept = _own(section), section.file(LOADED_FILE)
    if isinstance(text, Unknown):
        return dict.fromkeys(("own", "dormant", "ports", "later"), text)
    by_inet = re.findall(r'"([^"]+)" \. "\1"', text)
    return {
        "own": kept if isinstance(kept, Unknown) else in_own_words(text, kept or ""),
        "dormant": nft.dormant(text),
        "ports": nft.elements(text, "known"),
        "later": tuple(name for name in nft.elements(text, "later") if name in by_inet),
    }


def _own(section: Section) -> str | Unknown:
    """hullproof's tables as nft prints them; "" where there are none."""
    found = [section.text(name) for name in ("ours", "inet") if name in section.blocks]
    if not found:
        tables = _tables(section.block("tables"))
        return tables if isinstance(tables, Unknown) else ""
    unknown = next((text for text in found if isinstance(text, Unknown)), None)
    return unknown or "".join(text for text in found if isinstance(text, str))


def _active(block: Block | Unknown, names: tuple[str, ...]) -> tuple[str, ...] | Unknown:
    """The active ones of these units; unknown without systemd."""
    if isinstance(block, Unknown):
        return Unknown("the host has no systemd that could tell which units are active")
    states = block.text.split()
    if len(states) != len(UNITS):
        return Unknown(f"systemctl is-active: {block.complaint}")
    return tuple(name for name, state in zip(UNITS, states, strict=True) if state == "active" and name in names)


def _managers(units: Block | Unknown, netplan: Block | Unknown) -> tuple[str, ...] | Unknown:
    """The active managers; and netplan, which writes the files of one of them, where it has a file."""
    active = _active(units, ("systemd-networkd", "NetworkManager", "networking"))
    if isinstance(active, Unknown):
        return active
    if isinstance(netplan, Unknown):
        return netplan
    found = ["ifupdown" if name == "networking" else name for name in active]
    return (*found, "netplan") if re.search(r"^/etc/netplan/", netplan.text, re.MULTILINE) else tuple(found)
