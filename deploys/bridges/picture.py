"""A host's networks as a small picture: who is where and who reaches whom, as declared and as found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from deploys.bridges.drift import containers_of, ports_of
from deploys.bridges.rules import HOST, WORLD, BridgesRules, Segment, segments
from deploys.core.text import clean_text
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.networks.bridges import Bridges, BridgesReading, Device
from facts.networks.networks import Networks, NetworksReading

ANYBODY, NEIGHBOURS = "anybody", "its neighbours"
# What returns from a chain of ours has passed: the hook's policy is to accept.
PASSES = re.compile(r'\b(accept|return)( comment ".*")?$')


@dataclass(frozen=True)
class Leg:
    """A port of a segment, and who is behind it."""

    port: str
    who: str
    isolated: bool

    @property
    def behind(self) -> str:
        return self.who if self.isolated else f"{self.who}, meets its neighbours"


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
    legs = {}
    for segment in parts:
        ports = ports_of(segment, reading, networks)
        apart = _apart(ports, segment, rules, reading)
        legs[segment.name] = tuple(Leg(port.name, _behind(port, names), apart) for port in ports)
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
    guards = re.findall(r'ibrname "([^"\n]+)\*" drop', "\n".join(known(reading.listed)))
    guarded = bridge.startswith(tuple(guards)) and not _joining(bridge, reading)
    return guarded or networks.drops(bridge) or bool(port.port and port.port.isolated)


def _apart(ports: list[Device], segment: Segment, rules: BridgesRules, reading: BridgesReading) -> bool:
    """By our filter, which also knows ports that only joined; by the flows of a switch; by the kernel's own flag where
    all have it, since a port that has it meets one that has not."""
    network = rules.networks[segment.network]
    if segment.switched:
        there = reading.switch(segment.bridge)
        ours = there is not None and known(there.flows) is not None and known(there.flows) == known(there.loaded)
        return ours and network.isolate == "ports"
    filtered = _guarded(segment, reading) and not _joining(segment.bridge, reading, segment.network)
    return (filtered and network.isolate == "ports") or all(
        port.port and port.port.isolated for port in ports if port.name != network.uplink
    )


def _guarded(segment: Segment, reading: BridgesReading) -> bool:
    guard = f'ibrname "{segment.bridge}" goto within-{segment.network}'
    return any(guard in line for line in known(reading.listed))


def _placed(lines: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every line with the chain that it is in, such as `inet between`."""
    place = {"table": "", "chain": ""}
    for line in lines:
        if opened := re.match(r"\s*(table|chain) (\S+)", line):
            place[opened[1]] = opened[2]
        yield f"{place['table']} {place['chain']}", line.strip()


def _inserted(reading: BridgesReading) -> list[tuple[str, str]]:
    """Rules that let something pass, and that were not there when our unit loaded the tables."""
    if not isinstance(reading.loaded, tuple):
        return []
    loaded = set(_placed(reading.loaded))
    return [row for row in _placed(known(reading.listed)) if row not in loaded and PASSES.search(row[1])]


def _joining(bridge: str, reading: BridgesReading, network: str = "") -> list[str]:
    """Inserted rules by which the ports of a bridge meet."""
    found = []
    for chain, text in _inserted(reading):
        named = re.search(r'ibrname "([^"]+)"', text)
        if chain in ("bridge forward", f"bridge within-{network}") and (not named or fnmatchcase(bridge, named[1])):
            found.append(text)
    return found


def _found(parts: tuple[Segment, ...], reading: BridgesReading) -> Iterator[tuple[str, str, str]]:
    """The flows that our tables in the kernel let pass; without them nothing keeps segments from each other."""
    listed, inserted = known(reading.listed), _inserted(reading)
    if not listed:
        yield from ((segment.name, ANYBODY, "no filter") for segment in parts)
        return
    devices = {segment.device: segment.name for segment in parts}
    end = r'(?:"([^"]+)"|(!= \S.*?\}|!= "[^"]+"))'
    for chain, text in _placed(listed):
        rule = re.match(rf"iifname {end}(?: oifname {end})? ?(.*?) ?accept$", text)
        if (chain, text) in inserted and chain.startswith("inet "):
            yield _routing(chain, text, devices)
        elif rule and chain in ("inet to-host", "inet between") and rule[1] != rule[3]:
            to = HOST if chain == "inet to-host" else devices.get(rule[3], WORLD)
            yield devices.get(rule[1], WORLD), to, _what(rule[5])
    for segment in parts:
        if _guarded(segment, reading):
            texts = _joining(segment.bridge, reading, segment.network)
            yield from ((segment.name, NEIGHBOURS, text) for text in texts)


def _routing(chain: str, text: str, devices: dict[str, str]) -> tuple[str, str, str]:
    """An inserted rule may match by anything: it is shown as it is, between the segments that it names."""
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
        lines += [f'    {ids[name]}p{number}["{_label(f"{leg.port}: {leg.behind}")}"]'
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
    return re.sub(r"[^\w .,:/()-]", "?", clean_text(text))
