"""Beside a firewalld that empties iptables with each reload: our chain there as firewalld's own "direct" rules.

So does firewalld before 2.0, and any with its iptables backend or with direct rules. Docker hears of a reload and puts
its rules back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deploys.bridges.rules import HOST, WORLD, BridgesRules, segments
from facts.core.reading import known
from facts.networks.bridges import FIREWALLD_DIRECT, BridgesReading
from facts.networks.forward import Filter
from facts.networks.networks import NetworksReading

CHAIN = "HULLPROOF-BRIDGES"
EMPTY = '<?xml version="1.0" encoding="utf-8"?>\n<direct>\n</direct>\n'
# Rules that Docker makes again: in its own chains but the one for users' rules, and in FORWARD.
BRIDGE = "(?:docker0|docker_gwbridge|br-[0-9a-f]{12})"
RETURNING = re.compile(
    rf"-A (?:DOCKER(?!-USER)\S*|{CHAIN}) .*|-A DOCKER-USER -j RETURN|-A FORWARD (?:-j (?:DOCKER\S*|{CHAIN})|"
    rf"-o {BRIDGE} (?:-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT|-j DOCKER)|"
    rf"-i {BRIDGE} (?:! )?-o {BRIDGE} -j (?:ACCEPT|DROP))"
)
Pair = tuple[str, str]  # devices: where it comes in, where it goes out


def empties_iptables(reading: BridgesReading, networks: NetworksReading) -> bool:
    if "firewalld" not in known(networks.firewalls):
        return False
    if known(reading.firewalld) is None:
        return True
    direct = re.search(r"<(?:rule|chain|passthrough)\b", known(reading.files.get(FIREWALLD_DIRECT)) or "")
    return bool(direct) or not re.match(r"(?:\d+:)?([2-9]|\d\d)\.", known(reading.firewalld_version))


def pairs(rules: BridgesRules, outwards: Iterable[str]) -> set[Pair]:
    """Between which devices connections are begun that our own tables let pass; `outwards` lead to the world."""
    ends = {segment.name: (segment.device,) for segment in segments(rules)} | {WORLD: tuple(outwards)}
    flows = [flow for flow in rules.allow if flow.to != HOST]
    within = {(net.bridge, net.bridge) for net in rules.networks.values() if net.switch == "linux"}
    return within | {(one, other) for flow in flows for one in ends[flow.from_] for other in ends[flow.to]}


def rows(pairs: Iterable[Pair]) -> Iterator[str]:
    """As firewalld writes them: firewalld.direct(5)."""
    for version in ("ipv4", "ipv6"):
        place = f'ipv="{version}" table="filter"'
        yield f'  <chain {place} chain="{CHAIN}"/>'
        yield f'  <rule {place} chain="FORWARD" priority="0">-j {CHAIN}</rule>'
        for one, other in sorted(pairs):
            head = f'  <rule {place} chain="{CHAIN}" priority="0">'
            yield f"{head}-i {one} -o {other} -j ACCEPT</rule>"
            yield f"{head}-i {other} -o {one} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT</rule>"


def ours(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if CHAIN in line]


def moved(reading: BridgesReading, wanted: Iterable[str]) -> bool:
    """Whether our rules on disk are others; firewalld itself may write the file anew, in an order of its own."""
    return set(ours(known(reading.files.get(FIREWALLD_DIRECT)))) != {row.strip() for row in wanted}


def merged(text: str | None, wanted: Iterable[str]) -> str | None:
    """The file with our rules among those of others; None where it cannot be told where they would go."""
    lines = [line for line in (text or EMPTY).splitlines() if CHAIN not in line]
    ends = [number for number, line in enumerate(lines) if line.strip() == "</direct>"]
    if len(ends) != 1:
        return None
    return "\n".join([*lines[: ends[0]], *wanted, *lines[ends[0] :], ""])


def lost(networks: NetworksReading) -> list[str]:
    """Rules in iptables that a reload would take away, and that nobody would put back."""
    tables: list[Filter | None] = [known(networks.filter4), known(networks.filter6)]
    return [rule for table in tables if table for rule in table.rules if not RETURNING.fullmatch(rule)]
