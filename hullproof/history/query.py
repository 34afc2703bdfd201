"""What a history says of a stretch of time. DuckDB does the work, over all findings' rows but once: most pairs of a
host and a control never move, so those that do are found first, as small numbers, and looked at alone.

A row is a reading: a state at a time. Nothing is concluded from a host or a finding that is absent; only a whole look
(a run of all controls that judged the host) that no longer has a finding says that this is not judged any more.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hullproof.history import sql, store
from hullproof.history.answer import Answer, Question, Row
from hullproof.history.database import HistoryError, connect, quoted, said

if TYPE_CHECKING:
    import duckdb


def ask(folder: Path, question: Question) -> Answer:
    """Raises HistoryError where there is nothing to say."""
    if not folder.is_dir():
        raise HistoryError(f"there is no history in {folder}: `hullproof history add REPORT` begins one")
    with store.reading(folder):
        with connect() as database:
            files = store.files(database, folder)
        return _of_what_is_whole(folder, files, question)


def _of_what_is_whole(folder: Path, files: store.Files, question: Question) -> Answer:
    """A file may be damaged where that is seen only when it is read: it is found, named and left out."""
    import duckdb

    try:
        return _answer(folder, files, question)
    except duckdb.Error as error:
        with connect() as database:
            damaged = [file for file in files.good if not store.whole(database, file)]
        if not damaged:
            raise HistoryError(f"the history in {folder} cannot be read: {said(error)}") from None
    problems = [*files.problems, *(f"{file.path} cannot be read: it is damaged" for file in damaged)]
    return _answer(folder, store.Files([file for file in files.good if file not in damaged], [], problems), question)


def _answer(folder: Path, files: store.Files, question: Question) -> Answer:
    if not files.good:
        raise HistoryError("; ".join([f"there is nothing to read in the history in {folder}", *files.problems]))
    answer = Answer(_iso(question.since), _iso(question.until), problems=files.problems)
    with connect() as database:
        _prepare(database, files, question)
        _about(database, question, answer)
        database.execute("CREATE TYPE host_t AS ENUM (SELECT DISTINCT host FROM rows ORDER BY host)")
        database.execute("CREATE TYPE control_t AS ENUM (SELECT DISTINCT control FROM rows ORDER BY control)")
        database.execute(sql.CHANGES)
        for name, select in sql.ANSWERS.items():
            setattr(answer, name, _select(database, select))
    return answer


def _prepare(database: duckdb.DuckDBPyConnection, files: store.Files, question: Question) -> None:
    times = {"since": question.since, "until": question.until, "unseen": question.until - question.unseen}
    for name, moment in times.items():
        text = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
        database.execute(f"CREATE MACRO {name}_() AS TIMESTAMP {quoted(text)}")
    database.execute(f"CREATE MACRO flaps_() AS {question.flaps}")
    hosts, controls = _any_of("host", question.hosts), _any_of("control", question.controls)
    database.execute(f"CREATE VIEW every AS {_read(file.path for file in files.good)} WHERE host IS NULL OR {hosts}")
    database.execute(sql.LOOKS)
    keep = f"level = 'finding' AND {hosts} AND {controls}"
    parts = ["FROM every WHERE false"]
    if window := _files(database, "SELECT DISTINCT filename FROM looks WHERE finished >= since_()"):
        parts.append(f"{_read(window)} WHERE {keep} AND finished BETWEEN since_() AND until_()")
    if before := _files(database, "SELECT DISTINCT filename FROM earlier"):
        parts.append(f"{_read(before)} SEMI JOIN earlier USING (run, host) WHERE {keep}")
    database.execute(f"CREATE VIEW rows AS {' UNION ALL '.join(parts)}")
    database.execute(sql.COUNTED_ANEW if question.controls else sql.COUNTED)


def _any_of(column: str, patterns: Iterable[str]) -> str:
    return f"({' OR '.join(f'{column} GLOB {quoted(each)}' for each in patterns) or 'true'})"


def _read(paths: Iterable[Path]) -> str:
    listed = ", ".join(quoted(glob.escape(str(path))) for path in paths)
    return f"FROM read_parquet([{listed}], filename = true, hive_partitioning = false)"


def _files(database: duckdb.DuckDBPyConnection, select: str) -> list[Path]:
    return [Path(row[0]) for row in database.execute(select).fetchall()]


def _about(database: duckdb.DuckDBPyConnection, question: Question, answer: Answer) -> None:
    """Raises HistoryError where no run is of that time, or no host or control of that name."""
    (found,) = _select(database, sql.ABOUT)
    if not found["runs"]:
        newest = _select(database, "SELECT max(finished) AS last FROM every")[0]["last"]
        raise HistoryError(f"no run finished since {answer.since}: the newest in the history did at {newest}")
    if question.hosts and not _select(database, "SELECT 1 AS one FROM looks LIMIT 1"):
        raise HistoryError(f"no host in the history is called {' or '.join(question.hosts)}")
    if question.controls and not _select(database, "SELECT 1 AS one FROM rows LIMIT 1"):
        raise HistoryError(f"no control that was judged since then is called {' or '.join(question.controls)}")
    for name, value in found.items():
        setattr(answer, name, value)


def _select(database: duckdb.DuckDBPyConnection, select: str) -> list[Row]:
    found = database.execute(select)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in found.fetchall()]


def _plain(value: Any) -> Any:
    return _iso(value.replace(tzinfo=UTC)) if isinstance(value, datetime) else value


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
