"""Open vSwitch: bridges and ports as its own database has them, and the flows of those that are ours: ovs-vsctl(8),
ovs-ofctl(8), ovs-vswitchd.conf.db(5). A part of the section that `facts.networks.bridges` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from facts.core.json_text import load
from facts.core.reading import Block, Jsonable, Section, Unknown

SWITCH_FILE = "/etc/hullproof/openvswitch.sh"
SWITCH_UNIT = "hullproof-openvswitch.service"
SWITCH_UNIT_FILE = f"/etc/systemd/system/{SWITCH_UNIT}"
LOADED = "/run/hullproof/openvswitch."  # and a bridge: its flows as the switch listed them when our unit loaded them
LEARNT = re.compile(r"\btable=4, idle_timeout=\d+, priority=10,")
FILES = (SWITCH_FILE, SWITCH_UNIT_FILE)

SCRIPT = f"""
if have ovs-vsctl; then
  run switches ovs-vsctl --timeout=5 --format=json -- --columns=name,fail_mode,ports list Bridge \\
    -- --columns=_uuid,name,interfaces,tag,trunks,vlan_mode,protected list Port \\
    -- --columns=_uuid,name,type,ofport,ofport_request list Interface
  for f in {LOADED}*; do
    [ -e "$f" ] || continue
    show "$f"; b=${{f#{LOADED}}}; run "flows $b" ovs-ofctl -O OpenFlow13 --timeout=5 --no-stats dump-flows "$b"
  done
fi
run switch-enabled ls /etc/systemd/system/multi-user.target.wants/{SWITCH_UNIT}
"""


@dataclass(frozen=True)
class SwitchPort(Jsonable):
    name: str
    kind: str  # internal, patch, …; "" for a device of the host
    number: int | None  # by which flows know it; None while there is no such device
    asked: int | None  # the number that the database asks for
    tag: int | None
    trunks: tuple[int, ...]  # () without a tag: all VLANs
    mode: str | None  # access, trunk …; None: as tag and trunks say
    protected: bool  # reaches only ports that are not protected


@dataclass(frozen=True)
class Switch(Jsonable):
    name: str
    secure: bool  # its fail mode: without flows nothing passes
    ports: tuple[SwitchPort, ...]  # without the bridge's own
    flows: tuple[str, ...] | Unknown | None  # None: our unit has loaded none
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
        return Unknown(f"ovs-vsctl: not its three tables ({error})")
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
    return section.block("switch-enabled") == Block(0, f"/etc/systemd/system/multi-user.target.wants/{SWITCH_UNIT}\n")


def _rows(line: str) -> Iterator[dict[str, Any]]:
    table = load(line)
    for row in table["data"]:
        yield {heading: _value(value) for heading, value in zip(table["headings"], row, strict=True)}


def _value(value: Any) -> Any:
    """RFC 7047: a set of one is the thing itself, and of none is None here; a UUID is its text."""
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
    """The switch lists them in no order that would last; what it learnt by itself comes and goes."""
    text = section.text(name) if name in section.blocks else None
    if not isinstance(text, str):
        return text
    return tuple(sorted(line.strip() for line in text.splitlines() if "actions=" in line and not LEARNT.search(line)))
