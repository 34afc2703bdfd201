"""One look of a watch: a drift run, its report among the newest that are kept, its metrics where they are collected."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploys.report import metrics
from deploys.report.files import write_whole
from deploys.report.metrics import Report
from hullproof import running
from hullproof.watching.state import State

METRICS_MODE = 0o644  # node_exporter reads them as a user of its own
# What the service is handed by systemd, as data of pyinfra's hosts.
CREDENTIALS = {"ssh_key": "ssh_key", "known_hosts": "ssh_known_hosts_file"}


@dataclass(frozen=True)
class Look:
    """What is asked of it; `policy` "" leaves the choice to the inventory."""

    name: str
    inventory: Path
    state: State
    policy: str = ""
    keep: int = 100
    metrics: Path | None = None


def look(asked: Look) -> int:
    """The exit code: the run's own, or 1 where something of it could not be kept. Raises WatchError where another look
    is under way or the inventory cannot be read."""
    now = datetime.now(UTC)
    with asked.state.locked(now):
        problems: list[str] = []
        code, report = _run(asked, now, problems)
        with _noting(problems, "older reports could not be cleared away"):
            asked.state.prune(asked.keep)
        surveyed = _surveyed(asked.state, report)
        if report:
            with _noting(problems, "when hosts were judged could not be kept"):
                asked.state.keep_surveyed(surveyed)
        code = 1 if problems else code
        if asked.metrics:
            with _noting(problems, "the metrics could not be written"):
                watch = metrics.Watch(asked.name, time.time(), code, surveyed)
                text = metrics.render(report or asked.state.newest()[1], watch)
                write_whole(metrics_file(asked.metrics, asked.name), text, METRICS_MODE)
        for problem in problems:
            print(f"hullproof: {problem}", file=sys.stderr)
        return 1 if problems else code


def metrics_file(folder: Path, name: str) -> Path:
    return folder / f"hullproof-{name}.prom"


def _run(asked: Look, now: datetime, problems: list[str]) -> tuple[int, Report | None]:
    if why := unreadable(asked.inventory):
        problems.append(why)
        return 1, None
    folder = asked.state.new_report(now)
    data = {"report": str(folder), **({"policy": asked.policy} if asked.policy else {}), **_credentials()}
    words = [word for key, value in data.items() for word in ("--data", f"{key}={value}")]
    ended = running.start(running.pyinfra_command("drift", str(asked.inventory), words))
    report = ended.read_report()
    if report and report["hosts"]:
        return ended.code, report
    # Of no host nothing is known: in the place of what was known of them it would pass for a fleet without findings.
    why = ended.problem or (report["run"]["problem"] or "no host was found" if report else "it brought no report")
    problems.append(f"{why}; the reports of earlier looks are kept")
    shutil.rmtree(folder, ignore_errors=True)
    return 1, None


def unreadable(inventory: Path) -> str:
    """Why the inventory cannot be read; "" where it can."""
    try:
        inventory.read_bytes()
    except OSError as error:
        return f"the inventory {inventory} cannot be read: {error.strerror}"
    return ""


def _credentials() -> dict[str, str]:
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"))
    return {key: str(folder / name) for name, key in CREDENTIALS.items() if (folder / name).exists()}


def _surveyed(state: State, report: Report | None) -> dict[str, float]:
    """When each host was last judged; hosts that are no longer in the inventory are forgotten."""
    before = state.surveyed()
    if not report:
        return before
    return {name: at for name, at in (before | metrics.surveyed(report)).items() if name in report["hosts"]}


@contextlib.contextmanager
def _noting(problems: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problems.append(f"{what}: {error}")
