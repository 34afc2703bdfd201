"""What is done with a report afterwards: it is added to a history, of which its page gets a picture, and printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deploys.report.files import write_whole
from deploys.report.page.render import with_trend
from deploys.report.trend import trend_svg
from hullproof.history.answer import Question
from hullproof.history.database import HistoryError
from hullproof.history.query import ask
from hullproof.history.show import points
from hullproof.history.store import record
from hullproof.output import put

SHOWN = timedelta(days=30)  # of the history, in the page's picture


def afterwards(
    report: Mapping[str, Any] | None, code: int, *, history: Path | None, output: str | None, folder: Path | None
) -> int:
    """Add the report to `history`, with a picture of that in the page in the report's `folder`, and print it in the
    form `output` (see hullproof.output), where these are asked for. Returns the exit code: `code`, or 1 where one of
    them could not be done."""
    problems = []
    if history and (why := _record(report, history)):
        problems.append(f"not added to the history in {history}: {why}")
    elif history and folder and (why := _picture(history, folder / "report.html")):
        problems.append(f"the report's page has no picture of the history: {why}")
    if output and (why := put(report, output) if report else "there is no report to print"):
        problems.append(why)
    for problem in problems:
        print(f"hullproof: {problem}. Exit code 1.", file=sys.stderr, flush=True)
    return 1 if problems else code


def _record(report: Mapping[str, Any] | None, folder: Path) -> str:
    """Why it is not there; "" where it is."""
    if report is None:
        return "the run has no report that can be read"
    try:
        record(report, folder)
    except HistoryError as error:
        return str(error)
    return ""


def _picture(history: Path, page: Path) -> str:
    """Why it is not there; "" where it is. The page stays whole in any case."""
    now = datetime.now(UTC)
    try:
        trend = trend_svg(points(ask(history, Question(now - SHOWN, now))))
        write_whole(page, with_trend(page.read_text(encoding="utf-8"), trend))
    except (HistoryError, OSError, ValueError) as error:
        return str(error)
    return ""
