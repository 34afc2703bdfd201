"""Keeping a history small: a closed day's runs in one file, old days thinned to each host's last look, older ones gone.

Each does what it does by a rename and by removals after it: killed at any point, the history says what it said before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hullproof.history import store
from hullproof.history.database import HistoryError, connect

if TYPE_CHECKING:
    import duckdb

ALL = "SELECT * FROM read_parquet($files)"
# Of each host its last whole look of the day, else its last look; of runs, those that have such a look.
LAST = f"""
WITH every AS (FROM read_parquet($files)),
looks AS (
  SELECT run, host FROM every WHERE level = 'host'
  QUALIFY row_number() OVER (
    PARTITION BY host ORDER BY (status = 'ok' AND NOT part AND {store.DEMANDED} > 0) DESC, finished DESC, run DESC) = 1)
SELECT every.* FROM every SEMI JOIN looks USING (run, host)
UNION ALL
SELECT every.* FROM every SEMI JOIN looks USING (run) WHERE level = 'run'
"""


@dataclass
class Kept:
    """Days that were rewritten or removed, and a sentence for each file that was left as it is."""

    days: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def compact(folder: Path) -> Kept:
    """Makes one file of each closed day's. Raises HistoryError."""
    return _keep(folder, lambda database, day, found, kept: _rewrite(database, day, found, kept, daily=False))


def prune(folder: Path, keep: timedelta, daily: timedelta | None = None) -> Kept:
    """Removes days that are older than `keep`, and keeps of days older than `daily` each host's last look alone.
    Raises HistoryError."""
    today = date.fromisoformat(store.today())

    def one(database: duckdb.DuckDBPyConnection, day: Path, found: store.Files, kept: Kept) -> None:
        age = today - date.fromisoformat(day.name)
        if age > keep:
            for path in [*found.twice, *(file.path for file in found.good)]:
                path.unlink()
            kept.removed.append(day.name)
        elif daily is not None and age > daily:
            _rewrite(database, day, found, kept, daily=True)

    return _keep(folder, one)


def _keep(folder: Path, one: Callable[[duckdb.DuckDBPyConnection, Path, store.Files, Kept], None]) -> Kept:
    kept = Kept()
    if not folder.is_dir():
        raise HistoryError(f"there is no history in {folder}")
    with connect() as database, store.locked(folder, alone=True):
        for left in [*folder.glob(".*.lines"), *folder.glob("*/.*.parquet.*")]:
            left.unlink()  # nobody is at it: whoever wrote it was killed
        for day in _closed(folder):
            found = store.files(database, day)
            kept.problems += found.problems
            if found.good:
                one(database, day, found, kept)
            with contextlib.suppress(OSError):
                day.rmdir()
    return kept


def _closed(folder: Path) -> Iterator[Path]:
    for day in sorted(path for path in folder.iterdir() if path.is_dir()):
        with contextlib.suppress(ValueError):
            if date.fromisoformat(day.name) < date.fromisoformat(store.today()):
                yield day


def _rewrite(database: duckdb.DuckDBPyConnection, day: Path, found: store.Files, kept: Kept, daily: bool) -> None:
    own, daily = day / store.DAY, daily or all(file.daily for file in found.good)
    others = [*found.twice, *(file.path for file in found.good if file.path != own)]
    if len(found.good) == 1 and not found.twice and found.good[0].daily >= daily:
        return
    runs = frozenset[str]().union(*(file.runs for file in found.good))
    store.write(database, LAST if daily else ALL, own, runs, daily, {"files": found.paths()})
    for path in others:
        path.unlink()
    kept.days.append(day.name)
