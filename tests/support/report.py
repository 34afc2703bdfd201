"""Findings and runs to report."""

from __future__ import annotations

from typing import Any

from deploys.core.control import Control, Finding, Impact, Severity, State, Verdict
from deploys.report.report import HostReport, Kind, Run, build

OS = {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"}
KERNEL = {"release": "6.1.0-13-amd64", "build": "#1 SMP Debian 6.1.55-1"}


def finding(state: State, name: str = "boat.icc", reason: str = "icc is true", **more: Any) -> Finding:
    impact = more.pop("impact", Impact.NONE)
    severity = more.pop("severity", Severity.HIGH)
    control = Control(
        name, f"Title of {name}", severity, "Else it sinks.", lambda *_: Verdict(state, ""), ("CIS-1",), impact
    )
    return Finding(control, Verdict(state, reason, **more))


def a_run(kind: Kind = "drift") -> Run:
    return Run("20260102-030405", kind, "2026-01-02T03:04:05+00:00", "2026-01-02T03:04:09+00:00", "baseline")


def a_report(*findings: Finding, kind: Kind = "drift", name: str = "web1", **more: Any) -> dict[str, Any]:
    return build(a_run(kind), [HostReport(name, "ok", None, OS, KERNEL, findings, **more)])
