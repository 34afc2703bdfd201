"""A host's networks as a small picture: who is where and who reaches whom, as declared and as found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploys.bridges_drift import containers_of, ports_of
from deploys.bridges_rules import BridgesRules, Segment, segments
from deploys.engine.clean import clean_text
from deploys.engine.run import show
from deploys.engine.session import Session
from facts.bridges import Bridges, BridgesReading, Device
from facts.docker import Docker
from facts.networks import Networks, NetworksReading
from facts.reading import UnknownReading, known
from facts.survey import Survey

ANYBODY = "anybody"


@dataclass(frozen=True)
class Leg:
    """A port of a segment, and who is behind it."""

    port: str
    who: str
    isolated: bool


@dataclass(frozen=True)
class Picture:
    titles: dict[str, str]  # of segments that the policy declares, and of the host's other bridges
    legs: dict[str, tuple[Leg, ...]]  # by segment or bridge, as found
    declared: frozenset[tuple[str, str, str]]  # from, to, what
    found: frozenset[tuple[str, str, str]]


def picture(rules: BridgesRules, survey: Survey) -> Picture:
    reading, networks, names = survey[Bridges], survey[Networks], containers_of(survey[Docker])
    parts = tuple(segments(rules))
    titles = {segment.name: ", ".join([segment.device, *segment.gateways]) for segment in parts}
    legs = {
        segment.name: tuple(
            Leg(port.name, _behind(port, names), _apart(port, segment, rules, reading))
            for port in ports_of(segment, reading, networks)
        )
        for segment in parts
    }
    for name, title in _others(rules, survey).items():
        titles[name] = title
        legs[name] = tuple(
            Leg(port.name, _behind(port, names), _apart_there(port, name, reading, networks))
            for port in reading.ports(name)
        )
    declared = frozenset((flow.from_, flow.to, str(flow)) for flow in rules.allow)
    return Picture(titles, legs, declared, frozenset(_found(parts, reading)))


def _behind(port: Device, names: dict[int | None, str]) -> str:
    return names.get(port.pid, port.peer or "the uplink")


def _others(rules: BridgesRules, survey: Survey) -> dict[str, str]:
    """Bridges that the policy does not declare, with whose they are: an engine's, or somebody's."""
    reading, docker = survey[Bridges], survey[Docker]
    declared = {net.bridge for net in rules.networks.values()}
    engines = {net.bridge: f"the Docker network {net.name}" for net in docker.networks
               if net.driver == "bridge"} if isinstance(docker.networks, tuple) else {}  # fmt: skip
    found = [device.name for device in known(reading.devices) if device.kind == "bridge"]
    return {name: engines.get(name, "not declared") for name in found if name not in declared}


def _apart_there(port: Device, bridge: str, reading: BridgesReading, networks: NetworksReading) -> bool:
    guards = re.findall(r'ibrname "([^"]+)\*" drop', "\n".join(known(reading.listed)))
    filtered = bridge in known(networks.dropped) or bridge.startswith(tuple(guards))
    return filtered or bool(port.port and port.port.isolated)


def _apart(port: Device, segment: Segment, rules: BridgesRules, reading: BridgesReading) -> bool:
    """By the kernel's own flag, or by our filter, which also knows ports that only joined; by the flows of a switch."""
    if segment.switched:
        there = reading.switch(segment.bridge)
        ours = there is not None and known(there.flows) is not None and known(there.flows) == known(there.loaded)
        return ours and rules.networks[segment.network].isolate == "ports"
    guard = f'ibrname "{segment.bridge}" goto within-{segment.network}'
    filtered = rules.networks[segment.network].isolate == "ports" and any(
        guard in line for line in known(reading.listed)
    )
    return filtered or bool(port.port and port.port.isolated)


def _found(parts: tuple[Segment, ...], reading: BridgesReading) -> Iterator[tuple[str, str, str]]:
    """The flows that our tables in the kernel let pass; without them nothing keeps segments from each other."""
    listed = known(reading.listed)
    if not listed:
        yield from ((segment.name, ANYBODY, "no filter") for segment in parts)
        return
    devices = {segment.device: segment.name for segment in parts}
    end = r'(?:"([^"]+)"|(!= \S.*?\}|!= "[^"]+"))'
    chain = ""
    for line in listed:
        if opened := re.match(r"\s*chain (\S+) \{", line):
            chain = opened[1]
        rule = re.match(rf"\s*iifname {end}(?: oifname {end})? ?(.*?) ?accept$", line)
        if rule is None or chain not in ("to-host", "between") or rule[1] == rule[3]:
            continue
        to = "host" if chain == "to-host" else devices.get(rule[3], "world")
        yield devices.get(rule[1], "world"), to, _what(rule[5])


def _what(match: str) -> str:
    """`tcp dport 5432` -> `tcp/5432`."""
    words = match.split()
    if not words:
        return "any"
    if "ipv6-icmp" in match:
        return "icmp"
    return words[-1] if words[0] == "meta" else f"{words[0]}/{words[-1]}"


def render_text(seen: Picture) -> str:
    lines = []
    for name, title in seen.titles.items():
        lines.append(f"  {name}  ({title})")
        lines += [f"    ├─ {leg.port} ─ {leg.who}{'' if leg.isolated else ', meets its neighbours'}"
                  for leg in seen.legs[name]]  # fmt: skip
    for flow in sorted(seen.declared | seen.found):
        lines.append(f"  {flow[0]} ──▶ {flow[1]}: {flow[2]}{_note(flow, seen)}")
    return "\n".join(clean_text(line) for line in lines)


def _note(flow: tuple[str, str, str], seen: Picture) -> str:
    if flow not in seen.found:
        return "  (declared, not found)"
    return "" if flow in seen.declared else "  (FOUND, NOT DECLARED)"


def render_mermaid(seen: Picture) -> str:
    """https://mermaid.js.org: solid as declared and found, dotted as declared only, thick as found only."""
    ids = {name: f"n{number}" for number, name in enumerate([*seen.titles, "host", "world", ANYBODY])}
    lines = ["flowchart LR"]
    for name, title in seen.titles.items():
        lines.append(f'  subgraph {ids[name]}["{_label(f"{name} ({title})")}"]')
        lines += [f'    {ids[name]}p{number}["{_label(f"{leg.port}: {leg.who}")}"]'
                  for number, leg in enumerate(seen.legs[name])]  # fmt: skip
        lines.append("  end")
    flows = sorted(seen.declared | seen.found)
    used = {end for flow in flows for end in flow[:2]} - set(seen.titles)
    lines += [f'  {ids[end]}(("{end}"))' for end in sorted(used)]
    for flow in flows:
        arrow = "-.->" if flow not in seen.found else "-->" if flow in seen.declared else "==>"
        lines.append(f'  {ids[flow[0]]} {arrow}|"{_label(flow[2])}"| {ids[flow[1]]}')
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """What a host says may be anything: nothing that Mermaid would read as markup."""
    return re.sub(r"[^\w .:/()-]", "?", clean_text(text))


def show_picture(session: Session, folder: Path) -> None:
    """On the terminal, and as a file beside the report."""
    if session.survey is None:
        return
    try:
        seen = picture(session.policy[BridgesRules], session.survey)
    except UnknownReading as error:
        show(f"{session.host.name}: its networks cannot be drawn: {clean_text(str(error))}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', session.host.name)}.mmd"
    path.write_text(render_mermaid(seen), encoding="utf-8")
    show(f"{session.host.name}: its networks ({path})\n{render_text(seen) or '  the policy declares none'}")
