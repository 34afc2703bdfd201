"""Findings one by one on a terminal, with all that the report knows of each; hosts that say the same share one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from deploys.core.control import DOES_IT, State
from deploys.report.terminal import BOLD, COLORS, GREEN, SEVERITIES, STATES, fill, paint

LONG = 500  # characters of a value
INDENT = "  "


def render_details(report: Mapping[str, Any], color: bool, width: int) -> str:
    """A block per finding, the worst first, with the hosts that it is found on. "" where there is no finding."""
    found: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for name, host in report["hosts"].items():
        for finding in host["findings"]:
            found.setdefault(json.dumps(finding, sort_keys=True), (finding, []))[1].append(name)
    blocks = sorted(found.values(), key=lambda entry: _order(entry[0]))
    return "\n".join("\n".join([*_block(finding, hosts, color, max(width, 50)), ""]) for finding, hosts in blocks)


def _order(finding: Mapping[str, Any]) -> tuple[bool, int, int, str]:
    state = finding["state"]
    row = STATES.index(state), SEVERITIES.index(finding["severity"]), finding["control"]
    return (State(state).holds, *row)


def _block(finding: Mapping[str, Any], hosts: list[str], color: bool, width: int) -> Iterator[str]:
    state = finding["state"]
    mark = paint(state, COLORS.get(state, GREEN), color)
    yield f"{mark}  {paint(finding['control'], BOLD, color)} ({finding['severity']})"
    yield said("", f"{finding['title']}.", width)
    yield said(f"{len(hosts)} hosts: " if len(hosts) > 1 else "host: ", ", ".join(hosts), width)
    yield said("reason: ", finding["reason"], width)
    for side in ("declared", "disk", "live"):
        if finding[side] is not None:
            yield said(f"{side}: ", _value(finding[side]), width)
    for key, text in (finding["drift"] or {}).items():
        yield said(
            f"{'held until' if key == 'held' else key}: ", text if isinstance(text, str) else _value(text), width
        )
    if finding["next"] and finding["next"] != DOES_IT:
        yield said("next: ", finding["next"], width)


def said(label: str, text: str, width: int) -> str:
    return fill(f"{label}{text}", width, initial_indent=INDENT, subsequent_indent=INDENT * 2)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"
