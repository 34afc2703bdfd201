"""The baseline: what held after the last run here, what has changed since, and what the host knows of the cause."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from deploys.core.control import Control, Finding, State, Verdict, judge
from deploys.core.policy import Policy
from deploys.core.text import clean
from deploys.run.again import Vain, to_json
from deploys.run.causes import cause
from facts.core.reading import UnknownReading
from facts.core.record import BASELINE as PATH
from facts.core.record import Record, RecordReading
from facts.core.survey import Survey

DROP = f"rm -f {PATH} && echo dropped\n"  # sh


def baseline_of(
    run: dict[str, Any], findings: Iterable[Finding], policy: Policy, vain: Iterable[Vain] = ()
) -> dict[str, Any]:
    """What is kept on the host: what the policy demanded, each control's state with its disk and live readings, and
    what was done in vain."""
    rows = {f.control.id: {"state": f.state.value, "disk": f.verdict.disk, "live": f.verdict.live} for f in findings}
    head = {"run": run["id"], "time": run["started"], "policy": run["policy"], "rules": policy.plain}
    return head | {"findings": rows} | to_json(vain)


def keep_script(baseline: dict[str, Any]) -> str:
    """sh that keeps the baseline on the host (root only), whole or not at all."""
    packed = base64.b64encode(json.dumps(baseline).encode()).decode()
    return (
        f"umask 077; mkdir -p {PATH.rpartition('/')[0]} && printf %s {packed} | base64 -d >{PATH}.new"
        f" && sync {PATH}.new && mv {PATH}.new {PATH} && echo kept\n"
    )


@dataclass(frozen=True)
class Then:
    """The baseline, and under which other policy it was kept."""

    kept: dict[str, Any]
    rows: dict[str, Any]
    record: RecordReading
    survey: Survey
    policy: Policy | None  # None: today's

    def judged(self, finding: Finding) -> Verdict:
        """The verdict that the policy of then would give today: a change of the policy is no drift."""
        if self.policy is None:
            return finding.verdict
        return judge([finding.control], self.survey, self.policy)[0].verdict


def with_drift(findings: Iterable[Finding], survey: Survey, policy: Policy) -> list[Finding]:
    """The findings. Those that held at the baseline and no longer do carry what changed, since when, and the cause."""
    try:
        record = survey[Record]
    except UnknownReading:
        return list(findings)
    kept = record.baseline if isinstance(record.baseline, dict) else {}
    rows = kept.get("findings")
    before = _policy_of(kept, policy)
    if not isinstance(rows, dict) or before is None:
        return list(findings)
    then = Then(kept, rows, record, survey, None if before is policy else before)
    return [_with_drift(finding, then) for finding in findings]


def _policy_of(kept: dict[str, Any], policy: Policy) -> Policy | None:
    """What was demanded then; None where that is not known, so that nothing can be called drift."""
    rules = kept.get("rules")
    if rules is None:  # the release before kept its name alone
        return policy if kept.get("policy") in (policy.name, None) else None
    return policy if rules == policy.plain else policy.like(rules)


def _row(control: Control, rows: dict[str, Any]) -> tuple[Any, str]:
    """Its row, and the name of that: an old one where it did not apply yet under its own."""
    named = [(rows[name], name) for name in (control.id, *control.formerly) if name in rows]
    judged = [(row, name) for row, name in named if isinstance(row, dict) and row.get("state") != "not-applicable"]
    return next(iter(judged), (None, ""))


def _with_drift(finding: Finding, then: Then) -> Finding:
    row, name = _row(finding.control, then.rows)
    if finding.state.holds or finding.state is State.UNKNOWN or row is None or row.get("state") != "pass":
        return finding
    verdict = then.judged(finding)
    if verdict.state.holds or verdict.state is State.UNKNOWN:
        return finding
    readings = {"disk": verdict.disk, "live": verdict.live}
    moved = {kind: {"was": row.get(kind), "is": value} for kind, value in readings.items() if row.get(kind) != value}
    own = name == finding.control.id
    why = cause(finding.control, verdict, moved, then.record) if own else _wider(finding.control)
    time = then.kept.get("time")
    drift = {"held": f"{time} (run {then.kept.get('run')})", "moved": moved, "cause": why}
    reason = f"{finding.verdict.reason}; it held at {clean(str(time))}; {why}"
    return replace(finding, drift=drift, verdict=replace(finding.verdict, reason=reason))


def _wider(control: Control) -> str:
    before = " and ".join(control.formerly)
    return f"cause not known: as {before} it judged less before this release, so it may not have held then"
