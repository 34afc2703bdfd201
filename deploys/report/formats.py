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

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deploys.report import metrics
from deploys.report.junit import junit
from deploys.report.page import render
from deploys.report.sarif import sarif as sarif

Report = Mapping[str, Any]
Form = Callable[[Report], str | Iterable[str]]

html = render.html


FORMATS: dict[str, Form] = {
    "report.html": html,
    "report.sarif": sarif,
    "junit.xml": junit,
    "metrics.prom": metrics.render,
}
