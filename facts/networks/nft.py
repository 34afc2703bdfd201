"""What nft(8) lists, read line by line: a listing may be long, and somebody else's."""

from __future__ import annotations

import re


def chains(text: str) -> dict[str, tuple[str, ...]]:
    """The rules of our tables by chain, in order; of a name that both have, the inet one's."""
    text = text.replace("icmpv6 taddr", "@th,64,128")  # nft 1.1 has a name for the place, 1.0.6 has not
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
    """Of a set of device names."""
    for part in text.split(f"\tset {name} {{\n")[1:]:
        kind, _, rest = part.partition("\n\t}")[0].partition("\n")
        given = re.fullmatch(r"elements = \{([^}]*)\}", rest.strip())
        if kind.strip() == "type ifname" and (given or not rest.strip()):
            return tuple(re.findall(r'"([^"]+)"', given[1])) if given else ()
    return ()


def dropped(text: str) -> tuple[str, ...]:
    """The bridges of the rules `ibrname "NAME" … drop`, and those of the set for networks made later."""
    named = re.findall(r'^[ \t]*(?:meta )?ibrname "([^"\n]+)" .*\bdrop$', text, re.MULTILINE)
    return (*named, *(elements(text, "later") if "@later drop" in text else ()))


def guards(text: str) -> list[tuple[str, str, str]]:
    """Chains that drop what no rule of them accepts: hook, table and name."""
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
