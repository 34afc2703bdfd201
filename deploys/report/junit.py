"""JUnit's XML: a suite per host, a case per control. A host that did not answer, or no host at all, is an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

from deploys.core.control import State

COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
OUTCOMES = {
    State.PASS: "", State.NOT_APPLICABLE: "skipped", State.WAIVED: "skipped", State.UNKNOWN: "error",
    State.FAIL: "failure", State.PENDING_RESTART: "failure", State.PENDING_REBOOT: "failure",
}  # fmt: skip
NO_HOST = "no host in the inventory, or none in --limit"

_quoted = lru_cache(maxsize=10_000)(quoteattr)  # most of what is said is said of each host


class Case(NamedTuple):
    """`outcome`: the tag that says how it ended, "" where all is well; `kind` and `message` are its words."""

    group: str
    name: str
    outcome: str
    kind: str
    message: str


def junit(report: Mapping[str, Any]) -> Iterator[str]:
    """Suite by suite."""
    run = report["run"]
    head = _counted("testsuites", f"hullproof {run['kind']}", _outcomes(report))
    yield f"<?xml version='1.0' encoding='utf-8'?>\n{head}>\n"
    for name, cases in _suites(report):
        head = _counted("testsuite", name, Counter(case.outcome for case in cases))
        yield f"  {head} timestamp={quoteattr(run['started'])}>\n"
        yield "".join(_text(name, case) for case in cases)
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _suites(report: Mapping[str, Any]) -> Iterator[tuple[str, list[Case]]]:
    for host, part in report["hosts"].items():
        status = part["status"]
        silent = [Case("host", "answers", "error", status, part["error"] or status)] if status != "ok" else []
        yield host, [*silent, *map(_case, part["findings"])]
    if not report["hosts"]:
        yield "inventory", [Case("inventory", "names hosts", "error", "empty", NO_HOST)]


def _outcomes(report: Mapping[str, Any]) -> Counter[str]:
    return Counter(case.outcome for _, cases in _suites(report) for case in cases)


def _case(finding: Mapping[str, Any]) -> Case:
    state = finding["state"]
    return Case(finding["subject"], finding["control"], OUTCOMES[state], state, finding["reason"])


def _counted(tag: str, name: str, outcomes: Counter[str]) -> str:
    counts = {"tests": outcomes.total()} | {key: outcomes[outcome] for key, outcome in COUNTS.items()}
    return f"<{tag} name={quoteattr(name)}" + "".join(f' {key}="{count}"' for key, count in counts.items())


def _text(suite: str, case: Case) -> str:
    place = f'    <testcase classname={quoteattr(f"{suite}.{case.group}")} name={_quoted(case.name)} time="0"'
    if not case.outcome:
        return f"{place} />\n"
    said = f"<{case.outcome} type={_quoted(case.kind)} message={_quoted(case.message)} />"
    return f"{place}>\n      {said}\n    </testcase>\n"
