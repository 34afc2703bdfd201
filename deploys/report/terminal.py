"""The report as an operator reads it on a terminal, tired, and perhaps for fifty hosts."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TextIO

from deploys.core.control import DOES_IT, Impact, Severity, State
from deploys.report import waivers
from deploys.report.report import outcome, part_judged

RED, GREEN, YELLOW, MAGENTA, CYAN, BOLD = 31, 32, 33, 35, 36, 1
COLORS = {"fail": RED, "pending-restart": YELLOW, "pending-reboot": YELLOW, "unknown": MAGENTA}
STATES = [state.value for state in State]
COUNTED = (State.PASS, State.FAIL, State.UNKNOWN, State.PENDING_RESTART, State.PENDING_REBOOT, State.WAIVED)
WAITS = {State.PENDING_RESTART: "waits for a restart", State.PENDING_REBOOT: "waits for a reboot"}
SEVERITIES = [severity.value for severity in Severity]
COLUMN = max(map(len, STATES)) + 4
# A control's id is copied as a whole. Most of what is said of one host is said of others too.
fill = lru_cache(maxsize=5_000)(partial(textwrap.fill, break_on_hyphens=False, break_long_words=False))


def wants_color(stream: TextIO) -> bool:
    """Whether to colour: a terminal, and no NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def paint(text: str, code: int, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def render_table(report: Mapping[str, Any], color: bool, width: int) -> str:
    """What does not hold, per host; hosts that say the same are shown once. The sum is at the end, where one looks."""
    width = max(width, 50)
    groups: dict[str, list[str]] = {}
    for host, part in report["hosts"].items():
        said = "\n".join([_about(part), *_problems(part, color, width)])
        groups.setdefault(said, []).append(host)
    blocks = [_group(hosts, *said.split("\n", 1), color=color, width=width) for said, hosts in groups.items()]
    waived = [fill(each, width, subsequent_indent="  ") for each in waivers.sentences(report["summary"]["waivers"])]
    if report["run"]["kind"] == "runs":  # it has shown what it read, and judged nothing
        blocks = [f"{host}: {part['error']}" for host, part in report["hosts"].items() if part["error"]]
    return "\n\n".join(filter(None, [*blocks, "\n".join(waived), _sum(report, color, width)])) + "\n"


def _group(hosts: Sequence[str], about: str, problems: str = "", *, color: bool, width: int) -> str:
    many = len(hosts) > 1
    head = fill(f"{f'{len(hosts)} hosts' if many else hosts[0]}{about}", width, subsequent_indent="  ")
    names = fill(", ".join(hosts), width, initial_indent="  ", subsequent_indent="  ") if many else ""
    return "\n".join(filter(None, [paint(head, BOLD, color), names, problems]))


def _about(part: Mapping[str, Any]) -> str:
    kernel = part["kernel"].get("release")
    system = ", ".join(filter(None, [part["os"].get("name"), kernel and f"kernel {kernel}"]))
    state = part["status"].upper() if part["status"] != "ok" else ""
    counts = _counts(part["summary"]) if part["findings"] or not state else ""
    made = f"{len(part['changes'])} changed" if part["changes"] else ""
    return f"{f' ({system})' if system else ''}: {', '.join(filter(None, [state, counts, made]))}"


def _counts(summary: Mapping[str, int]) -> str:
    """`61 pass, 3 fail, 1 waived (49 not applicable)`: what was judged; what was not demanded is apart."""
    judged = [f"{summary[state]} {state}" for state in COUNTED if summary[state] or state is State.PASS]
    apart = f" ({summary[State.NOT_APPLICABLE]} not applicable)" if summary[State.NOT_APPLICABLE] else ""
    return ", ".join(judged) + apart


def _problems(part: Mapping[str, Any], color: bool, width: int) -> list[str]:
    """Lines for what does not hold, the worst first; controls with the very same reason share one."""
    lines = [fill(note, width, initial_indent="  ", subsequent_indent="  ") for note in part.get("notes", ())]
    if part["error"]:
        lines += _entry(part["status"], part["error"], code=RED, color=color, width=width)
    findings = [finding for finding in part["findings"] if not State(finding["state"]).holds]
    findings.sort(key=lambda f: (STATES.index(f["state"]), SEVERITIES.index(f["severity"]), f["control"]))
    entries: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        entries.setdefault((finding["state"], finding["reason"] + _note(finding)), []).append(finding["control"])
    for (state, reason), controls in entries.items():
        lines += _entry(state, f"{', '.join(controls)}: {reason}", code=COLORS[state], color=color, width=width)
    return lines


def _note(finding: Mapping[str, Any]) -> str:
    """What mending it takes, what comes next, and whether it changed since the baseline."""
    state = State(finding["state"])
    notes = [WAITS[state]] if state in WAITS else []
    if state is State.FAIL and finding["impact"] != Impact.NONE:
        notes.append(f"takes a {finding['impact']}")
    if (todo := finding["next"]) and todo != DOES_IT:
        notes.append(f"next: {todo}")
    if finding.get("drift"):
        notes.append("changed since the baseline")
    return f" [{'; '.join(notes)}]" if notes else ""


def _entry(label: str, text: str, *, code: int, color: bool, width: int) -> list[str]:
    first, *rest = fill(text, width - COLUMN).split("\n")
    return [
        f"  {paint(label.ljust(COLUMN - 2), code, color)}{first}",
        *(f"{' ' * COLUMN}{line}" for line in rest),
    ]


def _sum(report: Mapping[str, Any], color: bool, width: int) -> str:
    run, end = report["run"], outcome(report)
    code = report["exit_code"]  # proofs that failed after the report was made raise it
    hosts = ", ".join(f"{count} {status}" for status, count in report["summary"]["hosts"].items() if count)
    counts = _counts(report["summary"]["findings"])
    meaning = end.words if code == end.code else "a proof failed"
    said = f"runs: {hosts or 'no hosts'}" if run["kind"] == "runs" else _judged(run, hosts or "no hosts", counts)
    text = f"{said}. Exit code {code}: {meaning}."
    if part := part_judged(run):
        text += f" {part}"
    return paint(fill(text, width), RED if code else GREEN, color)


def _judged(run: Mapping[str, Any], hosts: str, counts: str) -> str:
    policy = f", policy {run['policy']}" if run["policy"] else ""  # no host, no policy
    return f"{run['kind']}{policy}: {hosts}; {counts}"
