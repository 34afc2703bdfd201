"""The published schemas of tests/schemas, to hold a report's forms against."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

FOLDER = Path(__file__).resolve().parents[1] / "schemas"
# Classes of Unicode that Python's patterns do not have.
CLASSES = {r"\\p{L}": r"[^\\W\\d_]", r"\\p{N}": r"\\d"}


@cache
def validator(name: str) -> Callable[[Any], Any]:
    """Raises JsonSchemaException where what it is called with is not as the schema wants it."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    for theirs, ours in CLASSES.items():
        text = text.replace(theirs, ours)
    valid: Callable[[Any], Any] = fastjsonschema.compile(json.loads(text))
    return valid
