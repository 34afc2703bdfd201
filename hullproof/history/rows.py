"""What the history keeps of a report: its runs, and of each the rows for DuckDB. What another program has written as a
report is refused by name and key."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ValidationError

from deploys.core.control import Severity, State
from deploys.core.text import clean_text
from deploys.report.report import SCHEMA, Status
from hullproof.history.database import HistoryError

RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,100}")  # it names a file
# The columns of a host's row that count its findings, by state; not-applicable ones are not demanded.
COUNTS = {
    State.PASS: "passed",
    State.FAIL: "failed",
    State.PENDING_RESTART: "pending",
    State.PENDING_REBOOT: "pending",
    State.WAIVED: "waived",
    State.UNKNOWN: "unknown",
}


def _file_name(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        raise ValueError("a run's id has letters, digits, points, lines and underscores alone")
    return text


class _Finding(BaseModel):
    control: str
    severity: Severity
    state: State
    reason: str = ""
    drift: dict[str, Any] | None = None


class _Host(BaseModel):
    status: Status
    error: str | None = None
    findings: list[_Finding] = []


class _Part(BaseModel):
    id: Annotated[str, AfterValidator(_file_name)]
    kind: str
    policy: str
    finished: datetime
    problem: str = ""
    hosts: list[str] | None = None


class _Run(_Part):
    only: dict[str, Any] | None = None
    parts: list[_Part] = []


class _Report(BaseModel):
    schema_: Literal[1]
    run: _Run
    hosts: dict[str, _Host]


@dataclass(frozen=True)
class Recorded:
    """One run as the history keeps it. `finished`: UTC without a zone. `part`: it judged a part of the
    controls, so that what it does not name is not gone."""

    id: str
    finished: datetime
    kind: str
    policy: str
    part: bool
    problem: str
    hosts: Mapping[str, _Host]

    @property
    def day(self) -> str:
        return f"{self.finished:%Y-%m-%d}"


def runs(report: Any) -> list[Recorded]:
    """The run of a report; of a merged one, the runs that it is made of. Raises HistoryError."""
    if isinstance(report, dict) and isinstance(report.get("schema"), int) and report["schema"] > SCHEMA:
        raise HistoryError(f"it is a report of a newer hullproof (schema {report['schema']}): this one reads {SCHEMA}")
    try:
        found = _Report.model_validate({**report, "schema_": report["schema"]} if isinstance(report, dict) else report)
    except (ValidationError, KeyError) as error:
        raise HistoryError(f"it is no report of hullproof's: {_first(error)}") from None
    parts = found.run.parts or [found.run]
    return [_recorded(part, found) for part in parts]


def _first(error: ValidationError | KeyError) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    first = error.errors()[0]
    return f"{clean_text('.'.join(map(str, first['loc']))) or 'all of it'}: {first['msg']}"


def _recorded(part: _Part, report: _Report) -> Recorded:
    at = part.finished if part.finished.tzinfo else part.finished.replace(tzinfo=UTC)
    names = report.hosts if part.hosts is None else [name for name in part.hosts if name in report.hosts]
    hosts = {name: report.hosts[name] for name in names}
    at = at.astimezone(UTC).replace(tzinfo=None)
    return Recorded(part.id, at, part.kind, part.policy, bool(report.run.only), clean_text(part.problem), hosts)


def host_rows(run: Recorded) -> Iterator[dict[str, Any]]:
    """A row per host: its end, its counts, its findings. Only what does not hold has a reason and a cause."""
    for name, host in run.hosts.items():
        counts = Counter(COUNTS[finding.state] for finding in host.findings if finding.state in COUNTS)
        yield {
            "host": clean_text(name),
            "status": host.status,
            "error": clean_text(host.error or ""),
            **{column: counts[column] for column in COUNTS.values()},
            "findings": [_row(finding) for finding in host.findings],
        }


def _row(finding: _Finding) -> dict[str, str]:
    row = {"control": clean_text(finding.control), "severity": finding.severity, "state": finding.state}
    if finding.state.holds:
        return row
    cause = (finding.drift or {}).get("cause")
    return {**row, "reason": clean_text(finding.reason), "cause": clean_text(str(cause or ""))}
