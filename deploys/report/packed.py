"""The report of a part, as it goes to whoever puts the parts together: each finding once, however many hosts have it.

{"rows": [a finding as JSON text, ...], "report": the report, in which a host's findings are numbers of rows}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KEPT = 100_000  # rows that several parts may have

_known: dict[str, dict[str, Any]] = {}


def pack(report: Mapping[str, Any]) -> bytes:
    """The report in its packed form."""
    numbers: dict[str, int] = {}
    of_object: dict[int, int] = {}  # a finding that hosts share is one object: it becomes text once

    def number(finding: Mapping[str, Any]) -> int:
        if (known := of_object.get(id(finding))) is None:
            text = json.dumps(finding, ensure_ascii=False)
            known = of_object[id(finding)] = numbers.setdefault(text, len(numbers))
        return known

    hosts = {
        name: {**host, "findings": [number(finding) for finding in host["findings"]]}
        for name, host in report["hosts"].items()
    }
    return json.dumps({"rows": list(numbers), "report": {**report, "hosts": hosts}}, ensure_ascii=False).encode()


def unpack(data: bytes) -> dict[str, Any]:
    """The report that was packed. Findings are shared by its hosts and with other reports: nobody changes one. Raises
    ValueError, KeyError, TypeError or IndexError for what was not packed."""
    found = json.loads(data)
    rows = [_row(text) for text in found["rows"]]
    report: dict[str, Any] = found["report"]
    for host in report["hosts"].values():
        host["findings"] = [rows[number] for number in host["findings"]]
    return report


def _row(text: str) -> dict[str, Any]:
    if (row := _known.get(text)) is None:
        row = json.loads(text)
        if len(_known) < KEPT:
            _known[text] = row
    return row
