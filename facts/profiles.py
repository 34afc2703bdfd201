"""What AppArmor profiles allow, as the kernel itself says of those that it has loaded."""

from __future__ import annotations

import re
from pathlib import Path

from facts.core.reading import Block

SCRIPT = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
_WRITE = 2  # MAY_WRITE (linux/fs.h), in AppArmor's masks too


def read_allowed(block: Block | None) -> dict[str, tuple[str, ...]]:
    """By profile: the paths that it lets its processes write, of those that the kernel was asked about."""
    found: dict[str, tuple[str, ...]] = {}
    for line in block.text.split("\n") if block else ():
        if row := re.fullmatch(r"(/[^ ]+) 0x([0-9a-f]{1,8}) (.+)", line):
            found[row[3]] = (*found.get(row[3], ()), *([row[1]] if int(row[2], 16) & _WRITE else []))
    return found
