"""Root's containers of LXC, running or not: what their own files give them, with what these include."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from facts.core.reading import Jsonable, Section, Unknown, attempt, known
from facts.lxc_files import MOST, Line, Texts, adding, counting, expanded, read_texts, settled

PATH = re.compile(r"/[^:\s]{1,4000}/[^:/\s]{1,255}/config")
JUDGED = re.compile(r"lxc\.(include|idmap|seccomp\.profile|cap\.(drop|keep)|start\.auto)\s*=")  # as lxc.sh has it
MOST_OF_ONE = 1_000  # lines of a container, with what it includes


@dataclass(frozen=True)
class Made(Jsonable):
    """A container that has been made. Of its lines there are those of the keys that are judged."""

    name: str
    path: str  # its own file
    lines: tuple[Line, ...] | Unknown  # in the order in which they count, included ones too

    def all(self, key: str) -> list[Line]:
        return adding(known(self.lines), key)

    def last(self, key: str) -> Line | None:
        return counting(known(self.lines), key)

    @property
    def starts(self) -> bool:
        """Whether lxc.service starts it at boot."""
        line = self.last("lxc.start.auto")
        return line is not None and line.value == "1"


def read_made(section: Section, texts: Texts, included: frozenset[str]) -> tuple[Made, ...] | Unknown:
    """`texts`: of what is included. All of them together may have MOST lines."""
    paths = section.text("configs") if "configs" in section.blocks else ""
    if isinstance(paths, Unknown):
        return paths
    both = Texts({**_judged(texts), **read_texts(section.blocks.get("made"))})
    left = iter(range(MOST))
    return tuple(_made(both, path, included, left) for path in paths.split("\n") if path)


def _judged(texts: Texts) -> Texts:
    return Texts({path: [row for row in rows if JUDGED.match(row[1])] for path, rows in texts.items()})


def _made(texts: Texts, path: str, included: frozenset[str], left: Iterator[int]) -> Made:
    if not PATH.fullmatch(path):  # blanks and colons are what separates paths
        return Made(
            path.removesuffix("/config").rpartition("/")[2][:255], path[:4096], Unknown("its path cannot be read")
        )
    lines = attempt(path, lambda: settled(tuple(expanded(texts, path, islice(left, MOST_OF_ONE))), included))
    return Made(path.split("/")[-2], path, lines)
