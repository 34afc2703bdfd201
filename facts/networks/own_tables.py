"""hullproof's own tables of `networks`: as its rules file describes them, and as the kernel has them.

nft prints rules in words that change with its version. So whatever loads the file keeps a copy of it, and what nft
printed right after that: a rule that nft still prints so is the rule of the file, and is read in the file's words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from facts.core.reading import Jsonable
from facts.networks.nft import chains

PRINTED = "# nft printed:"  # between the two
BETWEEN, ROUTED = "bridge forward", "inet forward"  # the chains that keep containers apart
HEADS = {BETWEEN: "type filter hook forward priority 0; policy accept;",
         ROUTED: "type filter hook forward priority -1; policy accept;"}  # fmt: skip
RULES = {
    BETWEEN: re.compile(r'meta ibrname (?:"([^"]+)" (?:accept|drop)|@later drop)'),
    ROUTED: re.compile(
        r'iifname "([^"]+)" oifname "\1" (?:accept|drop|ct status dnat accept)'
        r"|iifname \. oifname @later (?:drop|ct status dnat accept)"
    ),
}

Rows = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class OwnTables(Jsonable):
    """hullproof's tables of `networks`, as its rules file describes them."""

    apart: frozenset[str]  # bridges on which containers do not reach each other
    spared: frozenset[str]  # bridges that are left open by name
    chains: dict[str, tuple[str, ...]]  # the rules of each chain


def read_own_tables(text: str) -> OwnTables:
    named = re.findall(r'^[ \t]*meta ibrname "([^"\n]+)" (drop|accept)$', text, re.MULTILINE)
    return OwnTables(
        apart=frozenset(bridge for bridge, verdict in named if verdict == "drop"),
        spared=frozenset(bridge for bridge, verdict in named if verdict == "accept"),
        chains=chains(text),
    )


def in_own_words(listed: str, kept: str) -> dict[str, tuple[str, ...]]:
    """The rules of each chain as nft lists them, those of the file in its words; the chain's head is the first."""
    file, _, printed = kept.partition(PRINTED)
    own, then = chains(file), chains(printed)
    words = {
        place: dict(zip(then[place], rows, strict=True))
        for place, rows in own.items()
        if len(then.get(place, ())) == len(rows)
    }
    return {place: tuple(words.get(place, {}).get(row, row) for row in rows) for place, rows in chains(listed).items()}


def stranger(place: str, rows: Rows) -> str:
    """What is in one of the chains that keep containers apart, and not hullproof's; "" for nothing."""
    head, *rest = rows.get(place, ("",))
    return next((row for row in rest if not RULES[place].fullmatch(row)), "" if head == HEADS[place] else head)


def opening(bridge: str, rows: Mapping[str, Collection[str]]) -> str:
    """The rule that accepts what stays on the bridge; "" for none. For many bridges the rules come as sets."""
    wanted = {BETWEEN: f'meta ibrname "{bridge}" accept', ROUTED: f'iifname "{bridge}" oifname "{bridge}" accept'}
    return next((row for place, row in wanted.items() if row in rows.get(place, ())), "")


def isolated(rows: Rows, later: Collection[str]) -> frozenset[str]:
    """The bridges on which the tables keep containers apart; `later`: those that udev has added to them."""
    if any(place not in rows or stranger(place, rows) for place in HEADS):
        return frozenset()
    between, routed = (_dropped(rows[place], later) for place in (BETWEEN, ROUTED))
    sets = {place: frozenset(rows[place]) for place in HEADS}
    return frozenset(bridge for bridge in between & routed if not opening(bridge, sets))


def _dropped(rows: tuple[str, ...], later: Collection[str]) -> set[str]:
    named = {name[1] for row in rows if row.endswith(" drop") and (name := re.search('"(.+?)"', row))}
    return named | set(later if any(row.endswith("@later drop") for row in rows) else ())
