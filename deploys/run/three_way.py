"""A file that others own too, with what one change put there taken out again and what they wrote since kept.

Three texts meet: the file as it was before the change, as the change wrote it, and as it is now. None: there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import Any

from deploys.core.json_merge import merge_text

MOST_LINES = 5000
_ABSENT: Any = object()


class Conflict(Exception):
    """What the change wrote was itself changed since; the text says what of it, and no value: it may be a secret."""


def merged_json(was: str | None, wrote: str, now: str | None) -> str | None:
    """By top-level keys, and by the keys of objects below them. Order and indentation are those of `now`."""
    before, ours, theirs = _keys(was), _keys(wrote), _keys(now)
    after = _without(before, ours, theirs, above="")
    put = {key: value for key, value in after.items() if key not in theirs or theirs[key] != value}
    if not after and was is None:
        return None
    return merge_text(now, put, [key for key in theirs if key not in after])


def _keys(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text and text.strip() else {}
    except ValueError as error:
        raise Conflict("it is not JSON") from error
    if not isinstance(found, dict):
        raise Conflict("it is not a JSON object")
    return found


def _without(was: Mapping[str, Any], ours: Mapping[str, Any], now: Mapping[str, Any], *, above: str) -> dict[str, Any]:
    after = dict(now)
    for key in {**was, **ours}:
        before, put, there = (values.get(key, _ABSENT) for values in (was, ours, now))
        if before == put or there == before:
            continue
        if there == put:
            value = before
        elif isinstance(put, dict) and isinstance(there, dict) and (before is _ABSENT or isinstance(before, dict)):
            value = _without({} if before is _ABSENT else before, put, there, above=f"{above}{key}.")
        else:
            raise Conflict(f"{above}{key} was changed once more")
        if value is _ABSENT:
            after.pop(key, None)
        else:
            after[key] = value
    return after


def merged_lines(was: str | None, wrote: str, now: str | None) -> str | None:
    """By lines: those that the change added go, and those that it took away come back where they were."""
    old, ours, theirs = (_lines(text) for text in (was, wrote, now))
    place = _places(ours, theirs)
    gone: set[int] = set()
    back: dict[int, list[str]] = {}  # before which line of theirs
    for tag, first, end, start, stop in SequenceMatcher(None, ours, old).get_opcodes():
        if tag == "equal":
            continue
        found = [place[i] for i in range(first, end) if i in place]
        if len(found) != end - first and (found or start != stop):
            raise Conflict("a line that this run wrote was changed once more")
        gone.update(found)
        if start != stop:
            back.setdefault(found[0] if found else _beside(first, place, len(theirs)), []).extend(old[start:stop])
    after = [line for i in range(len(theirs) + 1) for line in (*back.get(i, ()), *theirs[i : i + (i not in gone)])]
    if not after and was is None:
        return None
    return "".join(f"{line}\n" for line in after)


def _lines(text: str | None) -> list[str]:
    lines = (text or "").removesuffix("\n").split("\n") if text else []
    if len(lines) > MOST_LINES:
        raise Conflict(f"it has more than {MOST_LINES} lines")
    return lines


def _places(ours: list[str], theirs: list[str]) -> dict[int, int]:
    """Where each of our lines is among theirs: in the same order, or else where such a line is there once."""
    blocks = SequenceMatcher(None, ours, theirs).get_matching_blocks()
    place = {block.a + n: block.b + n for block in blocks for n in range(block.size)}
    taken = set(place.values())
    by_text: dict[str, list[int]] = {}
    for i, line in enumerate(theirs):
        if i not in taken:
            by_text.setdefault(line, []).append(i)
    for i, line in enumerate(ours):
        if i not in place and len(found := by_text.get(line, [])) == 1:
            place[i] = found[0]
    return place


def _beside(first: int, place: Mapping[int, int], end: int) -> int:
    """Where lines come back that were between two of ours: behind the one before, before the one behind, or last."""
    if first - 1 in place:
        return place[first - 1] + 1
    return place.get(first, end)


MERGES: Mapping[str, Callable[[str | None, str, str | None], str | None]] = {
    "json": merged_json,
    "lines": merged_lines,
}
