"""Loaded modules: those without an accepted signature, and those that the root file system needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from facts.core.reading import Jsonable, Section, Unknown

SCRIPT = """
run modules cut -d ' ' -f 1,4,7 /proc/modules
root_mounts() {
  while read -r id parent device root at rest; do [ "$at" != / ] || echo "$rest"; done </proc/self/mountinfo
}
run root root_mounts
"""


@dataclass(frozen=True)
class Root(Jsonable):
    """What the root file system is, and the loaded modules that it needs for that: its own and those under it."""

    kind: str  # ext4, zfs …
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Modules(Jsonable):
    taints: (
        Mapping[str, str] | Unknown
    )  # loaded modules that taint the kernel -> its letters: "POE", as in /proc/modules
    root: Root | Unknown

    @property
    def unsigned(self) -> tuple[str, ...] | Unknown:
        """Those without a signature that this kernel accepts (E), which it would reject under lockdown."""
        if isinstance(self.taints, Unknown):
            return self.taints
        return tuple(sorted(name for name, letters in self.taints.items() if "E" in letters))


NOT_ASKED = Modules(Unknown("not asked"), Unknown("not asked"))


def parse(section: Section) -> Modules:
    text = section.text("modules")
    if isinstance(text, Unknown):
        return Modules(text, text)
    rows = [line.split() for line in text.splitlines() if line.split()]
    taints = {row[0]: letters[1] for row in rows if (letters := re.fullmatch(r"\(([A-Z]+)[+-]?\)", row[-1]))}
    return Modules(taints, _root(section, {row[0]: row[1].split(",") if len(row) > 1 else [] for row in rows}))


def _root(section: Section, users: Mapping[str, list[str]]) -> Root | Unknown:
    """`users`: by module, those that use it."""
    text = section.text("root")
    if isinstance(text, Unknown):
        return text
    kinds = re.findall(r" - (\S+) \S+ \S+$", text, re.MULTILINE)
    if not kinds:
        return Unknown("/proc/self/mountinfo does not show what the root file system is")
    needed = {kinds[-1]} & set(users)  # the last one mounted there is on top
    while more := {name for name, by in users.items() if needed & set(by)} - needed:
        needed |= more
    return Root(kinds[-1], tuple(sorted(needed)))
