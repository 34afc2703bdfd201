"""The baseline: what held after the last run here, what has changed since, and what the host knows of the cause."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from deploys.core.control import Control, Finding
from deploys.core.text import clean
from deploys.run.again import Vain, to_json
from facts.core.numbers import utc
from facts.core.reading import UnknownReading
from facts.core.record import Record, RecordReading, Watched
from facts.core.survey import Survey

PATH = "/var/lib/hullproof/baseline.json"
DROP = f"rm -f {PATH} && echo dropped\n"  # sh


def baseline_of(run: dict[str, Any], findings: Iterable[Finding], vain: Iterable[Vain] = ()) -> dict[str, Any]:
    """What is kept on the host: each control's state with its disk and live readings, and what was done in vain."""
    rows = {f.control.id: {"state": f.state.value, "disk": f.verdict.disk, "live": f.verdict.live} for f in findings}
    return {"run": run["id"], "time": run["started"], "policy": run["policy"], "findings": rows} | to_json(vain)


def keep_script(baseline: dict[str, Any]) -> str:
    """sh that keeps the baseline on the host (root only), whole or not at all."""
    packed = base64.b64encode(json.dumps(baseline).encode()).decode()
    return (
        f"umask 077; mkdir -p {PATH.rpartition('/')[0]} && printf %s {packed} | base64 -d >{PATH}.new"
        f" && sync {PATH}.new && mv {PATH}.new {PATH} && echo kept\n"
    )


def with_drift(findings: Iterable[Finding], survey: Survey) -> list[Finding]:
    """The findings. Those that held at the baseline and no longer do carry what changed, since when, and the cause."""
    try:
        record = survey[Record]
    except UnknownReading:
        return list(findings)
    kept = record.baseline if isinstance(record.baseline, dict) else {}
    if not isinstance(kept.get("findings"), dict):
        return list(findings)
    return [_with_drift(finding, kept, record) for finding in findings]


def _row(control: Control, rows: dict[str, Any]) -> tuple[Any, str]:
    """Its row, and the name of that: an old one where it did not apply yet under its own."""
    named = [(rows[name], name) for name in (control.id, *control.formerly) if name in rows]
    judged = [(row, name) for row, name in named if isinstance(row, dict) and row.get("state") != "not-applicable"]
    return next(iter(judged), (None, ""))


def _with_drift(finding: Finding, kept: dict[str, Any], record: RecordReading) -> Finding:
    row, name = _row(finding.control, kept["findings"])
    if finding.state.holds or row is None or row.get("state") != "pass":
        return finding
    moved = [name for name in ("disk", "live") if row.get(name) != getattr(finding.verdict, name)]
    drift = {
        "held": f"{kept.get('time')} (run {kept.get('run')})",
        "moved": {name: {"was": row.get(name), "is": getattr(finding.verdict, name)} for name in moved},
        "cause": _cause(moved, kept, record) if name == finding.control.id else _wider(finding.control),
    }
    reason = f"{finding.verdict.reason}; it held at {clean(str(kept.get('time')))}; {drift['cause']}"
    return replace(finding, drift=drift, verdict=replace(finding.verdict, reason=reason))


def _wider(control: Control) -> str:
    before = " and ".join(control.formerly)
    return f"cause unknown: as {before} it judged less before this release, so it may not have held then"


def _cause(moved: list[str], kept: dict[str, Any], record: RecordReading) -> str:
    """What the host knows of the cause. A change that only the live reading shows was made by no file."""
    if moved == ["live"]:
        return (
            "the files are as hullproof left them: the running system was changed, or a daemon or container restarted"
        )
    since = str(kept.get("time", "")).replace("T", " ").rstrip("Z")
    packages = [line for line in record.packages if line[: len(since)] > since]
    causes = [_say(file) for file in record.watched if file.digest != file.written]
    causes += [f"package {line[20:]} at {line[:19]}" for line in packages[-2:]]
    return "; ".join(causes) or "cause unknown: the host has no record of it"


def _say(file: Watched) -> str:
    if file.digest == "absent":
        return f"{file.path} is gone"
    when = utc(file.modified)
    return f"{file.path} was changed {when:%Y-%m-%d %H:%M} UTC (owner {file.owner}), not by hullproof"
