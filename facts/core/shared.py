"""Readings that hosts share: of a section that says the very same on two of them, one is made, and held once.

They are found by a digest of all that the section says, so that no host can have another one's reading changed. What is
kept has a limit, by what the sections say, and what was not asked for longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Concatenate, ParamSpec, TypeVar

from facts.core.reading import Section

KEPT = 4_000_000  # characters of sections; what is made of one takes up to ten times as much
GREATEST = 400_000  # of one section

TEXT = 100_000  # characters of one text

T = TypeVar("T")
P = ParamSpec("P")

_readings: OrderedDict[tuple[Any, Any, bytes], tuple[int, Any]] = OrderedDict()
_kept = 0


def shared(fact: Any, parse: Any, section: Section, make: Callable[[], Any]) -> Any:
    """`make()`, or what it gave before for this fact, this parser and a section that said the same. What it raises is
    raised, and not kept."""
    global _kept
    size = sum(len(block.text) for block in section.blocks.values())
    if size > GREATEST:
        return make()
    key = fact, parse, _digest(section)
    if key in _readings:
        _readings.move_to_end(key)
        return _readings[key][1]
    reading = make()
    if key in _readings:  # another host's was made meanwhile
        return _readings[key][1]
    _readings[key] = size, reading
    _kept += size
    while _kept > KEPT:
        _kept -= _readings.popitem(last=False)[1][0]
    return reading


def forget() -> None:
    """Keep nothing of what was made so far."""
    global _kept
    _readings.clear()
    _kept = 0


def _digest(section: Section) -> bytes:
    """Of names, statuses and texts, each with its length, so that no text passes for the end of another."""
    digest = blake2b(digest_size=32)
    for name, block in section.blocks.items():
        for part in (name, block.text):
            said = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d %d:" % (block.status, len(said)))
            digest.update(said)
    return digest.digest()


def of_text(read: Callable[Concatenate[str, P], T]) -> Callable[Concatenate[str, P], T]:
    """A pure function of a text, made once for texts that many hosts have, such as a file that a distribution ships.
    Nobody changes what it gives."""
    kept: Callable[Concatenate[str, P], T] = lru_cache(maxsize=50)(read)  # type: ignore[assignment]

    def once(text: str, /, *more: P.args, **named: P.kwargs) -> T:
        return kept(text, *more, **named) if len(text) <= TEXT else read(text, *more, **named)

    return once
