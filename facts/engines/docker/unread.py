"""Files of Docker's units that systemd has not read again since they were changed, and that the next boot reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from facts.core.reading import Section
from facts.engines.docker.shapes import Unread


def read_unread(section: Section, units: Iterable[str]) -> Unread | None:
    """By grep's lines of the files as they are now."""
    names = tuple(units)
    if not names:
        return None
    lines = list(_lines(section))
    tcp = [f"{file}: {line}" for file, line in lines if re.search(r"tcp://|-H[ =]?:\d|--host[ =]:\d|" + STREAM, line)]
    modes = [f"{file}: {line}" for file, line in lines if re.match(r"SocketMode=", line)]
    return Unread(names, tuple(tcp), tuple(modes))


STREAM = r"^ListenStream=[^/@\s%]"  # an address, not a path


def _lines(section: Section) -> Iterator[tuple[str, str]]:
    block = section.blocks.get("unread")
    for line in block.text.splitlines() if block else ():
        file, colon, rest = line.partition(":")
        if colon and file.startswith("/"):
            yield file, rest.strip()
