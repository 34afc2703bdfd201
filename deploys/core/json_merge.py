"""JSON files that several changes write: one write out of all of them, and the text with keys set and unset."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from deploys.core.change import MergeJson, WriteFile, controls_of
from facts.core.json_text import load


def merged(merges: Sequence[MergeJson]) -> WriteFile:
    """One write out of several merges of the same file. ValueError where two of them want different values."""
    first = merges[0]
    put: dict[str, Any] = {}
    for merge in merges:
        for key, value in merge.put.items():
            if key in put and put[key] != value:
                raise ValueError(f"{first.path}: {key} is wanted as {put[key]!r} and as {value!r}")
            put[key] = value
    drop = tuple(key for merge in merges for key in merge.drop)
    return WriteFile(
        first.subject,
        f"write {first.path}: {'; '.join(merge.what for merge in merges)}",
        path=first.path,
        text=merge_text(first.before, put, drop),
        before=first.before,
        mode="" if first.before is not None else "0644",
        owner="" if first.before is not None else "root:root",
        validate=next((merge.validate for merge in merges if merge.validate), ""),
        service=replace(first.service) if first.service else None,
        controls=controls_of(merges),
        shared="json",
    )


def merge_text(before: str | None, put: dict[str, Any], drop: Iterable[str] = ()) -> str:
    """JSON text with top-level keys set and unset; the order, indentation and last newline of `before` are kept."""
    text = before or ""
    content: dict[str, Any] = load(text) if text.strip() else {}
    for key in drop:
        content.pop(key, None)
    content.update(put)
    indent = re.search(r'^([ \t]+)"', text, re.MULTILINE)
    end = "" if text.strip() and not text.endswith("\n") else "\n"
    return json.dumps(content, indent=indent[1] if indent else 2, ensure_ascii=False) + end
