"""Findings as the report has them: cleaned, and one object for all hosts of which the very same is said.

Most findings of a fleet are the same on most of its hosts: what was made of one is kept, up to a limit, which saves the
time to clean it again and the memory to hold it for each host. Rows are shared, so nobody changes one.
"""

from __future__ import annotations

import marshal
from typing import Any

from deploys.core.control import Control, Finding
from deploys.core.text import clean

KEPT = 10_000  # rows
KEY = 2_000  # bytes; what is longer is seldom the same on two hosts

# By the control itself, which each entry holds so that its id stays its own.
_rows: dict[tuple[int, bytes], tuple[Control, dict[str, Any]]] = {}


def row(finding: Finding) -> dict[str, Any]:
    """The finding's row of the report. It may be another host's too: not to be changed."""
    verdict = finding.verdict
    said = (
        verdict.state.value, verdict.reason, verdict.declared, verdict.disk, verdict.live, finding.next, finding.drift,
    )  # fmt: skip
    try:
        # By types too, where 1 == True; version 2 has no references, by which the same value is written otherwise.
        key = (id(finding.control), marshal.dumps(said, 2))
    except ValueError:  # a dataclass, an enum: no plain value
        return _cleaned(finding)
    if kept := _rows.get(key):
        return kept[1]
    made = _cleaned(finding)
    if len(key[1]) <= KEY:
        if len(_rows) >= KEPT:
            _rows.clear()
        _rows[key] = finding.control, made
    return made


def _cleaned(finding: Finding) -> dict[str, Any]:
    cleaned: dict[str, Any] = clean(finding.to_json())
    return cleaned
