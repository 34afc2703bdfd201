"""hullproof's iptables chain as "direct" rules of firewalld, for a firewalld whose reload empties iptables.

That is firewalld before 2.0, and any version with its iptables backend or with direct rules. Docker notices a reload
and restores its own rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deploys.bridges.rules import HOST, WORLD, BridgesRules, segments
from deploys.bridges.view import BridgesView
from facts.core.reading import known
from facts.networks.bridges import FIREWALLD_DIRECT
from facts.networks.forward import Filter
from facts.networks.networks import NetworksReading

CHAIN = "HULLPROOF-BRIDGES"
EMPTY = '<?xml version="1.0" encoding="utf-8"?>\n<direct>\n</direct>\n'
# Rules that Docker restores: in its own chains except the one for users' rules, and in FORWARD.
BRIDGE = "(?:docker0|docker_gwbridge|br-[0-9a-f]{12})"
RETURNING = re.compile(
    rf"-A (?:DOCKER(?!-USER)\S*|{CHAIN}) .*|-A DOCKER-USER -j RETURN|-A FORWARD (?:-j (?:DOCKER\S*|{CHAIN})|"
    rf"-o {BRIDGE} (?:-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT|-j DOCKER)|"
    rf"-i {BRIDGE} (?:! )?-o {BRIDGE} -j (?:ACCEPT|DROP))"
)
Pair = tuple[str, str]  # the devices by which a packet comes in and goes out


def runs(networks: NetworksReading) -> bool:
    return "firewalld" in known(networks.firewalls)


def empties_iptables(view: BridgesView) -> bool:
    if not runs(view.networks):
        return False
    if known(view.reading.firewalld) is None:
        return True
    direct = re.search(r"<(?:rule|chain|passthrough)\b", view.file(FIREWALLD_DIRECT) or "")
    return bool(direct) or not re.match(r"(?:\d+:)?([2-9]|\d\d)\.", known(view.reading.firewalld_version))


def pairs(rules: BridgesRules, outwards: Iterable[str]) -> set[Pair]:
    """The devices between which hullproof's nft tables accept new connections; `outwards` lead to the world."""
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


def own_rows(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if CHAIN in line]


def differs(view: BridgesView, wanted: Iterable[str]) -> bool:
    """Whether hullproof's rules on disk are not the wanted ones; firewalld may rewrite the file in another order."""
    return set(own_rows(view.file(FIREWALLD_DIRECT))) != {row.strip() for row in wanted}


def merged(text: str | None, wanted: Iterable[str]) -> str | None:
    """The file with hullproof's rules among those of others; None where it does not end as it should."""
    lines = [line for line in (text or EMPTY).splitlines() if CHAIN not in line]
    ends = [number for number, line in enumerate(lines) if line.strip() == "</direct>"]
    if len(ends) != 1:
        return None
    return "\n".join([*lines[: ends[0]], *wanted, *lines[ends[0] :], ""])


def lost(networks: NetworksReading) -> list[str]:
    """iptables rules that a reload would delete for good."""
    tables: list[Filter | None] = [known(networks.filter4), known(networks.filter6)]
    return [rule for table in tables if table for rule in table.rules if not RETURNING.fullmatch(rule)]
