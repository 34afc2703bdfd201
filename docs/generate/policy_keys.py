"""The page of the policy's keys, from the rules of the subjects as JSON Schema gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from deploys.core.change import Subject
from deploys.core.policy import Policy
from deploys.core.policy_file import policy_model
from docs.generate.markdown import GENERATED, sentence, table, text, value
from hullproof.knowledge.policies import declared, key_of

HEAD = f"""\
# Policy keys

Everything that a policy file can say, with what the policies `baseline` and `strict` say. A key that is not given is
not demanded. `NAME` stands for a name of your own, `[]` for each item of a list. How a policy is written and chosen:
[Policy](../policy.md).

{GENERATED}
"""

Schema = dict[str, Any]
WIDE = 100  # what is longer as a value does not fit a table


def policy_keys_page(subjects: Sequence[Subject], policies: Sequence[Policy]) -> str:
    schema = policy_model(subjects).model_json_schema()
    of_subjects = {subject.name for subject in subjects}
    general = {key: child for key, child in schema["properties"].items() if key not in of_subjects}
    lines = [HEAD, "## For the whole policy\n", *_table(schema, {"properties": general})]
    for subject in subjects:
        lines += [f"## {subject.name}\n", f"{text(sentence(subject.rules.__doc__ or ''))}\n"]
        lines += _subject(subject, policies, schema)
    return "\n".join(lines)


def _table(schema: Schema, node: Schema) -> Iterator[str]:
    yield from table(("Key", "Type", "Meaning"), ([f"`{key}`", kind, what] for key, kind, what in _rows(schema, node)))


def _subject(subject: Subject, policies: Sequence[Policy], schema: Schema) -> Iterator[str]:
    """The subject's own keys with their values, then what stands below them."""
    node = _resolve(schema, schema["properties"][subject.name])
    said = {
        f"{subject.name}.{key_of(subject.rules, field)}": [
            _said(declared(policy, subject.rules, field), subject.name) for policy in policies
        ]
        for field in subject.rules.model_fields
    }
    rows = list(_rows(schema, node, subject.name))
    head = ("Key", "Type", "Meaning", *(f"`{policy.name}`" for policy in policies))
    yield from table(head, ([f"`{key}`", kind, what, *said[key]] for key, kind, what in rows if key in said))
    if below := [([f"`{key}`", kind, what]) for key, kind, what in rows if key not in said]:
        yield from table(("Key below these", "Type", "Meaning"), below)


def _said(found: Any, subject: str) -> str:
    if found is None or found == {}:
        return "–"
    shown = value(found)
    return shown if len(shown) <= WIDE else f"{len(found)} values, see [its controls](controls.md#{subject})"


def _rows(schema: Schema, node: Schema, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, type and meaning of every key of a mapping, and of the mappings below it."""
    for key, child in node.get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        yield here, _kind(schema, child), text(sentence(child.get("description", "")))
        below, step = _below(schema, child)
        yield from _rows(schema, below, here + step)


def _below(schema: Schema, node: Schema) -> tuple[Schema, str]:
    """The mapping that stands below a key, and the way there: through a list's items, or names."""
    node = _resolve(schema, node)
    if "items" in node:
        below, step = _below(schema, node["items"])
        return below, "[]" + step
    named = _named(node)
    if named is not None:
        below, step = _below(schema, named)
        return below, ".NAME" + step
    return node, ""


def _named(node: Schema) -> Schema | None:
    """What each value of a mapping with names of the operator's own is."""
    found = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), None)
    return found if isinstance(found, dict) else None


def _resolve(schema: Schema, node: Schema) -> Schema:
    """A node without its null alternative, references followed."""
    if "$ref" in node:
        return _resolve(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    branches = [branch for branch in node.get("anyOf", []) if branch.get("type") != "null"]
    return _resolve(schema, branches[0]) if len(branches) == 1 else node


def _kind(schema: Schema, node: Schema) -> str:
    node = _resolve(schema, node)
    if "anyOf" in node:
        return " or ".join(
            dict.fromkeys(_kind(schema, branch) for branch in node["anyOf"] if branch.get("type") != "null")
        )
    if "const" in node:
        return value(node["const"])
    if "enum" in node:
        return " or ".join(map(value, node["enum"]))
    if node.get("type") == "array":
        return f"list of {_kind_of_items(schema, node['items'])}"
    if node.get("type") == "object":
        named = _named(node)
        return "mapping" if named is None else f"mapping of names to {_kind(schema, named)}"
    return _plain(node)


def _kind_of_items(schema: Schema, items: Schema) -> str:
    """Of a list of one of very many words, that they are words."""
    return "text" if len(items.get("enum", ())) > 8 else _kind(schema, items)


def _plain(node: Schema) -> str:
    words = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`", "null": "null"}
    kind = words.get(node.get("type", ""), "any value")
    if node.get("format") == "date":
        return "date"
    least, most = node.get("minimum"), node.get("maximum")
    if most is not None:
        return f"{kind}, {least} to {most}"
    return kind if least is None else f"{kind}, at least {least}"
