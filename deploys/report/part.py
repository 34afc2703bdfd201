"""A part of a report: some hosts, controls or states of it, as a report that says that it is a part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from deploys.core.control import State
from deploys.report import waivers
from deploys.report.report import STATUSES

Report = Mapping[str, Any]


def part(
    report: Report, *, hosts: Collection[str], controls: Collection[str] = (), states: Collection[str] = ()
) -> dict[str, Any]:
    """Of these hosts the findings of these controls in these states; none given: of all. Its counts are those of what
    is shown, its exit code stays the run's, and `run.shown` says what was asked for."""
    kept = {name: _host(report["hosts"][name], controls, states) for name in report["hosts"] if name in hosts}
    shown = {"hosts": list(kept), "controls": list(controls), "states": list(states)}
    summary = {
        "hosts": {status: sum(host["status"] == status for host in kept.values()) for status in STATUSES},
        "findings": {state.value: sum(host["summary"][state] for host in kept.values()) for state in State},
        "waivers": waivers.summary(kept.values()),
    }
    return {**report, "run": {**report["run"], "shown": shown}, "hosts": kept, "summary": summary}


def _host(host: Mapping[str, Any], controls: Collection[str], states: Collection[str]) -> dict[str, Any]:
    findings = [
        finding
        for finding in host["findings"]
        if (not controls or finding["control"] in controls) and (not states or finding["state"] in states)
    ]
    counts = Counter(finding["state"] for finding in findings)
    rows = [row for row in host["waivers"] if not controls or row["control"] in controls]
    summary = {state.value: counts[state.value] for state in State}
    return {**host, "findings": findings, "waivers": rows, "summary": summary}
