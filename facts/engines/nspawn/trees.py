"""What machines have in /var/lib/machines: whose it is, and whether mounts of it can have other ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from facts.core.reading import Block, Jsonable, Section

# File systems as stat(1) calls them, and the release of Linux from which on they can (mount_setattr(2)).
MAPPED: Mapping[str, tuple[int, int]] = {"ext2/ext3": (5, 12), "xfs": (5, 12), "btrfs": (5, 15), "tmpfs": (6, 3)}


@dataclass(frozen=True)
class Tree(Jsonable):
    machine: str
    path: str
    owner: int  # the id whose its root is
    mapped: bool  # of an image it is not known


def read_trees(section: Section) -> Iterator[Tree]:
    kernel = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", section.blocks.get("kernel", Block(1, "")).text)
    release = (int(kernel[1]), int(kernel[2])) if kernel else (0, 0)
    systems = {path: name for name, path in _rows(section, "file systems")}
    for owner, path in _rows(section, "owners"):
        if re.fullmatch("[0-9]{1,10}", owner):
            least = MAPPED.get(systems.get(path, ""))
            mapped = not path.endswith(".raw") and least is not None and release >= least
            whole = path.rstrip("/")
            yield Tree(whole.rpartition("/")[2].removesuffix(".raw"), whole, int(owner), mapped)


def _rows(section: Section, name: str) -> Iterator[tuple[str, str]]:
    for line in section.blocks.get(name, Block(1, "")).text.split("\n"):
        word, _, path = line.partition(" ")
        if path.startswith("/"):
            yield word, path
