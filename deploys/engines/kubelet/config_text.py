"""A file of KubeletConfiguration with some keys set: all else of its text stays as it is, comments too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from facts.core import yaml_text


def with_keys(text: str, put: Mapping[str, Any]) -> tuple[str, bool]:
    """The text with these keys (`authorization.mode`), and whether its comments are still in it. Where a text cannot be
    changed in place, it is written again from its values."""
    wanted = merged(yaml_text.load(text), put)
    edited = text
    try:
        for key, value in put.items():
            edited = _set(edited, key.split("."), value)
        if yaml_text.load(edited) == wanted:
            return edited, True
    except ValueError:
        pass
    return rendered(wanted), "#" not in text


def rendered(tree: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)
    return text


def merged(tree: Any, put: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with these keys."""
    found = dict(tree) if isinstance(tree, dict) else {}
    for key, value in put.items():
        first, dot, rest = key.partition(".")
        found[first] = merged(found.get(first), {rest: value}) if dot else value
    return found


def _set(text: str, steps: Sequence[str], value: Any) -> str:
    node = yaml_text.compose(text)
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise ValueError("no mapping")
    for number, step in enumerate(steps):
        row = next((each for each in reversed([*yaml_text.rows(node)]) if each[0] == step), None)
        if row is None:
            return _insert(text, node, step, _nested(steps[number + 1 :], value), top=number == 0)
        if number + 1 == len(steps) or not isinstance(row[2], yaml.MappingNode) or not row[2].value:
            return _replace(text, row[1], row[2], _nested(steps[number + 1 :], value))
        node = row[2]
    raise ValueError("no key")


def _nested(steps: Sequence[str], value: Any) -> Any:
    for step in reversed(steps):
        value = {step: value}
    return value


def _replace(text: str, key: yaml.Node, old: yaml.Node, value: Any) -> str:
    return f"{text[: key.end_mark.index]}: {_flow(value)}{text[max(_end(old), key.end_mark.index + 1) :]}"


def _insert(text: str, node: yaml.MappingNode, key: str, value: Any, *, top: bool) -> str:
    """A new key: last in the document, else first in its mapping, whose indentation it has."""
    start = node.value[0][0].start_mark
    if node.flow_style:
        return f"{text[: start.index]}{json.dumps(key)}: {_flow(value)}, {text[start.index :]}"
    if not top:
        return f"{text[: start.index]}{key}: {_flow(value)}\n{' ' * start.column}{text[start.index :]}"
    end = _end(node)
    line = text.find("\n", max(end - 1, 0))
    head, tail = (text, "") if line < 0 else (text[:line], text[line + 1 :])
    return f"{head}\n{' ' * start.column}{key}: {_flow(value)}\n{tail}"


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends: of lists and mappings in lines of their own, with the last value in them."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _flow(value: Any) -> str:
    """What is JSON is YAML too, in any place."""
    return json.dumps(value, ensure_ascii=False)
