"""Package versions in order, as dpkg(1) compares them; for kernel packages rpm's own order is the same."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

Piece = tuple[list[int], int]
END: Piece = ([0], 0)


def compare_versions(one: str, other: str) -> int:
    """Below, above or equal to 0 as `one` is older than, newer than or the same version as `other`."""
    a, b = version_key(one), version_key(other)
    return int(a > b) - int(a < b)


@lru_cache(maxsize=10_000)
def version_key(version: str) -> Any:
    """What sorts versions: of epoch, upstream version and revision their pieces, deb-version(7)."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-")
    return _pieces(epoch), _pieces(upstream or revision), _pieces(revision if upstream else "0")


def _pieces(text: str) -> list[Piece]:
    """Runs of non-digits and of digits in turn. What is not there equals the end, so ends are not counted."""
    found = [(_weights(letters), int(digits or 0)) for letters, digits in re.findall(r"(\D*)(\d*)", text)]
    while len(found) > 1 and found[-1] == END:
        found.pop()
    return [*found, END]


def _weights(text: str) -> list[int]:
    """`~` before the end, the end before letters, letters before everything else."""
    return [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in text] + [0]
