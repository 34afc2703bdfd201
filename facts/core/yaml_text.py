"""YAML as a host gives it: one document of plain values, with where each stands in the text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import yaml

LONGEST = 40_000  # characters: reading them takes a fifth of what a host may cost
DEEPEST = 40  # lists and mappings in one another
PLAIN = "tag:yaml.org,2002:"


class TooMuch(ValueError):
    """Text that may well be YAML, and is not read: it is too long, or has aliases, which grow without end."""


class _Loader(yaml.SafeLoader):
    """YAML without dates, `<<` and `=`: these stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag.rpartition(":")[2] not in ("timestamp", "merge", "value")]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def compose(text: str) -> yaml.Node | None:
    """The document; None where there is none. ValueError with the reason where it is no YAML."""
    if len(text) > LONGEST:
        raise TooMuch(f"it is longer than {LONGEST:,} characters")
    try:
        node = _Loader(text).get_single_node()
    except RecursionError:
        raise ValueError("nested too deep") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{at}{' '.join(str(error.problem or error.context).split())}"[:200]) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None
    if node is not None:
        _look_down(node, DEEPEST, set())
    return node


def load(text: str) -> Any:
    """The value of the document; None where there is none. ValueError with the reason where it is no YAML."""
    node = compose(text)
    return None if node is None else value(node)


def value(node: yaml.Node) -> Any:
    """What a node says, as JSON has it. Of a key that is given twice the last one counts."""
    if isinstance(node, yaml.MappingNode):
        return {key: value(below) for key, _, below in rows(node)}
    if isinstance(node, yaml.SequenceNode):
        return [value(item) for item in node.value]
    return _scalar(node)


def rows(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Its keys that are text, with the key's node and the value's."""
    for key, below in node.value:
        if isinstance(key, yaml.ScalarNode):
            yield str(key.value), key, below


def _scalar(node: yaml.Node) -> Any:
    kind = node.tag.removeprefix(PLAIN)
    if not isinstance(node, yaml.ScalarNode) or kind not in ("str", "int", "float", "bool", "null"):
        raise ValueError(f"the tag {node.tag[:60]} is no plain value")
    try:
        found = yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, KeyError):
        raise ValueError(f"{node.value[:40]!a} makes no sense") from None
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueError(f"{node.value[:20]} is no number")
    return found


def _look_down(node: yaml.Node, left: int, seen: set[int]) -> None:
    if left == 0:
        raise ValueError("nested too deep")
    if id(node) in seen:
        raise TooMuch("it has aliases")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            for each in pair:
                _look_down(each, left - 1, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _look_down(item, left - 1, seen)
