"""The plan as an operator reads it on a terminal, before anything is done."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from deploys.engine.arrange import merged
from deploys.engine.change import Activate, Blocked, Change, MergeJson, RemoveFile, WriteFile
from deploys.engine.clean import clean
from deploys.engine.terminal import BOLD, CYAN, GREEN, RED, YELLOW, paint


def render_plan(host: str, changes: Iterable[Change], color: bool, diff: bool) -> str:
    """What a run will do to a host, numbered; what stops meanwhile; and what it will not do, and how to allow that."""
    changes = list(changes)
    done = [change for change in changes if not isinstance(change, Blocked)]
    blocked = [change for change in changes if isinstance(change, Blocked)]
    lines = [paint(f"{host}: {_number(len(done))}", BOLD, color)]
    said = ""
    for number, change in enumerate(done, 1):
        lines.append(f"{number:4}. {change.subject}: {clean(change.what)}")
        if (stops := _interrupts(change)) and stops != said:
            said = stops  # one restart for many changes is told once
            lines.append(paint(f"      ! interrupts: {clean(stops)}", YELLOW, color))
        if diff:
            lines += [f"      {_paint_diff(line, color)}" for line in _diff(change)]
    if blocked:
        lines.append(paint("  not done, and how to allow it:", BOLD, color))
    for change in blocked:
        lines.append(f"    - {change.subject}: {clean(change.what)}")
        lines.append(f"      {clean(change.why)}")
    return "\n".join(lines) + "\n"


def _number(count: int) -> str:
    return f"{count or 'no'} change{'' if count == 1 else 's'}"


def _interrupts(change: Change) -> str:
    service = change.service if isinstance(change, (WriteFile, MergeJson, Activate)) else None
    return change.interrupts or (service.interrupts if service else "")


def _diff(change: Change) -> list[str]:
    """A unified diff, each line cleaned: what is on the host may be anything."""
    try:
        file = merged([change]) if isinstance(change, MergeJson) else change
    except ValueError:  # what is there is no JSON: said when the plan was made
        return []
    if not isinstance(file, (WriteFile, RemoveFile)):
        return []
    after = file.text if isinstance(file, WriteFile) else ""
    old, new = ("/dev/null" if text is None else file.path for text in (file.before, after or None))
    lines = difflib.unified_diff((file.before or "").splitlines(), after.splitlines(), old, new, lineterm="")
    return [clean(line) for line in lines]


def _paint_diff(line: str, color: bool) -> str:
    code = {"+": GREEN, "-": RED, "@": CYAN}.get(line[:1])
    return paint(line, code, color) if code else line
