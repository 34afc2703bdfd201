"""What filters of tc(8) pass from one device to another, before a bridge or a firewall has seen it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from facts.core.reading import Jsonable, Section, Unknown

BLOCK = "tc "  # followed by the device and where its filters are: "tc veth1 ingress"


@dataclass(frozen=True)
class Redirect(Jsonable):
    """`to`: the other device; "" for a BPF program, which may pass frames to any."""

    device: str
    where: str  # ingress: what comes in by the device; egress or root: what leaves by it
    to: str


def read_redirects(section: Section) -> tuple[Redirect, ...] | Unknown:
    listed = section.text("qdiscs")
    if isinstance(listed, Unknown):
        return listed
    found: list[Redirect] = []
    for name, block in section.blocks.items():
        if not name.startswith(BLOCK):
            continue
        if block.status != 0:
            return Unknown(f"{name}: {block.complaint}")
        device, _, where = name.removeprefix(BLOCK).rpartition(" ")
        targets = re.findall(r"\bmirred \(\w+ \w+ to device ([^\s)]+)\)", block.text)
        targets += [""] if re.search(r"^filter .* bpf ", block.text, re.MULTILINE) else []
        found += [Redirect(device, where, to) for to in dict.fromkeys(targets)]
    return tuple(found)
