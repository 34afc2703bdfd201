"""What nft(8) lists, read line by line: a listing may be long, and not hullproof's own."""

from __future__ import annotations

import re


def chains(text: str) -> dict[str, tuple[str, ...]]:
    """The lines of each chain of a table that is in force, in order: "inet input" -> its head and its rules."""
    found: dict[str, tuple[str, ...]] = {}
    family, dormant, name, rows = "", False, "", list[str]()
    for line in text.split("\n"):
        if name and line.startswith("\t}"):
            found |= {} if dormant else {f"{family} {name}": tuple(filter(None, rows))}
            name = ""
        elif name:
            rows.append(line.strip())
        elif opened := re.fullmatch(r"\tchain (\S+) \{", line):
            name, rows = opened[1], []
        elif opened := re.match(r"table (\S+) \S+ \{", line):
            family, dormant = opened[1], False
        elif re.match(r"\tflags .*\bdormant\b", line):
            dormant = True
    return found


def dormant(text: str) -> tuple[str, ...]:
    """The families of tables whose rules the kernel does not apply."""
    head = r"^table (\S+) \S+ \{\n(?:\t[^\n]*\n)?\tflags [^\n]*\bdormant\b"
    return tuple(re.findall(head, text, re.MULTILINE))


def elements(text: str, name: str) -> tuple[str, ...]:
    """The elements of a set of device names."""
    for part in text.split(f"\tset {name} {{\n")[1:]:
        kind, _, rest = part.partition("\n\t}")[0].partition("\n")
        given = re.fullmatch(r"elements = \{([^}]*)\}", rest.strip())
        if kind.strip() == "type ifname" and (given or not rest.strip()):
            return tuple(re.findall(r'"([^"]+)"', given[1])) if given else ()
    return ()


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
