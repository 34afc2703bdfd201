"""The text of a domain's file with what a policy wants of it: as libvirt itself writes it, an element a line. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from deploys.userns.ranges import SIZE

OS, OS_END = "  <os>", "  </os>"
FEATURES = "  <features>"


def with_ids(text: str, start: int) -> str:
    """Root in it is the user `start` of the host."""
    maps = [f"    <{kind} start='0' target='{start}' count='{SIZE}'/>" for kind in ("uid", "gid")]
    lines = text.split("\n")
    at = _only(lines, OS)
    return "\n".join([*lines[:at], "  <idmap>", *maps, "  </idmap>", *lines[at:]])


def without(text: str, capabilities: Collection[str]) -> str:
    """It gets none of these capabilities. Whatever its file says of others stays."""
    names = [name.lower() for name in capabilities]
    lines = _with_block(text.split("\n"))
    begin = next(number for number, line in enumerate(lines) if line.startswith("    <capabilities"))
    end = _only(lines, "    </capabilities>")
    off = [f"      <{name} state='off'/>" for name in names]
    stay = [line for line in lines[begin + 1 : end] if not _names(line, names)]
    return "\n".join([*lines[: begin + 1], *stay, *off, *lines[end:]])


def with_filters(text: str, macs: Collection[str], name: str) -> str:
    """Its interfaces with these addresses are filtered by that filter of libvirt's."""
    done: list[str] = []
    ours = filtered = False
    for line in text.split("\n"):
        if line.startswith("    <interface "):
            ours = filtered = False
        ours = ours or any(line == f"      <mac address='{mac}'/>" for mac in macs)
        filtered = filtered or line.startswith("      <filterref ")
        if line == "    </interface>" and ours and not filtered:
            done.append(f"      <filterref filter='{name}'/>")
        done.append(line)
    return "\n".join(done)


def _with_block(lines: list[str]) -> list[str]:
    """The lines with an element `capabilities` that can hold others."""
    for number, line in enumerate(lines):
        if row := re.fullmatch(r"(    <capabilities[^/>]*)/>", line):
            return [*lines[:number], f"{row[1]}>", "    </capabilities>", *lines[number + 1 :]]
        if line.startswith("    <capabilities"):
            return lines
    block = ["    <capabilities policy='default'>", "    </capabilities>"]
    if FEATURES in lines:
        at = _only(lines, FEATURES) + 1
        return [*lines[:at], *block, *lines[at:]]
    at = _only(lines, OS_END) + 1
    return [*lines[:at], FEATURES, *block, "  </features>", *lines[at:]]


def _names(line: str, names: Iterable[str]) -> bool:
    return any(line.startswith(f"      <{name} ") for name in names)


def _only(lines: list[str], line: str) -> int:
    """Where this line is, if it is there once; else ValueError."""
    if lines.count(line) != 1:
        raise ValueError(f"its file is not as libvirt writes it: no single line {line.strip()}")
    return lines.index(line)
