"""The folder of a history: a folder per day (UTC), in it a Parquet file per run, or one for all runs of a closed day.

Every file is written beside and renamed, so it is whole or absent. Whoever reads or adds holds the folder's lock with
others; whoever replaces and removes files (compacting, pruning) holds it alone. A run whose file is left beside the
day's, which has it too, is read once.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploys.core.control import Severity, State
from hullproof.history import rows
from hullproof.history.database import HistoryError, connect, quoted, said

if TYPE_CHECKING:
    import duckdb

SCHEMA = 1
KEY = "hullproof.history"  # of the metadata in each file: {"schema", "runs": [id], "daily": bool}
DAY = "_day.parquet"  # a closed day's runs; a run's own file is named after its id, which begins with a letter or digit

RUN = "run VARCHAR, finished TIMESTAMP, kind VARCHAR, policy VARCHAR, part BOOLEAN"
FINDING = "control VARCHAR, severity VARCHAR, state VARCHAR, reason VARCHAR, cause VARCHAR"
COUNTS = tuple(dict.fromkeys(rows.COUNTS.values()))
COLUMNS = f"{RUN}, level VARCHAR, host VARCHAR, status VARCHAR, {', '.join(f'{c} INTEGER' for c in COUNTS)}, {FINDING}"

DEMANDED = f"({' + '.join(COUNTS)})"  # of a host's row: how many controls the policy asks for


@dataclass(frozen=True)
class File:
    path: Path
    runs: frozenset[str]
    daily: bool = False


@dataclass(frozen=True)
class Files:
    """What can be read, each run in one of them alone; files all of whose runs are in others of them too; a sentence
    for each file that cannot be read."""

    good: list[File] = field(default_factory=list)
    twice: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def paths(self) -> list[str]:
        """As DuckDB takes them: it would read brackets in a folder's name as a pattern."""
        return [glob.escape(str(file.path)) for file in self.good]


def record(report: Mapping[str, Any] | bytes, folder: Path) -> list[str]:
    """Adds the run of a report, or the runs of a merged one, to the history in `folder`, which is made if need be.
    `report`: the object, or a report.json's bytes, which take less memory.
    Returns the ids of those that were not there yet. Raises HistoryError; nothing is half-written."""
    runs = rows.runs(report)
    with connect() as database, locked(folder):
        return [run.id for run in runs if _add(database, run, folder / run.day)]


@contextlib.contextmanager
def locked(folder: Path, alone: bool = False) -> Iterator[None]:
    """Raises HistoryError where the folder cannot be made or written, or, for `alone`, while others are at it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise HistoryError(f"{folder} cannot be used as a history: {error.strerror}") from None
    with os.fdopen(lock):
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX | fcntl.LOCK_NB) if alone else fcntl.LOCK_SH)
        except BlockingIOError:
            raise HistoryError(f"{folder} is in use by another hullproof: try again when that has ended") from None
        yield


def reading(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Keeps the files where they are; where the folder is not ours to write, nobody is kept from anything."""
    return locked(folder) if os.access(folder, os.W_OK) else contextlib.nullcontext()


def files(database: duckdb.DuckDBPyConnection, folder: Path) -> Files:
    """All Parquet files below `folder` that are of a history, the days' before the runs'. Raises HistoryError."""
    if not folder.is_dir():
        raise HistoryError(f"there is no history in {folder}: `hullproof history add REPORT` begins one")
    found, seen = Files(), set[str]()
    for path in sorted(folder.rglob("*.parquet"), key=lambda path: (path.parent, path.name != DAY, path.name)):
        if path.name.startswith("."):
            continue
        try:
            file = _inspect(database, path)
        except HistoryError as error:
            found.problems.append(f"{path} {error}")
            continue
        if file.runs <= seen:
            found.twice.append(path)
        else:
            found.good.append(file)
            seen |= file.runs
    return found


def _inspect(database: duckdb.DuckDBPyConnection, path: Path) -> File:
    """Raises HistoryError for a file that is not to be read; the sentence goes on from the file's name."""
    import duckdb

    question = "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = ?"
    try:
        found = database.execute(question, [glob.escape(str(path)), KEY]).fetchone()
        about = json.loads(found[0]) if found else None
    except (duckdb.Error, ValueError):
        raise HistoryError("cannot be read: it is cut short, or no Parquet file") from None
    if not isinstance(about, dict) or not isinstance(about.get("runs"), list) or not about["runs"]:
        raise HistoryError("is not of hullproof's history: another program has written it")
    if about.get("schema") != SCHEMA:
        raise HistoryError(f"is of schema {about.get('schema')}, and this hullproof reads {SCHEMA}: use the newer one")
    return File(path, frozenset(map(str, about["runs"])), bool(about.get("daily")))


def whole(database: duckdb.DuckDBPyConnection, file: File) -> bool:
    """Whether all of the file can be read, and is what it says it is."""
    import duckdb

    try:
        database.execute(WHOLE, [glob.escape(str(file.path))])
        return bool((database.fetchone() or (False,))[0])
    except duckdb.Error:
        return False


def _add(database: duckdb.DuckDBPyConnection, run: rows.Recorded, day: Path) -> bool:
    import duckdb

    if day.is_dir() and any(run.id in file.runs for file in files(database, day).good):
        return False
    about = {"run": run.id, "finished": run.finished, "kind": run.kind, "policy": run.policy, "part": run.part}
    problem = f"INSERT INTO added BY NAME SELECT {ABOUT}, 'run' AS level, $problem AS reason"
    try:
        database.execute(f"CREATE OR REPLACE TEMP TABLE added ({COLUMNS})")
        database.execute(problem, {**about, "problem": run.problem})
        with _lines(day.parent, rows.host_rows(run)) as lines:
            database.execute(INSERT, {**about, "lines": glob.escape(str(lines))})
    except duckdb.Error as error:
        raise HistoryError(f"run {run.id} could not be added: {said(error)}") from None
    write(database, "SELECT * FROM added", day / f"{run.id}.parquet", {run.id})
    return True


ABOUT = "$run AS run, $finished AS finished, $kind AS kind, $policy AS policy, $part AS part"
NAMES = ", ".join(column.split()[0] for column in COLUMNS.split(", "))
WHOLE = f"""
SELECT bit_xor(hash({NAMES})) IS NOT NULL AND count(*) FILTER (level = 'finding' AND (host IS NULL OR control IS NULL
  OR coalesce(state, '') NOT IN ({", ".join(map(quoted, State))})
  OR coalesce(severity, '') NOT IN ({", ".join(map(quoted, Severity))}))) = 0
FROM read_parquet(?)
"""
INSERT = f"""
INSERT INTO added BY NAME
WITH hosts AS (
  FROM read_json($lines, format = 'newline_delimited', columns = {{host: 'VARCHAR', status: 'VARCHAR', error: 'VARCHAR',
    {", ".join(f"{column}: 'INTEGER'" for column in COUNTS)}, findings: 'STRUCT({FINDING})[]'}})),
about AS (SELECT {ABOUT})
SELECT about.*, 'host' AS level, hosts.* EXCLUDE (error, findings), error AS reason FROM hosts, about
UNION ALL BY NAME
SELECT about.*, 'finding' AS level, host, finding.* FROM
  (SELECT host, unnest(findings) AS finding FROM hosts) AS one, about
"""


@contextlib.contextmanager
def _lines(folder: Path, found: Iterable[Mapping[str, Any]]) -> Iterator[Path]:
    """A file with an object per line, for DuckDB to read; it is gone afterwards."""
    path = folder / f".{os.getpid()}.{os.urandom(4).hex()}.lines"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in found)
        yield path
    except OSError as error:
        raise HistoryError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        path.unlink(missing_ok=True)


def write(
    database: duckdb.DuckDBPyConnection,
    select: str,
    path: Path,
    runs: Iterable[str],
    daily: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """The rows of `select` as a file of the history, whole or not at all, and the operator's alone. Raises
    HistoryError."""
    import duckdb

    about = json.dumps({"schema": SCHEMA, "runs": sorted(runs), "daily": daily})
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        database.execute(
            f"COPY ({select}) TO {quoted(str(beside))} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false, "
            f"KV_METADATA {{'{KEY}': {quoted(about)}}})",
            parameters or {},
        )
        _sync(beside)
        os.replace(beside, path)
        _sync(path.parent)
    except (OSError, duckdb.Error) as error:
        why = error.strerror if isinstance(error, OSError) else said(error)
        raise HistoryError(f"{path} could not be written: {why}") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"
