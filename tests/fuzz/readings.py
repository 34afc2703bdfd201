"""Readings with something else in them: at each place another value that its annotation allows, Unknown above all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from facts.core.reading import Unknown

UNKNOWN = Unknown("the fuzzing took it away")

Path = tuple[Any, ...]  # the fields, positions and keys that lead to a place in a reading


def places(value: Any, hint: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every place in a reading, with its annotation."""
    yield path, hint
    for each in alternatives(hint):
        if each is not Any and get_origin(each) is not Literal and isinstance(value, get_origin(each) or each):
            yield from _within(value, each, path)


def _within(value: Any, hint: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    arguments = get_args(hint)
    if dataclasses.is_dataclass(value):
        hints = get_type_hints(type(value))
        for field in dataclasses.fields(value):
            yield from places(getattr(value, field.name), hints[field.name], (*path, field.name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from places(item, arguments[0 if arguments[-1] is ... else number], (*path, number))
    elif isinstance(value, dict) and arguments:
        for key, item in value.items():
            yield from places(item, arguments[1], (*path, key))


def alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def put(value: Any, path: Path, new: Any) -> Any:
    """The reading with `new` at that place."""
    if not path:
        return new
    step, *rest = path
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{step: put(getattr(value, step), tuple(rest), new)})
    if isinstance(value, tuple):
        return (*value[:step], put(value[step], tuple(rest), new), *value[step + 1 :])
    return {**value, step: put(value[step], tuple(rest), new)}


NUMBERS = (0, 1, -1, 2, 4, 4096, 65536, 2**32, 2**63, 10**19)
TEXTS = (
    "", " ", "0", "1", "-1", "x", "/", "a=b", "a:b:c", "*", "(", "[", "\\", "'", '"', "\ufffd", "\u2028", "²",
    "10.0.0.0/8", "10.0.0.0/33", "::1", "fe80::1%eth0", "unconfined", "enforce", "bridge", "host", "docker0", "absent",
    "x" * 5_000, '{"a": [1]}', "[]", "{", "a\nb\nc", "1 2 3", "9" * 30,
)  # fmt: skip
ANYTHING: tuple[Any, ...] = (
    None, True, 0, 1.5, "", "x", [], ["x"], [None], [{}], {}, {"": None}, {"x": {}}, {"x": ["y"]},
)  # fmt: skip


def others(hint: Any) -> list[Any]:
    """Other values that an annotation allows; nothing of a shape that would have to be made up whole."""
    found: list[Any] = []
    for each in alternatives(hint):
        kind = get_origin(each) or each
        if each is Any:
            found += ANYTHING
        elif kind is Literal:
            found += get_args(each)
        elif each is Unknown:
            found.append(UNKNOWN)
        elif kind in SIMPLE:
            found += SIMPLE[kind]
    return found


SIMPLE: dict[Any, tuple[Any, ...]] = {
    int: NUMBERS, str: TEXTS, bool: (True, False), type(None): (None,), tuple: ((),), dict: ({},),
}  # fmt: skip
