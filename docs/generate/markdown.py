"""Markdown out of the code's own words: text that is not markup, values, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

GENERATED = "This page is generated from the code: `make docs`."


def text(words: str) -> str:
    """One paragraph; nothing in it is markup except backquotes, which rows use for names."""
    words = " ".join(words.split())
    return "".join(
        f"\\{letter}" if letter in "\\*_[]<>|#" and not inside else letter for letter, inside in _quoted(words)
    )


def _quoted(words: str) -> Iterator[tuple[str, bool]]:
    inside = False
    for letter in words:
        inside ^= letter == "`"
        yield letter, inside


def sentence(words: str) -> str:
    """The words with a full stop, and a capital where they do not begin with a name or a value."""
    words = " ".join(words.split())
    if not words:
        return ""
    first = words.partition(" ")[0]
    capital = words[:1].upper() if first.rstrip(",").isalpha() else words[:1]
    return f"{capital}{words[1:]}{'' if words.endswith(('.', '!', '?')) else '.'}"


def value(found: Any) -> str:
    """A value as a policy would have it, in backquotes."""
    return f"`{json.dumps(found, ensure_ascii=False)}`" if not isinstance(found, str) else f"`{found}`"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
