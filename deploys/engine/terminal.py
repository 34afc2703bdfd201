"""The report and the plan as an operator reads them on a terminal, tired, and perhaps for fifty hosts."""

from __future__ import annotations

import difflib
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from deploys.engine.arrange import merged
from deploys.engine.change import Activate, Blocked, Change, MergeJson, RemoveFile, WriteFile
from deploys.engine.clean import clean
from deploys.engine.control import Impact, Severity, State

RED, GREEN, YELLOW, MAGENTA, CYAN, BOLD = 31, 32, 33, 35, 36, 1
COLORS = {"fail": RED, "pending-restart": YELLOW, "pending-reboot": YELLOW, "unknown": MAGENTA}
STATES = [state.value for state in State]
SEVERITIES = [severity.value for severity in Severity]
OUTCOMES = {0: "everything holds", 1: "a host could not be judged", 2: "something does not hold"}
COLUMN = max(map(len, STATES)) + 4


def wants_color(stream: TextIO) -> bool:
    """Whether to colour: a terminal, and no NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _paint(text: str, code: int, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def render_table(report: Mapping[str, Any], color: bool, width: int) -> str:
    """What does not hold, per host; hosts that say the same are shown once. The sum is at the end, where one looks."""
    width = max(width, 50)
    groups: dict[str, list[str]] = {}
    for host, part in report["hosts"].items():
        said = "\n".join([_about(part), *_problems(part, color, width)])
        groups.setdefault(said, []).append(host)
    blocks = [_group(hosts, *said.split("\n", 1), color=color, width=width) for said, hosts in groups.items()]
    return "\n\n".join([*blocks, _sum(report, color, width)]) + "\n"


def _group(hosts: Sequence[str], about: str, problems: str = "", *, color: bool, width: int) -> str:
    many = len(hosts) > 1
    head = textwrap.fill(f"{f'{len(hosts)} hosts' if many else hosts[0]}{about}", width, subsequent_indent="  ")
    names = textwrap.fill(", ".join(hosts), width, initial_indent="  ", subsequent_indent="  ") if many else ""
    return "\n".join(filter(None, [_paint(head, BOLD, color), names, problems]))


def _about(part: Mapping[str, Any]) -> str:
    kernel = part["kernel"].get("release")
    system = ", ".join(filter(None, [part["os"].get("name"), kernel and f"kernel {kernel}"]))
    state = part["status"].upper() if part["status"] != "ok" else ""
    counts = _counts(part["summary"]) if part["findings"] or not state else ""
    made = f"{len(part['changes'])} changed" if part["changes"] else ""
    return f"{f' ({system})' if system else ''}: {', '.join(filter(None, [state, counts, made]))}"


def _counts(summary: Mapping[str, int]) -> str:
    holding = sum(summary[state.value] for state in State if state.holds)
    others = [f"{summary[state.value]} {state.value}" for state in State if not state.holds and summary[state.value]]
    return ", ".join([f"{holding} hold", *others])


def _problems(part: Mapping[str, Any], color: bool, width: int) -> list[str]:
    """Lines for what does not hold, the worst first; controls with the very same reason share one."""
    lines = _entry(part["status"], part["error"] or "no reason known", RED, color, width) if part["error"] else []
    findings = [finding for finding in part["findings"] if not State(finding["state"]).holds]
    findings.sort(key=lambda f: (STATES.index(f["state"]), SEVERITIES.index(f["severity"]), f["control"]))
    entries: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        entries.setdefault((finding["state"], finding["reason"] + _note(finding)), []).append(finding["control"])
    for (state, reason), controls in entries.items():
        lines += _entry(state, f"{', '.join(controls)}: {reason}", COLORS[state], color, width)
    return lines


def _note(finding: Mapping[str, Any]) -> str:
    """What putting it right takes, and whether it is news."""
    notes = []
    if finding["state"].startswith("pending-"):
        notes.append(f"waits for a {finding['state'].removeprefix('pending-')}")
    elif finding["state"] == State.FAIL and finding["impact"] != Impact.NONE:
        notes.append(f"takes a {finding['impact']}")
    if finding.get("drift"):
        notes.append("moved since the baseline")
    return f" [{'; '.join(notes)}]" if notes else ""


def _entry(label: str, text: str, code: int, color: bool, width: int) -> list[str]:
    first, *rest = textwrap.wrap(text, width - COLUMN) or [""]
    return [
        f"  {_paint(label.ljust(COLUMN - 2), code, color)}{first}",
        *(f"{' ' * COLUMN}{line}" for line in rest),
    ]


def _sum(report: Mapping[str, Any], color: bool, width: int) -> str:
    run, code = report["run"], report["exit_code"]
    hosts = ", ".join(f"{count} {status}" for status, count in report["summary"]["hosts"].items() if count)
    counts = _counts(report["summary"]["findings"])
    meaning = OUTCOMES[code] if report["hosts"] else "no host in the inventory, or none in --limit"
    if code == 0 and "pending" in counts:
        meaning = "done; what is pending waits for a restart or reboot"
    text = f"{run['kind']}, policy {run['policy']}: {hosts or 'no hosts'}; {counts}. Exit code {code}: {meaning}."
    return _paint(textwrap.fill(text, width), RED if code else GREEN, color)


def render_plan(host: str, changes: Iterable[Change], color: bool, diff: bool) -> str:
    """What a run will do to a host, numbered; what stops meanwhile; and what it will not do, and how to allow that."""
    changes = list(changes)
    done = [change for change in changes if not isinstance(change, Blocked)]
    blocked = [change for change in changes if isinstance(change, Blocked)]
    lines = [_paint(f"{host}: {_number(len(done))}", BOLD, color)]
    said = ""
    for number, change in enumerate(done, 1):
        lines.append(f"{number:4}. {change.subject}: {clean(change.what)}")
        if (stops := _interrupts(change)) and stops != said:
            said = stops  # one restart for many changes is told once
            lines.append(_paint(f"      ! interrupts: {clean(stops)}", YELLOW, color))
        if diff:
            lines += [f"      {_paint_diff(line, color)}" for line in _diff(change)]
    if blocked:
        lines.append(_paint("  not done, and how to allow it:", BOLD, color))
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
    return _paint(line, code, color) if code else line
