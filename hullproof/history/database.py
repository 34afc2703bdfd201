"""DuckDB as the history uses it: in memory, within its limits, without network and extensions, spilling to a folder of
its own."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

MEMORY = "700MB"  # with Python and what DuckDB does not count, a process stays within 1 GB
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": MEMORY,
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


class HistoryError(Exception):
    """What went wrong, as a sentence that says what to do."""


@contextlib.contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """Raises HistoryError where DuckDB is not installed."""
    try:
        import duckdb
    except ImportError:
        raise HistoryError("the history needs DuckDB: pip install 'hullproof[history]'") from None
    with tempfile.TemporaryDirectory(prefix="hullproof-history-") as folder:
        connection = duckdb.connect(config=CONFIG | {"temp_directory": folder})
        try:
            yield connection
        finally:
            connection.close()


def said(error: Exception) -> str:
    """DuckDB's error in one line: the system's where it is one of its, else the first, without what DuckDB advises."""
    number = re.search(r'"errno":"(\d+)"', str(error))
    return os.strerror(int(number[1])) if number else str(error).strip().splitlines()[0]


def quoted(text: str) -> str:
    """As a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
