"""What nft(8) lists, read line by line: a listing may be long, and not hullproof's own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from facts.core.reading import Jsonable


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


def chains(text: str) -> dict[str, tuple[str, ...]]:
    """The rules of hullproof's tables by chain, in order; where both tables have a chain of a name, the inet one's."""
    text = text.replace("icmpv6 taddr", "@th,64,128")  # nft 1.1 prints a name for this offset, 1.0.6 does not
    found: dict[str, tuple[str, ...]] = {}
    name, rows = "", list[str]()
    for line in text.split("\n"):
        if name and line.startswith("\t}"):
            found[name] = tuple(row for row in rows if row and not row.startswith("type "))
            name = ""
        elif name:
            rows.append(line.strip())
        elif opened := re.fullmatch(r"\tchain (\S+) \{", line):
            name, rows = opened[1], []
    return found


def elements(text: str, name: str) -> tuple[str, ...]:
    """The elements of a set of device names."""
    for part in text.split(f"\tset {name} {{\n")[1:]:
        kind, _, rest = part.partition("\n\t}")[0].partition("\n")
        given = re.fullmatch(r"elements = \{([^}]*)\}", rest.strip())
        if kind.strip() == "type ifname" and (given or not rest.strip()):
            return tuple(re.findall(r'"([^"]+)"', given[1])) if given else ()
    return ()


def dropped(text: str) -> tuple[str, ...]:
    """The bridges of the rules `ibrname "NAME" … drop`, and those of the set for networks created later."""
    named = re.findall(r'^[ \t]*(?:meta )?ibrname "([^"\n]+)" .*\bdrop$', text, re.MULTILINE)
    return (*named, *(elements(text, "later") if "@later drop" in text else ()))


def guards(text: str) -> list[tuple[str, str, str]]:
    """Chains with a policy of drop: hook, table and name."""
    found: list[tuple[str, str, str]] = []
    for part in re.split(r"^table ", text, flags=re.MULTILINE)[1:]:
        table = " ".join(part.partition("\n")[0].split()[:2])
        rows = re.findall(
            r"^[ \t]*chain (\S+) \{\n[ \t]*type filter hook (input|forward) priority [^;\n]*; policy drop;",
            part,
            re.MULTILINE,
        )
        found += [(hook, table, chain) for chain, hook in rows]
    return found
