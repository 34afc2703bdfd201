"""Runs the data cases, in pyinfra's own convention: tests/support/cases.py says what they are."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from pyinfra_testing.facts import make_fact_tests

from tests.support.cases import CASES, read

WHOLE = TemporaryDirectory(prefix="hullproof-cases-")  # pyinfra reads them again for each test


def whole(folder: Path) -> Path:
    """The same cases, none of which leans on another."""
    made = Path(WHOLE.name) / folder.name
    made.mkdir()
    for path in folder.glob("*.json"):
        (made / path.name).write_text(json.dumps(read(path)))
    return made


for folder in sorted(path for path in CASES.iterdir() if path.is_dir()):
    globals()[f"Test_{folder.name}"] = make_fact_tests("facts", folder.name, whole(folder))
