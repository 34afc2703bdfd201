"""Reading a report from its file again: whole, of this schema, and safe to print, or refused with one clear sentence.

A report may have been edited, cut short on its way, or made by somebody else to be shown by us.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # what pydantic wants on Python 3.11

from deploys.core.control import Impact, Severity, State
from deploys.core.text import clean_text
from deploys.report.report import EXIT_CODES, SCHEMA, Status, outcome, version, worst

FILE = "report.json"


class ReportError(ValueError):
    """A report that was refused; str() says which and why, in one sentence."""


def _time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("the time zone is missing")
    return text


def _exit_code(code: int) -> int:
    if code not in EXIT_CODES:
        raise ValueError("no exit code of hullproof's")
    return code


Time = Annotated[str, AfterValidator(_time)]
LOOSE = ConfigDict(extra="allow")  # a later version of the same schema may say more


@with_config(LOOSE)
class _Finding(TypedDict):
    control: str
    subject: str
    title: str
    severity: Severity
    state: State
    declared: Any
    disk: Any
    live: Any
    reason: str
    next: str | None
    impact: Impact
    references: list[str]
    drift: dict[str, Any] | None


@with_config(LOOSE)
class _Change(TypedDict):
    subject: str
    what: str
    journal: str


@with_config(LOOSE)
class _Waiver(TypedDict):
    control: str
    owner: str
    until: str
    days: int
    only: list[str] | None


class _Waived(_Waiver):
    reason: str
    every: str
    needed: bool | None


class _Unnamed(_Waiver):
    every: str


@with_config(LOOSE)
class _Host(TypedDict):
    status: Status
    error: str | None
    os: dict[str, str]
    kernel: dict[str, str]
    findings: list[_Finding]
    changes: list[_Change]
    waivers: list[_Waived]
    summary: dict[State, int]


@with_config(LOOSE)
class _Part(TypedDict):
    id: str
    kind: str
    started: Time
    finished: Time
    policy: str
    dry: bool
    problem: str
    hosts: list[str]


@with_config(LOOSE)
class _Only(TypedDict):
    asked: list[str]
    controls: int
    of: int


@with_config(LOOSE)
class _Run(TypedDict):
    id: str
    kind: str
    started: Time
    finished: Time
    policy: str
    dry: bool
    problem: str
    only: NotRequired[_Only | None]
    parts: NotRequired[list[_Part]]


@with_config(LOOSE)
class _Tool(TypedDict):
    name: str
    version: str


class _Waivers(TypedDict):
    findings: int
    expiring: list[_Waiver]
    past: list[_Waiver]
    unnamed: list[_Unnamed]
    unneeded: list[_Waiver]


@with_config(LOOSE)
class _Summary(TypedDict):
    hosts: dict[Status, int]
    findings: dict[State, int]
    waivers: _Waivers


@with_config(LOOSE)
class _Report(TypedDict):
    tool: _Tool
    run: _Run
    hosts: dict[str, _Host]
    summary: _Summary
    exit_code: Annotated[int, AfterValidator(_exit_code)]


SHAPE = TypeAdapter(_Report)


def read(path: Path) -> dict[str, Any]:
    """The report in `path`, a file or the folder that a run has written. Raises ReportError."""
    file = path / FILE if path.is_dir() else path
    try:
        report = _parsed(file.read_bytes())
        _check(report)
    except FileNotFoundError:
        raise ReportError(f"{path}: {f'no {FILE} in this folder' if path.is_dir() else 'no such file'}") from None
    except OSError as error:
        raise ReportError(f"{file}: cannot be read: {error.strerror}") from None
    except ReportError as error:
        raise ReportError(f"{file}: {clean_text(str(error))}") from None
    return report


def _parsed(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        raise ReportError("the file is empty")
    try:
        text = raw.decode("utf-8")
        found = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        what = "cut short: it ends in the middle" if cut else f"not JSON ({error.msg}, line {error.lineno})"
        raise ReportError(what) from None
    except UnicodeDecodeError as error:
        cut = error.end == len(raw) and error.reason == "unexpected end of data"
        raise ReportError("cut short: it ends in the middle" if cut else "not UTF-8 text") from None
    except RecursionError:
        raise ReportError("nested too deeply for a report") from None
    except ReportError:
        raise
    except ValueError:  # a number of thousands of digits
        raise ReportError("not JSON that a report is in") from None
    if not isinstance(found, dict) or "schema" not in found or "hosts" not in found:
        raise ReportError("JSON, but no report of hullproof's")
    if found["schema"] != SCHEMA:
        reads = f"hullproof {version()} reads {SCHEMA}"
        raise ReportError(f"a report of schema {found['schema']}, and {reads}: read it with the version that wrote it")
    safe: dict[str, Any] = _printable(found)
    return safe


def _no_number(word: str) -> None:
    raise ReportError(f"not JSON ({word} is no number there)")


def _printable(value: Any) -> Any:
    """The same without what a terminal or a page could take for its own."""
    if isinstance(value, str):
        return value if value.isprintable() else clean_text(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        safe = {_printable(key): _printable(item) for key, item in value.items()}
        if len(safe) < len(value):
            raise ReportError("names in it differ by characters alone that cannot be printed")
        return safe
    return value


def _check(report: Mapping[str, Any]) -> None:
    try:
        SHAPE.validate_python(report)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ReportError(f"no report as hullproof writes it: {place}: {first['msg']}") from None
    hosts = report["hosts"]
    wrong = [name for name, host in hosts.items() if not _adds_up(host)]
    total = {state: sum(host["summary"].get(state, 0) for host in hosts.values()) for state in State}
    if wrong or report["summary"]["findings"] != total:
        raise ReportError(f"the counts of {', '.join(wrong[:3]) or 'the summary'} are not those of the findings")
    parts = report["run"].get("parts")
    if parts and {name for part in parts for name in part["hosts"]} != set(hosts) and not report["run"].get("shown"):
        raise ReportError("the hosts are not those of the runs that it was merged of")
    if worst([outcome(report).code, report["exit_code"]]) != report["exit_code"]:
        raise ReportError(f"the exit code {report['exit_code']} is not that of the findings ({outcome(report).code})")


def _adds_up(host: Mapping[str, Any]) -> bool:
    counts = Counter(finding["state"] for finding in host["findings"])
    return bool(host["summary"] == {state.value: counts[state.value] for state in State})
