"""The filter of `bridges` as hullproof's own files on a host describe it: nft rules, and the flows of Open vSwitch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from facts.core.reading import Jsonable
from facts.networks.nft import chains


@dataclass(frozen=True)
class OwnFilter(Jsonable):
    bridges: frozenset[str]  # whose frames it filters; "lxcbr*" is every bridge with that prefix
    isolated: frozenset[str]  # those on which it decides which ports reach each other
    served: dict[str, tuple[str, ...]]  # by engine: the rules for the host's services that its guests reach
    guests: frozenset[tuple[str, str]]  # those bridges ("lxcbr*"), and the engine
    metadata: bool  # the metadata addresses are closed


NO_FILTER = OwnFilter(frozenset(), frozenset(), {}, frozenset(), False)


def read_own_filter(nft: str, flows: str = "") -> OwnFilter:
    """`nft`: the rules file, or a listing of the tables; `flows`: the script that loads those of Open vSwitch."""
    rows = {place.partition(" ")[2]: found for place, found in chains(nft).items()}
    named = re.findall(r'^[ \t]*meta ibrname "([^"\n]+)" (?:drop|jump|goto)', nft, re.MULTILINE)
    switches = re.findall(r"^flows (\S+) <<", flows, re.MULTILINE)
    return OwnFilter(
        bridges=frozenset([*named, *switches]),
        isolated=frozenset(re.findall(r'^[ \t]*meta ibrname "([^"\n]+)" (?:drop|goto within-\S+)$', nft, re.MULTILINE)),
        served={name.removeprefix("served-"): found for name, found in rows.items() if name.startswith("served-")},
        guests=frozenset(re.findall(r'^[ \t]*iifname "([^"\n]+\*)" goto served-(\S+)$', nft, re.MULTILINE)),
        metadata="metadata" in rows or "169.254.169.254" in flows or _closes(rows),
    )


def _closes(rows: Mapping[str, Sequence[str]]) -> bool:
    """As earlier versions did, in the chains of each network."""
    return any("169.254.169.254" in row and row.endswith("drop") for chain in rows.values() for row in chain)
