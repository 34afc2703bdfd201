"""Files of Docker's units that systemd has not read again since they were changed, and that the next boot reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from facts.core.reading import Section
from facts.engines.docker.shapes import Unread

TCP = re.compile(r"tcp://|-H[ =]?:\d|--host[ =]:\d")
ADDRESS = re.compile(r"[^/@\s%]")  # a port or an address, not a path

Line = tuple[str, str, str]  # file, name and value


def read_unread(section: Section, units: Iterable[str]) -> Unread | None:
    """By grep's lines of the files as they are now."""
    names = tuple(units)
    if not names:
        return None
    lines = sorted(_lines(section), key=lambda line: (".d/" in line[0], line[0].rpartition("/")[2]))
    commands, streams = _kept(lines, "ExecStart"), _kept(lines, "ListenStream")
    given = [*commands, *(line for line in lines if line[1] == "Environment")]
    tcp = [line for line in given if TCP.search(line[2])] + [line for line in streams if ADDRESS.match(line[2])]
    modes = [line for line in lines if line[1] == "SocketMode"][-1:]
    return Unread(names, tuple(f"{file} ({name}=)" for file, name, _ in tcp), tuple(map(_whole, modes)))


def _whole(line: Line) -> str:
    file, name, value = line
    return f"{file} ({name}={value})"


def _kept(lines: Iterable[Line], name: str) -> list[Line]:
    """What is left of a list, which an empty value clears."""
    kept: list[Line] = []
    for line in lines:
        if line[1] == name:
            kept = [*kept, line] if line[2] else []
    return kept


def _lines(section: Section) -> Iterator[Line]:
    """In a unit's file before those of its folder, which systemd(1) reads by their names."""
    block = section.blocks.get("unread")
    for text in block.text.splitlines() if block else ():
        if match := re.fullmatch(r"(/[^:]+):\s*(\w+)\s*=\s*(.*?)\s*", text):
            yield match[1], match[2], match[3]
