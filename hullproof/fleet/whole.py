"""The one report of all parts, and of the hosts that no part's report has."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from deploys.core.text import clean_text
from deploys.report import report
from deploys.report.merge import merge
from hullproof.fleet.parts import End, Host, Part


def now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def whole(run: report.Run, hosts: Sequence[Host], ends: Iterable[End]) -> dict[str, Any]:
    """The report of `run`, with `hosts` in their order. A host whose part has no report has what its end says."""
    reports: list[dict[str, Any]] = []
    lacking: list[report.HostReport] = []
    ends = list(ends)
    known = {name for end in ends for name in end.part.hosts}
    left = tuple(host.name for host in hosts if host.name not in known)
    for end in [*ends, End(Part(left), problem="the run ended before it came to this host")]:
        reports += [dict(end.report)] if end.report and end.report["hosts"] else []
        status: report.Status = "unreachable" if end.unreachable else "error"
        lacking += [report.HostReport(name, status, _why(end)) for name in end.lacking()]
    if not reports and not lacking:
        return report.build(run, ())
    if lacking:
        policy = reports[0]["run"]["policy"] if reports else ""
        reports.append(report.build(replace(run, policy=policy), lacking))
    only = next((each["run"]["only"] for each in reports if each["run"]["only"]), None)
    for each in reports:  # a part that reached no host does not know it
        each["run"] = {**each["run"], "only": only}
    made = merge(reports)
    order = {clean_text(host.name): at for at, host in enumerate(hosts)}
    made["hosts"] = dict(sorted(made["hosts"].items(), key=lambda row: order[row[0]]))
    made["run"] |= {"id": run.id, "started": run.started, "finished": now()}
    if run.problem:
        made["run"]["problem"], made["exit_code"] = clean_text(run.problem), 1
    return made


def _why(end: End) -> str:
    problem = end.problem or (end.report["run"]["problem"] if end.report else "")
    return problem or "the part of the run that was to take this host has nothing of it: its inventory lacks the host"
