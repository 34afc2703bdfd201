"""hullproof's own options: `--data KEY=VALUE`, or the same keys in pyinfra's host and group data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from pyinfra.api.connectors import get_all_connectors

from deploys.core.text import clean_text

KEYS = ("accept", "batch", "only", "policy", "report", "run", "skip")


def _slips(word: str) -> Iterator[str]:
    """The word with a letter left out, or two letters exchanged."""
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + word[at : at + 2][::-1] + word[at + 2 :]


# Short ones are like too many words of others: `runc`, `ski`.
MISTYPED = {slip: key for key in KEYS if len(key) > 4 for slip in _slips(key) if slip not in KEYS}


def wrong_on_command_line(pairs: Iterable[str], alone: bool) -> list[str]:
    """What is wrong with `--data KEY=VALUE` options. `alone`: no deploy but ours runs, which could want other keys."""
    problems = []
    for pair in pairs:
        key, given, value = pair.partition("=")
        if not given:
            problems.append(f"--data {clean_text(pair)}: want KEY=VALUE")
        elif key in KEYS:
            if not value and key != "accept":
                problems.append(f"--data {key}=: the value is missing")
        elif (alone or _meant(key)) and key not in _pyinfras() and not key.startswith("_"):
            problems.append(f"--data {clean_text(key)}: there is no such option{_instead(key)}")
    return problems


def wrong_in_data(data: Mapping[str, object]) -> Iterator[str]:
    """Keys of a host's data that look like a mistyped option; all others are their owner's business."""
    for key in data:
        if (meant := _meant(key)) and key not in _pyinfras():
            yield f"the inventory's data gives {clean_text(key)}: there is no such option; did you mean {meant}?"


def _meant(key: str) -> str:
    """Which option was meant by a key that is none of them to the letter; "" where the key means something else."""
    low = key.lower()
    return "" if key in KEYS else low if low in KEYS else MISTYPED.get(low, "")


def _instead(key: str) -> str:
    close = difflib.get_close_matches(key.lower(), KEYS, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(KEYS)}"


@cache
def _pyinfras() -> frozenset[str]:
    """The keys that pyinfra's connectors are configured by."""
    connectors = (getattr(connector, "data_cls", None) for connector in get_all_connectors().values())
    return frozenset(key for data in connectors for key in getattr(data, "__annotations__", ()))
