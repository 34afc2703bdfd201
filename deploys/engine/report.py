"""The report: one JSON object per run (docs: report.json), from which every other form is made.

Whatever comes from a host is untrusted: `clean` goes over all of it before it enters the object, so that no form,
and no terminal, ever sees a control character, half a character, or a text without end. Nothing is taken from the
environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from deploys.engine import waivers
from deploys.engine.change import Change
from deploys.engine.clean import clean, clean_text
from deploys.engine.control import Finding, State

SCHEMA = 1

Kind = Literal["drift", "harden", "provision", "rollback"]
Status = Literal["ok", "unreachable", "error"]
STATUSES: tuple[Status, ...] = ("ok", "unreachable", "error")


@dataclass(frozen=True)
class Run:
    """`started` and `finished` are ISO 8601 with a zone."""

    id: str
    kind: Kind
    started: str
    finished: str
    policy: str


@dataclass(frozen=True)
class HostReport:
    """One host's part. `os` has id, version and name, `kernel` release and build; both are empty where unknown."""

    name: str
    status: Status
    error: str | None = None
    os: Mapping[str, str] = field(default_factory=dict)
    kernel: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    changes: Sequence[Mapping[str, Any]] = ()
    waivers: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        findings = [finding.to_json() for finding in self.findings]
        return {
            "status": self.status,
            "error": self.error,
            "os": dict(self.os),
            "kernel": dict(self.kernel),
            "findings": findings,
            "changes": [dict(change) for change in self.changes],
            "waivers": [dict(waiver) for waiver in self.waivers],
            "summary": _count(finding["state"] for finding in findings),
        }


def change_json(change: Change, journal: str) -> dict[str, Any]:
    """A change that was made, as the report keeps it; `journal` is the folder on the host that can undo it."""
    path = getattr(change, "path", None)
    return {"subject": change.subject, "what": change.what, **({"path": path} if path else {}), "journal": journal}


def build(run: Run, hosts: Iterable[HostReport]) -> dict[str, Any]:
    """The whole object. Every state is counted, also those that did not occur."""
    parts = {clean_text(host.name): _clean_host(host) for host in hosts}
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "hullproof", "version": version()},
        "run": clean(dataclasses.asdict(run)),
        "hosts": parts,
        "summary": {
            "hosts": {status: sum(part["status"] == status for part in parts.values()) for status in STATUSES},
            "findings": _count(finding["state"] for part in parts.values() for finding in part["findings"]),
            "waivers": waivers.summary(parts.values()),
        },
    }
    return {**report, "exit_code": exit_code(report, run.kind)}


def _clean_host(host: HostReport) -> dict[str, Any]:
    """Each finding and each change on its own, so that the limits bound a host's words and not our rows."""
    part = host.to_json()
    rows = {key: [clean(row) for row in part.pop(key)] for key in ("findings", "changes", "waivers")}
    cleaned: dict[str, Any] = {**clean(part), **rows}
    return cleaned


def _count(states: Iterable[str]) -> dict[str, int]:
    counts = Counter(states)
    return {state.value: counts[state.value] for state in State}


def exit_code(report: Mapping[str, Any], kind: Kind) -> int:
    """1: no host, or one that was unreachable or in error. 2: drift with a finding that does not hold; any other run
    with one that fails or is unknown (what is pending there waits for a restart that the run was not to make)."""
    hosts = report["hosts"].values()
    if not hosts or any(host["status"] != "ok" for host in hosts):
        return 1
    tolerated = {state for state in State if state.holds}
    if kind != "drift":
        tolerated |= {State.PENDING_RESTART, State.PENDING_REBOOT}
    findings = [finding for host in hosts for finding in host["findings"]]
    return 0 if all(State(finding["state"]) in tolerated for finding in findings) else 2


@cache
def version() -> str:
    """hullproof runs from its clone: the version is what pyproject.toml there says."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])


def write(directory: Path, report: Mapping[str, Any]) -> Path:
    """Writes report.json, and its other forms beside it; each is whole or absent, never half. Returns report.json."""
    from deploys.engine import formats

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "report.json"
    _write_whole(path, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    for name, render in formats.FORMATS.items():
        _write_whole(directory / name, render(report))
    return path


def _write_whole(path: Path, text: str) -> None:
    """Beside it, synced, renamed, and the folder synced."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
