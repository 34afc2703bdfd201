"""JSON as a host gives it: read by JSON's own rules, and no deeper than everything after it can take."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

DEEPEST = 100  # lists and objects in one another; what programs write for each other has a dozen
# Python reads half of a surrogate pair as a character, which no text that is sent or written may hold.
HALVES = re.compile("[\ud800-\udfff]")

Pairs = Callable[[list[tuple[str, Any]]], Any]


def load(text: str, pairs: Pairs | None = None) -> Any:
    """The value; ValueError with the reason where it is no JSON. `pairs` makes an object of its rows."""
    return _sound(text, lambda: json.loads(text, object_pairs_hook=pairs, **_STRICT))


def load_first(text: str) -> Any:
    """The value that `text` begins with, whatever stands after it."""
    return _sound(text, lambda: json.JSONDecoder(**_STRICT).raw_decode(text)[0])


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text[:20])


_STRICT: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite}


def _sound(text: str, read: Callable[[], Any]) -> Any:
    try:
        value = read()
        if text.count("[") + text.count("{") > DEEPEST:
            _look_down(value, DEEPEST)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError as error:  # Python's own words for a number of thousands of digits are not for an operator
        if "int_max_str_digits" not in str(error):
            raise
        raise ValueError("a number of too many digits") from None
    return _whole(value) if re.search(r"\\u[dD][89a-fA-F]", text) else value


def _look_down(value: Any, left: int) -> None:
    if left == 0:
        raise RecursionError
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, (dict, list)):
            _look_down(item, left - 1)


def _whole(value: Any) -> Any:
    """Without half characters, which Go reads so too."""
    if isinstance(value, str):
        return HALVES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value
