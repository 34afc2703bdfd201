"""A host's networks as a small picture: the ports of each network and the flows between them, declared and found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from deploys.bridges.drift import containers_of, ports_of
from deploys.bridges.rules import HOST, WORLD, BridgesRules, Segment
from deploys.bridges.view import BridgesView, view_of
from deploys.core.text import clean_text
from facts.core.reading import known
from facts.core.survey import Survey
from facts.networks.bridges import Device

ANYBODY, NEIGHBOURS = "anybody", "its neighbours"
# A packet that returns from hullproof's chain is accepted: that is the base chain's policy.
PASSES = re.compile(r'\b(accept|return)( comment ".*")?$')


@dataclass(frozen=True)
class Leg:
    """A port of a segment, and the container behind it."""

    port: str
    who: str
    isolated: bool

    @property
    def behind(self) -> str:
        return self.who if self.isolated else f"{self.who}, reaches its neighbours"


@dataclass(frozen=True)
class Picture:
    titles: dict[str, str]  # of segments that the policy declares, and of the host's other bridges
    legs: dict[str, tuple[Leg, ...]]  # by segment or bridge, as found
    declared: frozenset[tuple[str, str, str]]  # from, to, what
    found: frozenset[tuple[str, str, str]]


def picture(rules: BridgesRules, survey: Survey) -> Picture:
    view = view_of(rules, survey)
    names = containers_of(view)
    titles = {segment.name: ", ".join([segment.device, *segment.gateways]) for segment in view.segments}
    legs = {}
    for segment in view.segments:
        ports = ports_of(segment, view)
        apart = _apart(ports, segment, view)
        legs[segment.name] = tuple(Leg(port.name, _behind(port, names), apart) for port in ports)
    for name, title in _others(view).items():
        titles[name] = title
        ports = view.reading.ports(name)
        legs[name] = tuple(Leg(port.name, _behind(port, names), _apart_there(port, name, view)) for port in ports)
    declared = frozenset((flow.from_, flow.to, str(flow)) for flow in rules.allow)
    return Picture(titles, legs, declared, frozenset(_found(view)))


def _behind(port: Device, names: dict[int | None, str]) -> str:
    return names.get(port.pid, port.peer or "the uplink")


def _others(view: BridgesView) -> dict[str, str]:
    """Bridges that the policy does not declare, each with its engine, if any."""
    declared = {net.bridge for net in view.rules.networks.values()}
    engines = view.engine_networks
    found = [device.name for device in known(view.reading.devices) if device.kind == "bridge"]
    return {name: engines.get(name, "not declared") for name in found if name not in declared}


def _apart_there(port: Device, bridge: str, view: BridgesView) -> bool:
    isolated = any(fnmatchcase(bridge, name) for name in view.reading.filter_live().isolated if name.endswith("*"))
    filtered = isolated and not _joining(bridge, view)
    return filtered or view.networks.drops(bridge) or bool(port.port and port.port.isolated)


def _apart(ports: list[Device], segment: Segment, view: BridgesView) -> bool:
    """By the nft filter, which also covers undeclared ports; by a switch's flows; or by the kernel's isolation flag
    where every port has it, because a port with the flag reaches one without."""
    network = view.rules.networks[segment.network]
    if segment.switched:
        there = view.reading.switch(segment.bridge)
        unchanged = there is not None and known(there.flows) is not None and known(there.flows) == known(there.loaded)
        return unchanged and network.isolate == "ports"
    filtered = _guarded(segment, view) and not _joining(segment.bridge, view, segment.network)
    return (filtered and network.isolate == "ports") or all(
        port.port and port.port.isolated for port in ports if port.name != network.uplink
    )


def _guarded(segment: Segment, view: BridgesView) -> bool:
    return segment.bridge in view.reading.filter_live().isolated


def _placed(lines: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every line with its chain, such as `inet between`."""
    place = {"table": "", "chain": ""}
    for line in lines:
        if opened := re.match(r"\s*(table|chain) (\S+)", line):
            place[opened[1]] = opened[2]
        yield f"{place['table']} {place['chain']}", line.strip()


def _inserted(view: BridgesView) -> list[tuple[str, str]]:
    """Rules that accept something, and that were added after hullproof's unit loaded the tables."""
    if not isinstance(view.reading.loaded, tuple):
        return []
    loaded = set(_placed(view.reading.loaded))
    return [row for row in _placed(known(view.reading.listed)) if row not in loaded and PASSES.search(row[1])]


def _joining(bridge: str, view: BridgesView, network: str = "") -> list[str]:
    """Added rules by which ports of a bridge reach each other."""
    found = []
    for chain, text in _inserted(view):
        named = re.search(r'ibrname "([^"]+)"', text)
        if chain in ("bridge forward", f"bridge within-{network}") and (not named or fnmatchcase(bridge, named[1])):
            found.append(text)
    return found


def _found(view: BridgesView) -> Iterator[tuple[str, str, str]]:
    """The flows that hullproof's tables in the kernel accept; without the tables every segment reaches the others."""
    listed, inserted = known(view.reading.listed), _inserted(view)
    if not listed:
        yield from ((segment.name, ANYBODY, "no filter") for segment in view.segments)
        return
    devices = {segment.device: segment.name for segment in view.segments}
    end = r'(?:"([^"]+)"|(!= \S.*?\}|!= "[^"]+"))'
    for chain, text in _placed(listed):
        rule = re.match(rf"iifname {end}(?: oifname {end})? ?(.*?) ?accept$", text)
        if (chain, text) in inserted and chain.startswith("inet "):
            yield _routing(chain, text, devices)
        elif rule and chain in ("inet to-host", "inet between") and rule[1] != rule[3]:
            to = HOST if chain == "inet to-host" else devices.get(rule[3], WORLD)
            yield devices.get(rule[1], WORLD), to, _what(rule[5])
    for segment in view.segments:
        if _guarded(segment, view):
            texts = _joining(segment.bridge, view, segment.network)
            yield from ((segment.name, NEIGHBOURS, text) for text in texts)


def _routing(chain: str, text: str, devices: dict[str, str]) -> tuple[str, str, str]:
    """An added rule may match by anything: it is shown as it is, between the segments that it names."""
    ends = dict(re.findall(r'\b(iifname|oifname) "([^"]+)"', text))
    to = HOST if chain in ("inet input", "inet to-host") else devices.get(ends.get("oifname", ""), ANYBODY)
    return devices.get(ends.get("iifname", ""), ANYBODY), to, text


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
        lines += [f"    ├─ {leg.port} ─ {leg.behind}" for leg in seen.legs[name]]
    for flow in sorted(seen.declared | seen.found):
        lines.append(f"  {flow[0]} ──▶ {flow[1]}: {flow[2]}{_note(flow, seen)}")
    return "\n".join(clean_text(line) for line in lines)


def _note(flow: tuple[str, str, str], seen: Picture) -> str:
    if flow not in seen.found:
        return "  (declared, not found)"
    return "" if flow in seen.declared else "  (FOUND, NOT DECLARED)"


def render_mermaid(seen: Picture) -> str:
    """https://mermaid.js.org: solid as declared and found, dotted as declared only, thick as found only."""
    ids = {name: f"n{number}" for number, name in enumerate([*seen.titles, HOST, WORLD, ANYBODY, NEIGHBOURS])}
    lines = ["flowchart LR"]
    for name, title in seen.titles.items():
        lines.append(f'  subgraph {ids[name]}["{_label(f"{name} ({title})")}"]')
        for number, leg in enumerate(seen.legs[name]):
            lines.append(f'    {ids[name]}p{number}["{_label(f"{leg.port}: {leg.behind}")}"]')
        lines.append("  end")
    flows = sorted(seen.declared | seen.found)
    used = {end for flow in flows for end in flow[:2]} - set(seen.titles)
    lines += [f'  {ids[end]}(("{end}"))' for end in sorted(used)]
    for flow in flows:
        arrow = "-.->" if flow not in seen.found else "-->" if flow in seen.declared else "==>"
        lines.append(f'  {ids[flow[0]]} {arrow}|"{_label(flow[2])}"| {ids[flow[1]]}')
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """A host's text, without anything that Mermaid would read as markup."""
    return re.sub(r"[^\w .,:/()-]", "?", clean_text(text))
