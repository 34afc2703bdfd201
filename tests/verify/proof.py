"""What a proof says of itself: its end in pytest, and its row in the file that --proofs-json names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deploys.core.text import clean_text
from tests.verify.probe import CannotTell, NotProved, Outcome
from tests.verify.verdict import Verdict, denied

FIELDS = ("id", "title", "control", "host", "evidence", "settled")


def marked(item: pytest.Function) -> tuple[str, str]:
    """A proof's title (what is tried) and the id of the control that it proves, from its `proof` marks: one for all
    engines, or by engine."""
    title: str = ""
    control: str | dict[str, str] = ""
    for mark in reversed(list(item.iter_markers("proof"))):
        title = mark.args[0] if mark.args else title
        control = mark.kwargs.get("control", control)
    return title, control if isinstance(control, str) else control[str(item.callspec.params["engine"])]


class Proof:
    """The running test, which ends with `settle`."""

    def __init__(self, item: pytest.Function, host: str) -> None:
        self.title, self.control = marked(item)
        self.host = host
        self.told = item.user_properties
        params = dict(item.callspec.params)
        rows = [str(params.pop(key)) for key in ("engine", *params) if key in params and key != "prober"]
        name = "/".join([item.path.stem.removeprefix("test_"), item.originalname.removeprefix("test_"), *rows])
        self.told += [("id", name), ("title", self.title), ("control", self.control), ("host", host)]

    def settle(self, attempt: Callable[[], Verdict | Outcome]) -> None:
        """Make the attempt and pass, fail or skip as its verdict says. A bare outcome must have been a refusal."""
        __tracebackhide__ = True
        found: Verdict | Outcome | NotProved
        try:
            found = attempt()
        except CannotTell as reason:
            found = Verdict(None, str(reason))
        except NotProved as reason:
            found = reason
        self._end(denied(found) if isinstance(found, Outcome) else found)

    def _end(self, end: Verdict | NotProved) -> None:
        __tracebackhide__ = True
        evidence = clean_text(end.evidence if isinstance(end, Verdict) else str(end))
        self.told.append(("evidence", evidence))
        if isinstance(end, NotProved):
            pytest.fail(f"{self.host}: {self.control} is not proved ({self.title}): {evidence}", pytrace=False)
        if end.holds is None:
            pytest.skip(f"{self.host}: {self.control}: {evidence}")
        self.told.append(("settled", "yes"))
        if not end.holds:
            pytest.fail(f"{self.host}: {self.control} is not in force: {self.title}.\n  {evidence}", pytrace=False)


class ProofReport:
    """[{id, title, control, host, evidence, settled, outcome}], outcome: passed, failed or skipped; settled: "" where
    the attempt could not be made or judged. Reports reach it from the workers of pytest-xdist too."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = {str(key): str(value) for key, value in report.user_properties}
        if report.when == "call" and "id" in told:
            self.rows.append({**{field: told.get(field, "") for field in FIELDS}, "outcome": report.outcome})

    def pytest_sessionfinish(self) -> None:
        self.file.write_text(json.dumps(self.rows, indent=2) + "\n")
