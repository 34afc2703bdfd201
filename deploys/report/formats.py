"""The report's other forms: HTML, SARIF and JUnit; metrics.py has Prometheus text. Each is made from the report
object alone.

state                          SARIF                    JUnit
pass                           -                        passed
fail, pending-*                result, level by severity  failure
unknown                        result, level by severity  error: never green, and not a failure either
waived                         result, suppressed       skipped, with the reason
not-applicable                 -                        skipped, with the reason
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader

from deploys.core import templates
from deploys.core.control import State
from deploys.report import metrics, waivers
from deploys.report.junit import junit
from deploys.report.report import outcome, part_judged
from deploys.report.sarif import sarif as sarif

Report = Mapping[str, Any]


def holds(finding: Mapping[str, Any]) -> bool:
    return State(finding["state"]).holds


def _findings(report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    for host, part in report["hosts"].items():
        for finding in part["findings"]:
            yield host, finding


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates.FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["holding"] = holds
    environment.filters["sentences"] = waivers.sentences
    environment.filters["outcome"] = _outcome_words
    return environment


def _outcome_words(report: Report) -> str:
    part = part_judged(report["run"])
    return outcome(report).words + (f". {part[:-1]}" if part else "")


def html(report: Report) -> str:
    """One page that needs nothing else: no script, no picture, no font."""
    return _templates().get_template("report/report.html.j2").render(report=report)


FORMATS: dict[str, Callable[[Report], str | Iterable[str]]] = {
    "report.html": html,
    "report.sarif": sarif,
    "junit.xml": junit,
    "metrics.prom": metrics.render,
}
