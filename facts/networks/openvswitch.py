"""Open vSwitch: the bridges and ports of its database, and the flows of hullproof's bridges: ovs-vsctl(8),
ovs-ofctl(8), ovs-vswitchd.conf.db(5). A part of the section that `facts.networks.bridges` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from facts.core.json_text import load
from facts.core.reading import Block, Jsonable, Section, Unknown
from facts.networks.scripts import script

SWITCH_FILE = "/etc/hullproof/openvswitch.sh"
SWITCH_UNIT = "hullproof-openvswitch.service"
SWITCH_UNIT_FILE = f"/etc/systemd/system/{SWITCH_UNIT}"
LOADED = "/run/hullproof/openvswitch."  # and a bridge: its flows when hullproof's unit had loaded them
LEARNT = re.compile(r"\btable=4, idle_timeout=\d+, priority=10,")
FILES = (SWITCH_FILE, SWITCH_UNIT_FILE)

SWITCH_ENABLED = f"/etc/systemd/system/multi-user.target.wants/{SWITCH_UNIT}"
SCRIPT = script("openvswitch.sh", LOADED=LOADED, SWITCH_ENABLED=SWITCH_ENABLED)


@dataclass(frozen=True)
class SwitchPort(Jsonable):
    name: str
    kind: str  # internal, patch, …; "" for a device of the host
    number: int | None  # by which flows match it; None while the device does not exist
    asked: int | None  # the number that the database requests
    tag: int | None
    trunks: tuple[int, ...]  # () without a tag: all VLANs
    mode: str | None  # access, trunk …; None: as tag and trunks say
    protected: bool  # it reaches only ports that are not protected


@dataclass(frozen=True)
class Switch(Jsonable):
    name: str
    secure: bool  # its fail mode is secure: without flows nothing passes
    ports: tuple[SwitchPort, ...]  # without the bridge's own
    flows: tuple[str, ...] | Unknown | None  # None: hullproof's unit has loaded none
    loaded: tuple[str, ...] | Unknown | None

    def port(self, name: str) -> SwitchPort | None:
        return next((port for port in self.ports if port.name == name), None)


def read_switches(section: Section) -> tuple[Switch, ...] | Unknown | None:
    """None where Open vSwitch is not installed."""
    if "switches" not in section.blocks:
        return None
    text = section.text("switches")
    if isinstance(text, Unknown):
        return text
    try:
        bridges, ports, interfaces = (list(_rows(line)) for line in text.splitlines() if line.startswith("{"))
    except ValueError as error:
        return Unknown(f"ovs-vsctl did not print its three tables ({error})")
    devices = {row["_uuid"]: row for row in interfaces}
    by_id = {row["_uuid"]: row for row in ports}
    return tuple(
        Switch(
            name=str(row["name"]),
            secure=row["fail_mode"] == "secure",
            ports=tuple(
                _port(by_id[port], devices[device])
                for port in _list(row["ports"])
                if port in by_id and by_id[port]["name"] != row["name"]
                for device in _list(by_id[port]["interfaces"])
                if device in devices
            ),
            flows=_flows(section, f"flows {row['name']}"),
            loaded=_flows(section, f"{LOADED}{row['name']}"),
        )
        for row in bridges
    )


def enabled(section: Section) -> bool:
    return section.block("switch-enabled") == Block(0, f"{SWITCH_ENABLED}\n")


def _rows(line: str) -> Iterator[dict[str, Any]]:
    table = load(line)
    for row in table["data"]:
        yield {heading: _value(value) for heading, value in zip(table["headings"], row, strict=True)}


def _value(value: Any) -> Any:
    """RFC 7047: a set of one element is returned as the element, an empty set as None, a UUID as its text."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "uuid":
        return str(content)
    return [_value(item) for item in content] or None if kind == "set" else dict(content)


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _port(row: dict[str, Any], device: dict[str, Any]) -> SwitchPort:
    number = device["ofport"]
    return SwitchPort(
        name=str(device["name"]),
        kind=str(device["type"] or ""),
        number=int(number) if number is not None and int(number) > 0 else None,
        asked=device["ofport_request"],
        tag=row["tag"],
        trunks=tuple(sorted(_list(row["trunks"]))),
        mode=row["vlan_mode"],
        protected=row["protected"] is True,
    )


def _flows(section: Section, name: str) -> tuple[str, ...] | Unknown | None:
    """Sorted, because the switch lists them in no fixed order; without the learnt ones, which come and go."""
    text = section.text(name) if name in section.blocks else None
    if not isinstance(text, str):
        return text
    return tuple(sorted(line.strip() for line in text.splitlines() if "actions=" in line and not LEARNT.search(line)))
