"""A reading has the shape that its annotations declare; what a host made of another one is unknown, where it stands.

In what a host prints as JSON anything can have any type. A value that is none of what its field is annotated with
becomes Unknown at the nearest place that may be unknown, so that controls and plans meet only types that are written
down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from facts.core.reading import Unknown, UnknownReading

Fits = Callable[[Any], bool]
# Of the value at hand, by their ids, the dataclasses that fit: containers' mounts are the same few again and again.
_fitting: set[int] = set()
KINDS = {dict: "a mapping", list: "a list", tuple: "a list", str: "text", bool: "true or false", type(None): "nothing"}


class Misfit(UnknownReading):
    """A value of another shape, where nothing around it may be unknown."""


def shaped(value: Any, hint: Any, where: str) -> Any:
    """`value` where it has the shape of `hint`, an annotation; else with Unknown in it, or UnknownReading."""
    _fitting.clear()
    if fits(hint)(value):
        return value
    said = f"{where} is {KINDS.get(type(value), 'a number')}: the host's answer makes no sense there"[:300]
    alternatives = get_args(hint) if _is_union(hint) else (hint,)
    for each in alternatives:
        if type(value) is (get_origin(each) or each) and each is not Unknown:
            try:
                return _inside(value, each, where)
            except Misfit as error:
                said = str(error)
    if Unknown in alternatives:
        return Unknown(said)
    raise Misfit(said)


def _inside(value: Any, hint: Any, where: str) -> Any:
    """Each item of a list or mapping and each field of a dataclass in its own shape."""
    if isinstance(value, dict):
        key, item = get_args(hint)
        rows = ((shaped(name, key, f"a key in {where}"), found) for name, found in value.items())
        return {name: shaped(found, item, f"{where}[{str(name)[:60]}]") for name, found in rows}
    if isinstance(value, tuple) and get_args(hint)[-1] is ...:
        return tuple(shaped(item, get_args(hint)[0], f"{where}[{number}]") for number, item in enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {name: shaped(getattr(value, name), part, f"{where}.{name}") for name, part in _fields(hint).items()}
        return dataclasses.replace(value, **fields)
    raise Misfit(f"{where}: the host's answer makes no sense there")


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


@cache
def _fields(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@cache
def fits(hint: Any) -> Fits:
    """Whether a value has the shape of an annotation, as a function: built once, since every host is asked."""
    arguments = get_args(hint)
    if hint is Any:
        return lambda value: True
    if _is_union(hint):
        return _any(*map(fits, arguments))
    if dataclasses.is_dataclass(hint):
        return _has_fields(hint)
    match get_origin(hint):
        case None:  # a bool is no number here, whatever Python says
            return lambda value: type(value) is hint
        case kind if kind is Literal:
            return lambda value: value in arguments
        case kind if kind is tuple:
            return _has_items(arguments)
        case kind if issubclass(kind, Mapping):
            key, item = map(fits, arguments)
            return lambda value: isinstance(value, kind) and all(key(k) and item(v) for k, v in value.items())
    raise TypeError(f"a reading cannot be checked for {hint}")


def _any(*checks: Fits) -> Fits:
    return lambda value: any(check(value) for check in checks)


def _has_items(arguments: tuple[Any, ...]) -> Fits:
    if arguments[-1] is ...:
        each = fits(arguments[0])
        return lambda value: type(value) is tuple and all(map(each, value))
    checks = tuple(map(fits, arguments))
    return lambda value: type(value) is tuple and len(value) == len(checks) and all(
        check(item) for check, item in zip(checks, value, strict=True)
    )  # fmt: skip


def _has_fields(kind: Any) -> Fits:
    @cache
    def checks() -> list[tuple[str, Fits]]:  # not before they are needed: a class may name itself in its fields
        return [(name, fits(hint)) for name, hint in _fields(kind).items()]

    def fit(value: Any) -> bool:
        if type(value) is not kind:
            return False
        if id(value) not in _fitting:
            if not all(check(getattr(value, name)) for name, check in checks()):
                return False
            _fitting.add(id(value))
        return True

    return fit
