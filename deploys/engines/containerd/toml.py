"""One key of a TOML file is set, and all else, comments too, stays as it is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]


def dotted(path: Path) -> str:
    """The key as TOML writes it."""
    return ".".join(_quoted(name) for name in path)


def parts(key: str) -> Path:
    return _names(_alone(f"{key} = 0"))


def edited(text: str, put: Mapping[str, bool | str]) -> str:
    """The text with these keys (in TOML's dotted form) set. ValueError where that cannot be done for certain: what the
    new text says is compared with what it has to say."""
    wanted = tomllib.loads(text)
    for key, value in put.items():
        _set(wanted, parts(key), value)
        text = _with(text, parts(key), value)
    if tomllib.loads(text) != wanted:
        raise ValueError("the file cannot be edited so that all its other keys stay as they are")
    return text


def _set(table: dict[str, Any], path: Path, value: bool | str) -> None:
    for name in path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ValueError(f"{'.'.join(path)}: {name} is no table")
    table[path[-1]] = value


def _with(text: str, path: Path, value: bool | str) -> str:
    lines = text.split("\n")
    row = f"{path[-1]} = {json.dumps(value)}"
    at = _header(lines, path[:-1])
    if at is None:
        header = f"[{dotted(path[:-1])}]"
        return f"{text.rstrip()}\n\n{header}\n  {row}\n" if text.strip() else f"{header}\n  {row}\n"
    for number in range(at + 1, len(lines)):
        if lines[number].lstrip().startswith("["):
            break
        if path[-1] in (alone := _alone(lines[number])):
            lines[number] = f"{_indent(lines[number])}{row}{_comment(lines[number], alone)}"
            return "\n".join(lines)
    return "\n".join([*lines[: at + 1], f"{_indent(lines[at])}  {row}", *lines[at + 1 :]])


def _header(lines: list[str], path: Path) -> int | None:
    """The number of the line that begins the table."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith("[") and _names(_alone(line)) == path:
            return number
    return None


def _names(table: dict[str, Any]) -> Path:
    """Of a table that has but one way down."""
    names: list[str] = []
    while len(table) == 1:
        (name,) = table
        table = table[name] if isinstance(table[name], dict) else {}
        names.append(name)
    return tuple(names)


def _alone(line: str) -> dict[str, Any]:
    try:
        return tomllib.loads(line)
    except ValueError:
        return {}


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _comment(line: str, says: dict[str, Any]) -> str:
    """The comment behind a key, from the first # without which the line says the same."""
    at = line.find("#")
    while at != -1:
        if _alone(line[:at]) == says:
            return f"  {line[at:]}"
        at = line.find("#", at + 1)
    return ""


def _quoted(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)
