"""The report's files: JSON and its other forms, each whole or absent, and the operator's alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from deploys.report import formats
from deploys.report.page.since import before

WRITTEN = 5_000  # rows whose text is held meanwhile
Written = dict[int, tuple[Mapping[str, Any], str]]  # by the id of a row that hosts share, which is held so long


def write(directory: Path, report: Mapping[str, Any]) -> list[str]:
    """Write report.json, and its other forms beside it; each is whole or absent, never half, and the operator's alone.
    Returns a sentence for each that could not be written."""
    problems = []
    page = partial(formats.html, before=before(directory, str(report["run"]["id"])))
    forms: dict[str, formats.Form] = {"report.json": as_json, **formats.FORMATS, "report.html": page}
    for name, render in forms.items():
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(directory / name, render(report))
        except Exception as error:  # one form's trouble costs neither the others nor the table on the screen
            problems.append(f"{directory / name} could not be written: {error}")
    return problems


def as_json(report: Mapping[str, Any]) -> Iterator[str]:
    """Host by host, so that the text of a fleet's report is never held as a whole: a line for each finding, which
    grep(1) and diff(1) can tell apart."""
    between = "{\n"
    for key, value in report.items():
        yield f"{between}{_text(key)}: "
        yield from _hosts(value) if key == "hosts" else (_text(value),)
        between = ",\n"
    yield "\n}\n"


def _hosts(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    between = "{\n"
    written: Written = {}
    for host, part in hosts.items():
        yield f"{between}{_text(host)}: {_host(part, written)}"
        between = ",\n"
    yield "\n}" if hosts else "{}"


def _host(part: Mapping[str, Any], written: Written) -> str:
    if len(written) > WRITTEN:
        written.clear()
    written |= {id(row): (row, _text(row)) for row in part["findings"] if id(row) not in written}
    rows = ",\n".join(written[id(row)][1] for row in part["findings"])
    return ",\n".join(
        f'"{key}": [\n{rows}\n]' if key == "findings" and rows else f"{_text(key)}: {_text(value)}"
        for key, value in part.items()
    ).join("{}")


_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def write_whole(path: Path, text: str | Iterable[str], mode: int = 0o600) -> None:
    """A file, by default of the operator's alone: beside it, synced, renamed, and the folder synced. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(text)
            file.flush()
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
