"""`make bench-history`: what a history of 10,000 hosts costs: 150 findings of each, a run a day for 30 days.

Prints a table in Markdown. What is asked is asked by a process of its own, so that its memory is its own too. One
finding in fifty always fails, one in a hundred moves from day to day, one in two hundred cannot be judged.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hullproof.history import store  # noqa: E402
from hullproof.history.database import connect  # noqa: E402

HOSTS, CONTROLS, DAYS = 10_000, 150, 30
DEMANDED = 100  # of the controls; the others do not apply
ADDED = 1_000  # hosts of the report that is added
HEADING = """\
| what | wall s | CPU s | memory, MB |
|---|---|---|---|"""

# A day's run, host by host. Which findings move is drawn by a hash of host and control; how these stand that day by one
# of the day too.
DAY = """
WITH pairs AS (SELECT range // {controls} AS h, range % {controls} AS c FROM range({hosts} * {controls})),
drawn AS (
  SELECT *, 'host-' || lpad(h::VARCHAR, 5, '0') || '.example.org' AS host, 'subject.control-number-' || c AS control,
    hash(h * 1000 + c) % 1000 AS always, hash(h * 1000 + c + 1000000000::BIGINT * {day}) % 1000 AS today
  FROM pairs),
findings AS (
  SELECT *, CASE WHEN c >= {demanded} THEN 'not-applicable' WHEN always < 20 THEN 'fail' WHEN always < 25 THEN 'unknown'
    WHEN always < 35 AND today < 400 THEN 'fail' WHEN today < 1 THEN 'pending-reboot' ELSE 'pass' END AS state
  FROM drawn),
rows AS (
  SELECT 'run' AS level
  UNION ALL BY NAME
  SELECT 'host' AS level, host, 'ok' AS status, count(*) FILTER (state = 'pass') AS passed,
    count(*) FILTER (state = 'fail') AS failed, count(*) FILTER (state = 'pending-reboot') AS pending, 0 AS waived,
    count(*) FILTER (state = 'unknown') AS unknown
  FROM findings GROUP BY host
  UNION ALL BY NAME
  SELECT 'finding' AS level, host, control, ['high', 'medium', 'low'][c % 3 + 1] AS severity, state,
    CASE WHEN state IN ('fail', 'unknown') THEN 'why ' || control || ' fails on ' || host END AS reason
  FROM findings)
SELECT 'run-{day}' AS run, TIMESTAMP '{finished}' AS finished, 'drift' AS kind, 'strict' AS policy, false AS part,
  level, host, status, {counts}, control, severity, state, reason, NULL::VARCHAR AS cause
FROM rows
"""

QUESTIONS = {
    "all that moved, 30 days": ["--since", "30d"],
    "the same, 7 days": ["--since", "7d"],
    "one host, 30 days": ["--since", "30d", "--host", "host-00042.example.org"],
    "one control, 30 days": ["--since", "30d", "--control", "subject.control-number-7"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        history, reports = Path(folder, "history"), Path(folder, "reports")
        make(history)
        size = sum(path.stat().st_size for path in history.rglob("*.parquet"))
        rows = HOSTS * CONTROLS * DAYS
        print(f"{HOSTS:,} hosts, {CONTROLS} findings of each, {DAYS} runs: {rows:,} findings in {size / 1e6:.0f} MB")
        print(HEADING)
        for what, words in QUESTIONS.items():
            measure(what, [*words, "--history", str(history)])
        one_report(reports)
        measure(f"adding a run of {ADDED:,} hosts", ["add", str(reports), "--history", str(history)])


def make(history: Path) -> None:
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    with connect() as database:
        for day in range(DAYS):
            finished = now - timedelta(days=day, minutes=1)
            select = DAY.format(
                hosts=HOSTS,
                controls=CONTROLS,
                demanded=DEMANDED,
                day=day,
                finished=finished,
                counts=", ".join(store.COUNTS),
            )
            store.write(database, select, history / f"{finished:%Y-%m-%d}" / f"run-{day}.parquet", {f"run-{day}"})


def one_report(folder: Path) -> None:
    from deploys.core.control import State
    from deploys.report.files import as_json
    from tests.support.history import a_run

    folder.mkdir()
    hosts = {
        f"host-{n}": {f"a.{c}": State.FAIL if (n + c) % 50 == 0 else State.PASS for c in range(CONTROLS)}
        for n in range(ADDED)
    }
    (folder / "report.json").write_text(as_json(a_run(0, hosts)), encoding="utf-8")


def measure(what: str, words: list[str]) -> None:
    """A row of the table: wall and CPU time and the most memory of a process of its own."""
    command = [sys.executable, "-m", "hullproof", "history", *words]
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        said.seek(0)
        if status:
            raise SystemExit(f"{what}: {said.read().decode()}")
    cpu = used.ru_utime + used.ru_stime
    print(f"| {what} | {wall:.1f} | {cpu:.1f} | {used.ru_maxrss / 1024:.0f} |", flush=True)


if __name__ == "__main__":
    main()
