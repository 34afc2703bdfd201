"""Making untrusted values safe to print and to keep: what a host says, and what a policy file holds."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

TEXT = 2_000  # characters of one string
ITEMS = 500  # of one list or mapping
DEPTH = 12

# A whole CSI sequence: colours, cursor movement, erasing. Longer ones (titles, links) are not matched as a whole, for
# what has no end would take our own words after it along; they lose their control characters and stay as text.
CSI = re.compile(r"(?:\x1b\[|\x9b)[0-9;:?<=>]{0,32}[@-~]")


def clean(value: Any, depth: int = 0) -> Any:
    """`value` as JSON that is safe to print: strings cleaned and bounded, lists and mappings bounded in size and depth,
    dataclasses and sets made plain, anything else turned into text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value.value if isinstance(value, Enum) else value)
    if isinstance(value, int):
        return int(value) if abs(value) < 2**64 else clean_text(hex(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return clean_text(value[: 10 * TEXT].decode("utf-8", "replace"))
    return _clean_many(value, depth)


def _clean_many(value: Any, depth: int) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {key.name: getattr(value, key.name) for key in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    if not isinstance(value, (Mapping, list, tuple)):
        return clean_text(str(value))
    if depth >= DEPTH:
        return "…"
    more = len(value) - ITEMS
    if isinstance(value, Mapping):
        rows = list(value.items())[:ITEMS] + ([("…", f"{more:,} more")] if more > 0 else [])
        return {clean_text(str(key)): clean(item, depth + 1) for key, item in rows}
    items = [clean(item, depth + 1) for item in value[:ITEMS]]
    return [*items, f"… {more:,} more"] if more > 0 else items


def clean_text(text: str) -> str:
    """One line without control characters (C0, C1), escape sequences, text direction or zero-width marks."""
    if not text.isprintable():
        text = CSI.sub("", text[: 10 * TEXT])
        text = "".join(letter if letter.isprintable() else _instead(letter) for letter in text)
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


def _instead(letter: str) -> str:
    if letter.isspace():
        return " "
    return "\ufffd" if "\ud800" <= letter <= "\udfff" else ""
