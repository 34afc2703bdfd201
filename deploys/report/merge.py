"""One report of several: runs over parts of an inventory, at other times, or by other controllers.

A merged report is a report like any other. Its `run` has `parts` too, a row for each run that it is made of:
`id`, `kind`, `policy`, `started`, `finished`, `dry`, `problem`, and the names of its `hosts`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from deploys.core.control import State, some
from deploys.report import waivers
from deploys.report.report import SCHEMA, STATUSES, outcome, version, worst

Report = Mapping[str, Any]

SAID = ("id", "kind", "policy", "started", "finished", "dry", "problem")
NO_HOST = "no host in the inventory, or none in --limit"


class MergeError(ValueError):
    """Reports that do not make one; str() says why, in one sentence."""


def merge(reports: Sequence[Report]) -> dict[str, Any]:
    """The report of all hosts of `reports`, in their order; none of them is changed. A run that is given twice counts
    once. The exit code is that of the worst part: 1, 2, 3, 0. Raises MergeError if there is no report, if a host
    occurs in different runs, if the runs judged different parts of the controls (`only`), or if a report is a part
    of one (`shown`)."""
    if not reports:
        raise MergeError("there is no report to merge")
    if any(report["run"].get("shown") for report in reports):
        raise MergeError("one of these is a part of a report (report show): merge the whole one")
    parts = [part for report in reports for part in _parts(report)]
    parts = [part for number, part in enumerate(parts) if part not in parts[:number]]
    hosts = _hosts(reports)
    merged: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "hullproof", "version": version()},
        "run": {**_run(parts), "only": _only(reports), "docs": reports[0]["run"].get("docs"), "parts": parts},
        "hosts": hosts,
        "controls": {name: about for report in reports for name, about in report.get("controls", {}).items()},
        "summary": {
            "hosts": {status: sum(host["status"] == status for host in hosts.values()) for status in STATUSES},
            "findings": {state.value: sum(host["summary"][state] for host in hosts.values()) for state in State},
            "waivers": waivers.summary(hosts.values()),
        },
    }
    # Of a part's own code too: proofs that failed after its report was made have raised it.
    codes = [outcome(merged).code, *(report["exit_code"] for report in reports)]
    return {**merged, "exit_code": worst(codes)}


def differences(report: Report) -> list[str]:
    """What a reader of a merged report should know: that its runs were of different kinds, policies or times."""
    parts = report["run"].get("parts", ())
    found = []
    for key, what in (("kind", "kinds"), ("policy", "policies")):
        said = {value: [part["id"] for part in parts if part[key] == value] for value in _each(parts, key)}
        if len(said) > 1:
            runs = (f"{value} ({some(ids, 3)})" for value, ids in said.items())
            found.append(f"These are runs of different {what}: {'; '.join(runs)}.")
    if len(_each(parts, "dry")) > 1:
        dry = some((part["id"] for part in parts if part["dry"]), 3)
        found.append(f"Some runs only showed what they would do: {dry}.")
    return found


def _parts(report: Report) -> list[dict[str, Any]]:
    """A merged report is taken apart."""
    if parts := report["run"].get("parts"):
        return [dict(part) for part in parts]
    return [{**{key: report["run"][key] for key in SAID}, "hosts": list(report["hosts"])}]


def _run(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ids = _each(parts, "id")
    problems = {part["id"]: part["problem"] or NO_HOST for part in parts if part["problem"] or not part["hosts"]}
    return {
        "id": ids[0] if len(ids) == 1 else f"merged-{hashlib.sha256(' '.join(sorted(ids)).encode()).hexdigest()[:12]}",
        "kind": " and ".join(_each(parts, "kind")),
        "started": min((part["started"] for part in parts), key=datetime.fromisoformat),
        "finished": max((part["finished"] for part in parts), key=datetime.fromisoformat),
        "policy": " and ".join(_each(parts, "policy")),
        "dry": all(part["dry"] for part in parts),
        "problem": "; ".join(f"run {run}: {problem}" for run, problem in problems.items()),
    }


def _each(parts: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    """A part that reached no host has no policy, which is none of its own."""
    return [value for value in dict.fromkeys(part[key] for part in parts) if value != ""]


def _only(reports: Sequence[Report]) -> Any:
    """The part of the controls that all of them judged."""
    first = reports[0]["run"].get("only")
    if any(report["run"].get("only") != first for report in reports):
        raise MergeError("these runs judged different parts of the controls (only=): merge those that judged the same")
    return first


def _hosts(reports: Sequence[Report]) -> dict[str, Any]:
    hosts: dict[str, Any] = {}
    of: dict[str, str] = {}
    twice: dict[str, None] = {}
    for report in reports:
        runs = {name: str(part["id"]) for part in _parts(report) for name in part["hosts"]}
        for name, host in report["hosts"].items():
            if name in hosts and (of[name] != runs[name] or hosts[name] != host):
                twice[name] = None
            hosts.setdefault(name, host)
            of.setdefault(name, runs[name])
    if twice:
        raise MergeError(f"in more than one run, so that what holds on it is not clear: {some(twice, 10)}")
    return hosts
