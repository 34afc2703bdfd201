"""What is done with a run's report once it is over: it is added to a history, and printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hullproof.history.database import HistoryError
from hullproof.history.store import record
from hullproof.output import put


def afterwards(report: Mapping[str, Any] | None, code: int, *, history: Path | None, output: str | None) -> int:
    """Add the report to `history`, and print it in the form `output` (see hullproof.output), where these are asked for.
    Returns the exit code: `code`, or 1 where one of them could not be done."""
    problems = []
    if history and (why := _record(report, history)):
        problems.append(f"not added to the history in {history}: {why}")
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
