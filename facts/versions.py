"""Package versions in order, as dpkg(1) compares them; for kernel packages rpm's own order is the same."""

from __future__ import annotations

import re
from functools import cmp_to_key
from itertools import zip_longest
from typing import Any


def compare_versions(one: str, other: str) -> int:
    """Below, above or equal to 0 as `one` is older than, newer than or the same version as `other`."""
    for a, b in zip(_parts(one), _parts(other), strict=True):
        if difference := _compare(a, b):
            return difference
    return 0


version_key: Any = cmp_to_key(compare_versions)


def _parts(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version, revision: deb-version(7)."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-")
    return (epoch, upstream or revision, revision if upstream else "0")


def _compare(one: str, other: str) -> int:
    """Runs of non-digits and of digits in turn."""
    pieces = zip_longest(re.findall(r"(\D*)(\d*)", one), re.findall(r"(\D*)(\d*)", other), fillvalue=("", ""))
    for (text, number), (text2, number2) in pieces:
        weights, weights2 = _weights(text), _weights(text2)
        if weights != weights2:
            return -1 if weights < weights2 else 1
        if int(number or 0) != int(number2 or 0):
            return int(number or 0) - int(number2 or 0)
    return 0


def _weights(text: str) -> list[int]:
    """`~` before the end, the end before letters, letters before everything else."""
    return [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in text] + [0]
