"""What the history keeps of a report: its runs, and of each the rows for DuckDB. What another program has written as a
report is refused by name and key."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, ValidationError
from pydantic.dataclasses import dataclass as validated

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


def _of_this_age(moment: datetime) -> datetime:
    """Others have no day in UTC, or none in the name of a folder."""
    if not 2000 <= moment.year < 9999:
        raise ValueError("a run ends after the year 2000")
    return moment


@validated(slots=True)  # a large fleet has millions of them
class _Finding:
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
    finished: Annotated[AwareDatetime, AfterValidator(_of_this_age)]
    problem: str = ""
    hosts: list[str] | None = None


class _Run(_Part):
    only: dict[str, Any] | None = None
    shown: dict[str, Any] | None = None
    parts: list[_Part] = []


class _Report(BaseModel):
    schema_: Annotated[Literal[1], Field(alias="schema")]
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
    """The run of a report; of a merged one, the runs that it is made of. `report`: the object, or a report.json's
    bytes, which take less memory. Raises HistoryError."""
    try:
        found = _Report.model_validate_json(report) if isinstance(report, bytes) else _Report.model_validate(report)
    except ValidationError as error:
        raise HistoryError(_said(error)) from None
    if found.run.shown is not None:  # under the run's id it would keep the whole one out
        raise HistoryError("it is a part of a report (report show): add the whole one")
    by_id: dict[str, list[_Part]] = defaultdict(list)
    for part in found.run.parts or [found.run]:
        by_id[part.id].append(part)
    return [_recorded(_as_one(parts), found) for parts in by_id.values()]


def _as_one(parts: Sequence[_Part]) -> _Part:
    """The run that was divided among processes (--workers): each of its parts has its id."""
    if len(parts) == 1:
        return parts[0]
    policies, problems = (dict.fromkeys(getattr(part, key) for part in parts) for key in ("policy", "problem"))
    return max(parts, key=lambda part: part.finished).model_copy(
        update={
            "policy": " and ".join(filter(None, policies)),
            "problem": "; ".join(filter(None, problems)),
            "hosts": [name for part in parts for name in part.hosts or ()],
        }
    )


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return "it is no JSON, or cut short"
    if first["loc"] == ("schema",) and isinstance(first["input"], int) and first["input"] > SCHEMA:
        return f"it is a report of a newer hullproof (schema {first['input']}): this one reads {SCHEMA}"
    where = clean_text(".".join(map(str, first["loc"]))) or "all of it"
    return f"it is no report of hullproof's: {where}: {clean_text(first['msg'])}"


def _recorded(part: _Part, report: _Report) -> Recorded:
    names = report.hosts if part.hosts is None else [name for name in part.hosts if name in report.hosts]
    hosts = {name: report.hosts[name] for name in names}
    at = part.finished.astimezone(UTC).replace(tzinfo=None)
    kind, policy, problem = (clean_text(text) for text in (part.kind, part.policy, part.problem))
    return Recorded(part.id, at, kind, policy, bool(report.run.only), problem, hosts)


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
