"""hullproof's own options: `--data KEY=VALUE`, or the same keys in pyinfra's host and group data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from pyinfra.api.connectors import get_all_connectors

from deploys.engine.clean import clean_text

KEYS = ("accept", "batch", "policy", "report", "run", "skip")
ALIKE = 0.82  # what difflib gives `polcy` and `polices` for `policy`, and does not give `port` for `report`


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
        elif not _pyinfras(key) and (alone or _nearest(key)):
            problems.append(f"--data {clean_text(key)}: there is no such option{_instead(key)}")
    return problems


def wrong_in_data(data: Mapping[str, object]) -> Iterator[str]:
    """Keys of a host's data that look like a mistyped one of ours; all others are their owner's business."""
    for key in data:
        if key not in KEYS and not _pyinfras(key) and _nearest(key):
            yield f"the inventory's data gives {clean_text(key)}: there is no such option{_instead(key)}"


def _nearest(key: str) -> str:
    return next(iter(difflib.get_close_matches(key.lower(), KEYS, 1, ALIKE)), "")


def _instead(key: str) -> str:
    close = difflib.get_close_matches(key.lower(), KEYS, 1, 0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(KEYS)}"


def _pyinfras(key: str) -> bool:
    """Whether pyinfra itself reads the key: its global arguments, and what connectors are configured by."""
    connectors = (getattr(connector, "data_cls", None) for connector in get_all_connectors().values())
    return key.startswith("_") or any(key in getattr(data, "__annotations__", ()) for data in connectors)
