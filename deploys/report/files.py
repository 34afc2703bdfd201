"""The report's files: JSON and its other forms, each whole or absent, and the operator's alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from deploys.report import formats
from deploys.report.page.since import before


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


def as_json(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_whole(path: Path, text: str) -> None:
    """A file of the operator's alone (0600): beside it, synced, renamed, and the folder synced. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
