"""What a pure function has asked of a survey, so that its outcome can serve another host of which the same was read.

A fleet's hosts say much the same: where all that a control asked for is one and the same, so is its verdict.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class Asked:
    """The facts that were asked for. `alone`: something was that no two hosts share, and so not the outcome either."""

    def __init__(self) -> None:
        self.facts: set[Any] = set()
        self.alone = False

    def also(self, other: Asked) -> None:
        """What was asked through something that is remembered counts each time."""
        self.facts |= other.facts
        self.alone |= other.alone


# Of the pure function that runs now. Such a one never waits, so no other host's comes between.
_now: Asked | None = None


@contextlib.contextmanager
def asking() -> Iterator[Asked]:
    """What is asked within, and it is asked in what runs around it too; also where it raises."""
    global _now
    around, _now = _now, Asked()
    mine = _now
    try:
        yield mine
    finally:
        _now = around
        note(mine)


def note(other: Asked) -> None:
    """It was asked now."""
    if _now is not None:
        _now.also(other)


def note_fact(fact: Any) -> None:
    """This fact was asked for now."""
    if _now is not None:
        _now.facts.add(fact)


def note_alone() -> None:
    """Something was asked now that no two hosts share."""
    if _now is not None:
        _now.alone = True
