"""Interfaces of domains, and what holds them: the bridges of libvirt's networks and its filters (nwfilter)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from facts.core.reading import Block, Jsonable

Rows = Sequence[tuple[str, str]]  # an element and what stands behind its name, in the order of the file
FILE = re.compile(r"/etc/libvirt/(qemu/networks|nwfilter)/([^/:]{1,255})\.xml:[ \t]*<([a-z]+)(.*)")
# What a filter has to be made of (libvirt.org/formatnwfilter.html), as clean-traffic is.
MOST = 100  # filters that one is made of; clean-traffic of about ten
SPOOFING = frozenset({"no-mac-spoofing", "no-ip-spoofing", "no-arp-spoofing"})


@dataclass(frozen=True)
class Interface(Jsonable):
    kind: str  # network, bridge, direct, ethernet, user, …
    source: str  # the network, the bridge or the device
    mac: str
    filter: str  # "" where it names none
    virtualport: bool  # its port is a switch's of another kind, as Open vSwitch, on which no filter of libvirt's holds


@dataclass(frozen=True)
class Network(Jsonable):
    bridge: str  # "" where it has none of its own, but devices of the host's (macvtap)
    virtualport: bool  # of all its ports


def read_interfaces(rows: Rows) -> Iterator[Interface]:
    """Of `<source>` only what an interface has: a disk's is a file."""
    begins = [number for number, (element, _) in enumerate(rows) if element == "interface"]
    for begin, end in pairwise([*begins, len(rows)]):
        own = rows[begin:end]
        yield Interface(
            kind=_first(own, "interface", "type"),
            source=_first(own, "source", "network", "bridge", "dev"),
            mac=_first(own, "mac", "address"),
            filter=_first(own, "filterref", "filter"),
            virtualport=_has(own, "virtualport"),
        )


def _has(rows: Rows, element: str) -> bool:
    return any(kind == element for kind, _ in rows)


def _first(rows: Rows, element: str, *attributes: str) -> str:
    found = (attribute(rest, name) for kind, rest in rows if kind == element for name in attributes)
    return next(filter(None, found), "")


def attribute(rest: str, name: str) -> str:
    """The value of an attribute; "" where it has none."""
    row = re.search(rf" {name}=(?:'([^']*)'|\"([^\"]*)\")", rest)
    return html.unescape(row[1] or row[2] or "") if row else ""


def read_networks(block: Block) -> dict[str, Network]:
    """By its name."""
    files = _files(block, "qemu/networks")
    named = {re.sub(r"^>|<.*", "", rest): rows for rows in files.values() for kind, rest in rows if kind == "name"}
    return {
        html.unescape(name): Network(_first(rows, "bridge", "name"), _has(rows, "virtualport"))
        for name, rows in named.items()
    }


def read_filters(block: Block) -> dict[str, tuple[str, ...]]:
    """By filter: those that it is made of."""
    found = {}
    for rows in _files(block, "nwfilter").values():
        if name := _first(rows, "filter", "name"):
            refs = (attribute(rest, "filter") for kind, rest in rows if kind == "filterref")
            found[name] = tuple(filter(None, refs))
    return found


def _files(block: Block, folder: str) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for line in block.text.split("\n"):
        if (row := FILE.fullmatch(line)) and row[1] == folder:
            found.setdefault(row[2], []).append((row[3], row[4]))
    return found


def stops_spoofing(name: str, filters: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a guest behind this filter keeps to its own addresses."""
    seen: set[str] = set()
    left = [name]
    while left and len(seen) < MOST:
        each = left.pop()
        if each not in seen:
            seen.add(each)
            left += filters.get(each, ())
    return seen & filters.keys() >= SPOOFING
