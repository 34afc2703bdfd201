"""A policy file as plain data that still knows the place of each key, so that a complaint can name file and line.

Untrusted input in a small way: files are edited by hand, generated, or copied from somewhere. Size, depth and the
number of values are limited, and only the plain YAML types are read (a date stays text).
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pyinfra.api.exceptions import PyinfraError

from deploys.core.text import clean_text

FILE_BYTES = 1_000_000
VALUES = 10_000  # what aliases may expand to
DEPTH = 20

Steps = tuple[str | int, ...]  # the way to a value: keys and list positions


class PolicyError(PyinfraError):
    """A policy that was refused. `str()` has one line per problem, each `FILE[:LINE[:COLUMN]]: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = [clean_text(problem) for problem in problems]
        super().__init__("\n".join(self.problems))
        self.message = "the policy was refused\n" + str(self)  # what pyinfra's command line prints


@dataclass(frozen=True)
class Place:
    """Where a key (or a list's item) is; `raw` is its value as written, where that is a bare word that YAML
    takes for something other than text (`no`, `0644`, `~`)."""

    file: str
    line: int
    raw: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class Tree:
    """A file's data, the places in it, and what is wrong with it but does not keep the rest from being read."""

    data: dict[str, Any]
    places: dict[Steps, Place]
    problems: list[tuple[Place, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what its author should know, with file and line

    def place(self, steps: Steps) -> tuple[Place, Steps]:
        """The place of `steps`, or of the nearest thing around it that is in the file."""
        while steps not in self.places:
            steps = steps[:-1]
        return self.places[steps], steps

    def lay_over(self, base: Tree) -> Tree:
        """This tree over `base`: mappings are merged, everything else is replaced."""
        notes = base.notes + self.notes
        merged = Tree(base.data, dict(base.places), problems=base.problems + self.problems, notes=notes)
        _merge(merged, merged.data, self.data, steps=())
        merged.places.update(self.places)
        return merged


def _merge(tree: Tree, base: dict[str, Any], top: dict[str, Any], steps: Steps) -> None:
    for key, value in top.items():
        here = (*steps, key)
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(tree, base[key], value, steps=here)
        else:
            base[key] = value
            tree.places = {at: place for at, place in tree.places.items() if at[: len(here)] != here}


def read_tree(path: Path, shown: str) -> Tree:
    """The tree of the file at `path`, called `shown` in complaints. Raises PolicyError where it cannot be read."""
    text = _text(path, shown)
    try:
        loader = _Loader(text)
        return _Reader(loader, shown).tree(loader.get_single_node())
    except yaml.MarkedYAMLError as error:
        raise PolicyError([_syntax(error, shown)]) from None
    except yaml.reader.ReaderError as error:
        at = f"{shown}:{text.count(chr(10), 0, error.position) + 1}"
        raise PolicyError([f"{at}: the character U+{int(error.character):04X} is not allowed"]) from None
    except RecursionError:
        raise PolicyError([f"{shown}: nested too deeply"]) from None


def _text(path: Path, shown: str) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PolicyError([f"{shown}: not a file"])
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError([f"{shown}: cannot be read: {error.strerror}"]) from None
    if len(raw) > FILE_BYTES:
        raise PolicyError([f"{shown}: larger than {FILE_BYTES:,} bytes, so hardly a policy"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError([f"{shown}:{line}: not UTF-8 text"]) from None


def _syntax(error: yaml.MarkedYAMLError, shown: str) -> str:
    mark = error.problem_mark or error.context_mark
    at = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
    problem = " ".join(str(error.problem or error.context).split())
    hint = " (indent with spaces, not with tabs)" if "'\\t'" in problem else ""
    return f"{at}: {problem}{hint}"


class _Loader(yaml.SafeLoader):
    """YAML without dates, `<<` and `=`: these stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag.rpartition(":")[2] not in ("timestamp", "merge", "value")]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Reader:
    """Turns composed nodes into a Tree."""

    def __init__(self, loader: _Loader, shown: str) -> None:
        self.loader = loader
        self.shown = shown
        self.count = 0
        self.tree_ = Tree({}, {(): Place(shown, 1)})

    def tree(self, root: yaml.Node | None) -> Tree:
        if root is None:
            raise PolicyError([f"{self.shown}: the file is empty"])
        data = self.value(root, ())
        if not isinstance(data, dict):
            raise PolicyError([f"{self.place(root)}: a policy is a mapping (key: value), not {say(data)}"])
        self.tree_.data = data
        return self.tree_

    def place(self, node: yaml.Node, value: yaml.Node | None = None) -> Place:
        bare = isinstance(value, yaml.ScalarNode) and value.style is None and not value.tag.endswith(":str")
        return Place(self.shown, node.start_mark.line + 1, value.value if bare and value is not None else None)

    def value(self, node: yaml.Node, steps: Steps) -> Any:
        self.count += 1
        if self.count > VALUES:
            raise PolicyError([f"{self.place(node)}: more than {VALUES:,} values, aliases written out"])
        if len(steps) > DEPTH:
            raise PolicyError([f"{self.place(node)}: nested deeper than {DEPTH} levels"])
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return self.mapping(node, steps)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return self.sequence(node, steps)
        return self.scalar(node)

    def scalar(self, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if not isinstance(node, yaml.ScalarNode) or kind not in ("str", "int", "float", "bool", "null"):
            raise PolicyError([f"{self.place(node)}: the tag {node.tag} is not allowed in a policy"])
        try:
            value = self.loader.construct_object(node)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, KeyError):  # no such number, or half a character
            raise PolicyError([f"{self.place(node)}: {node.value[:40]!a} makes no sense"]) from None
        return value

    def sequence(self, node: yaml.SequenceNode, steps: Steps) -> list[Any]:
        for number, item in enumerate(node.value):
            self.tree_.places[(*steps, number)] = self.place(item, item)
        return [self.value(item, (*steps, number)) for number, item in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, steps: Steps) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, steps)
            if key is None:
                continue
            here = (*steps, key)
            if key in found:
                first = self.tree_.places[here].line
                self.problem(key_node, f"{name(here)}: given twice (first in line {first})")
                continue
            self.tree_.places[here] = self.place(key_node, value_node)
            found[key] = self.value(value_node, here)
        return found

    def key(self, node: yaml.Node, steps: Steps) -> str | None:
        key = self.scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(key, str):
            return key
        raw = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        reading = f'YAML reads it as {say(key)}: put it in quotes, "{raw}"' if raw else "a key must be text"
        self.problem(node, f"{name((*steps, raw or '?'))}: {reading}")
        return None

    def problem(self, node: yaml.Node, text: str) -> None:
        self.tree_.problems.append((self.place(node), text))


def name(steps: Steps) -> str:
    """`docker.log_opts`, `waivers[0].until`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def say(value: Any) -> str:
    """A value as an operator would write it; long or nested ones by what they are."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
