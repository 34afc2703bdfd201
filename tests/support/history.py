"""Reports of runs at given times, and histories of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deploys.core.control import Severity, State
from deploys.report.report import HostReport, Run, build
from hullproof.history.store import record
from tests.support.report import finding

START = datetime.fromisoformat("2026-11-01T04:00:00+00:00")

Host = Mapping[str, State] | str  # the state of each control; else how the host ended: unreachable, error


def a_run(hours: float, hosts: Mapping[str, Host], kind: Any = "drift", **more: Any) -> dict[str, Any]:
    """A report of a run that ended so many hours after START."""
    finished = START + timedelta(hours=hours)
    ident = more.pop("id", f"{finished:%Y%m%dT%H%M%SZ}-{kind}")
    run = Run(ident, kind, finished.isoformat(), finished.isoformat(), "baseline", **more)
    return build(run, [_host(name, host) for name, host in hosts.items()])


def _host(name: str, host: Host) -> HostReport:
    if isinstance(host, str):
        return HostReport(name, host, f"{host}: no route")  # type: ignore[arg-type]
    findings = [
        finding(state, control, f"{control} is {state}", severity=_severity(control)) for control, state in host.items()
    ]
    return HostReport(name, "ok", findings=findings)


def _severity(control: str) -> Severity:
    return Severity.LOW if control.startswith("low.") else Severity.HIGH


def a_history(folder: Path, *reports: Mapping[str, Any]) -> Path:
    for report in reports:
        record(report, folder)
    return folder
