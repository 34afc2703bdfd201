"""Loading a policy: YAML under inventories/policies/, validated as one whole, refused with file, line and key."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from deploys.core.change import ACCEPT_RETRY, Subject
from deploys.core.policy import Policy, Waiver
from deploys.core.policy_tree import Place, PolicyError, Steps, Tree, name, read_tree, say
from deploys.core.renames import Renames

__all__ = ["POLICIES", "SHIPPED", "PolicyError", "load_policy", "policy_model", "policy_tree"]

POLICIES = Path(__file__).resolve().parents[2] / "inventories" / "policies"
SHIPPED = ("baseline", "strict")


class PolicyFile(BaseModel):
    """A policy: what must hold on a host. One key per subject, and these."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    extends: str | None = Field(
        None,
        description="The policy this one builds on: a name in this folder, or a path relative to this file. "
        "Mappings are merged; everything else given here replaces what is there.",
    )
    waivers: tuple[Waiver, ...] = Field((), description="Findings accepted by name until a day.")
    accept: tuple[str, ...] = Field(
        (), description="Consequences accepted by the name that a plan gives under 'Blocked, and how to allow it'."
    )


def policy_model(subjects: Sequence[Subject]) -> type[PolicyFile]:
    """The whole policy's model: a field per subject. Its JSON Schema is what editors complete from."""
    fields: dict[str, Any] = {s.name: (s.rules, Field(default_factory=s.rules)) for s in subjects}
    return create_model("Policy", __base__=PolicyFile, __doc__=PolicyFile.__doc__, **fields)


def load_policy(name_or_path: str, subjects: Sequence[Subject], extra_accept: Iterable[str] = ()) -> Policy:
    """The policy called `name_or_path`: a name under inventories/policies/, or, with a slash or ending in .yml, a
    path. Raises PolicyError with every problem found."""
    tree = policy_tree(name_or_path, subjects)
    model = policy_model(subjects)
    names = sorted({ACCEPT_RETRY, *(name for subject in subjects for name in subject.accepts)})
    problems = [
        *tree.problems,
        *_unknown_controls(tree, [c.id for s in subjects for c in s.controls]),
        *_names_nothing(tree, [c.id for s in subjects for c in s.controls if not c.lists]),
        *_unknown_consequences(tree, names),
    ]
    try:
        whole = model.model_validate_json(json.dumps(tree.data))
    except ValidationError as error:
        problems += _complaints(error, tree, model.model_json_schema())
    if problems:
        ordered = sorted(problems, key=lambda problem: (problem[0].file, problem[0].line))
        raise PolicyError([f"{place}: {text}" for place, text in ordered] + tree.notes)
    rules = {subject.rules: getattr(whole, subject.name) for subject in subjects}
    extra = {word for word in (text.strip() for text in extra_accept) if word}
    if strange := sorted(extra - set(names)):
        raise PolicyError([f"--data accept: {_no_consequence(word, names)}" for word in strange])
    accepted = frozenset(whole.accept) | extra
    return Policy(name_or_path, rules, waivers=whole.waivers, accept=accepted, notes=tuple(tree.notes))


def policy_tree(name_or_path: str, subjects: Sequence[Subject]) -> Tree:
    """The policy over all that it extends, by today's names, as plain data with the place of each key. Raises
    PolicyError where a file cannot be read; what else is wrong with it only load_policy says."""
    renames = Renames.of(subjects)
    tree = _load(_locate(name_or_path, Path()), (), renames)
    renames.settle_split(tree, [_shown(POLICIES / f"{shipped}.yml") for shipped in SHIPPED])
    return tree


def _locate(name_or_path: str, folder: Path) -> Path:
    """The file meant; PolicyError, with the nearest name there is, where it does not exist."""
    is_path = "/" in name_or_path or name_or_path.endswith((".yml", ".yaml"))
    path = folder / Path(name_or_path).expanduser() if is_path else POLICIES / f"{name_or_path}.yml"
    if os.path.lexists(path.as_posix().replace("\0", "?")):
        return path
    what = f"{name_or_path}: no such file" if is_path else f'no policy "{name_or_path}"'
    there = {other.name if is_path else other.stem for other in sorted(path.parent.glob("*.yml"))}
    raise PolicyError([what + _nearest(path.name if is_path else name_or_path, there, "the policies there")])


def _shown(path: Path) -> str:
    """The path as an operator at this working directory would write it."""
    absolute = Path(os.path.abspath(path))
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def _load(path: Path, below: tuple[Path, ...], renames: Renames) -> Tree:
    """The tree of `path` laid over all it extends; `below` are the files that led here."""
    tree = read_tree(path, _shown(path))
    renames.apply(tree)
    if "extends" not in tree.data:
        return tree
    place = tree.places[("extends",)]
    parent = tree.data.pop("extends")
    if not isinstance(parent, str):
        raise PolicyError([f"{place}: extends: must be the name or path of one policy, not {say(parent)}"])
    try:
        base = _locate(parent, path.parent)
    except PolicyError as error:
        raise PolicyError([f"{place}: extends: {error}"]) from None
    chain = (*below, path)
    if base.resolve() in [file.resolve() for file in chain]:
        circle = " -> ".join(_shown(file) for file in (*chain, base))
        raise PolicyError([f"{place}: extends: goes round in a circle: {circle}"])
    return tree.lay_over(_load(base, chain, renames))


def _unknown_controls(tree: Tree, ids: Sequence[str]) -> list[tuple[Place, str]]:
    """Waivers that name no control there is: they would silently waive nothing."""
    waivers = tree.data.get("waivers")
    problems = []
    for number, waiver in enumerate(waivers if isinstance(waivers, list) else []):
        control = waiver.get("control") if isinstance(waiver, dict) else None
        if isinstance(control, str) and control not in ids:
            steps = ("waivers", number, "control")
            text = f'{name(steps)}: no control "{control}"{_nearest(control, ids)}'
            problems.append((tree.place(steps)[0], text))
    return problems


def _names_nothing(tree: Tree, whole: Sequence[str]) -> list[tuple[Place, str]]:
    """Waivers that name parts of a finding that has none."""
    waivers = tree.data.get("waivers")
    problems = []
    for number, waiver in enumerate(waivers if isinstance(waivers, list) else []):
        if isinstance(waiver, dict) and waiver.get("only") is not None and waiver.get("control") in whole:
            steps = ("waivers", number, "only")
            text = f"{name(steps)}: {waiver['control']} lists nothing by name, so all of it is waived or nothing"
            problems.append((tree.place(steps)[0], text))
    return problems


def _unknown_consequences(tree: Tree, names: Sequence[str]) -> list[tuple[Place, str]]:
    """Accepted names that no plan gives: the change would go on waiting without a word."""
    accept = tree.data.get("accept")
    return [
        (tree.place(("accept", number))[0], f"{name(('accept', number))}: {_no_consequence(word, names)}")
        for number, word in enumerate(accept if isinstance(accept, list) else [])
        if isinstance(word, str) and word not in names
    ]


def _no_consequence(word: str, names: Sequence[str]) -> str:
    return f'nothing to accept is called "{word}"{_nearest(word, names, "there are")}'


def _nearest(word: str, words: Iterable[str], listed: str = "") -> str:
    """A half-sentence with the nearest of `words`, or with all of them, introduced by `listed`."""
    words = sorted(words)
    near = difflib.get_close_matches(word, words, 1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; {listed}: {', '.join(words)}" if listed and words else ""


def _complaints(error: ValidationError, tree: Tree, schema: dict[str, Any]) -> list[tuple[Place, str]]:
    """pydantic's errors in an operator's words; those of one value (a union's branches) become one."""
    wants: dict[Steps, list[str]] = {}
    given: dict[Steps, Any] = {}
    problems = []
    for one in error.errors(include_url=False):
        place, steps = tree.place(one["loc"])
        if one["type"] == "extra_forbidden":
            nearest = _nearest(str(steps[-1]), _keys(schema, steps[:-1]), "the keys here are")
            problems.append((place, f"{name(steps)}: no such key{nearest}"))
        elif one["type"] == "missing":
            problems.append((place, f"{name(one['loc'])}: is missing"))
        else:
            wants.setdefault(steps, []).append(_want(one["msg"]))
            given[steps] = one["input"]
    for steps, wanted in wants.items():
        place, _ = tree.place(steps)
        want = " or ".join(wanted).replace(" or must ", " or ")
        problems.append((place, f"{name(steps)}: {want}{_but_is(place, given[steps], want)}"))
    return problems


WORDS = {
    "a valid boolean": "true or false",
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid array": "a list",
    "an object": "a mapping (key: value)",
    "a valid date in the format YYYY-MM-DD": "a date such as 2026-12-31",
    "a valid date": "a date such as 2026-12-31",
}


def _want(message: str) -> str:
    """'Input should be a valid boolean' -> 'must be true or false'."""
    message = re.sub(r"^\w+ should ", "must ", message).removeprefix("Value error, ")
    message = re.sub(r"(YYYY-MM-DD), .*", r"\1", message)
    for theirs, ours in WORDS.items():
        message = message.replace(theirs, ours)
    return message


def _but_is(place: Place, value: Any, want: str) -> str:
    if not want.startswith("must "):  # a validator's own words, which say what it was given
        return ""
    surprising = not isinstance(value, str) and place.raw not in (None, "", say(value))
    if surprising and ("text" in want or "'" in want):
        return f'; YAML reads {place.raw} as {say(value)}: put it in quotes, "{place.raw}"'
    return f", not {say(value)}"


def _keys(schema: dict[str, Any], steps: Steps) -> set[str]:
    """The keys that the JSON Schema knows in the mapping at `steps`."""
    nodes = _resolve(schema, schema)
    for step in steps:
        nodes = [found for node in nodes for found in _resolve(schema, _child(node, step))]
    return {key for node in nodes for key in node.get("properties", {})}


def _child(node: dict[str, Any], step: str | int) -> dict[str, Any]:
    child = node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step)
    child = child or node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), None)
    return child if isinstance(child, dict) else {}


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    """A node's alternatives, references followed."""
    if "$ref" in node:
        return _resolve(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    branches = [branch for key in ("anyOf", "oneOf", "allOf") for branch in node.get(key, [])]
    return [found for branch in branches for found in _resolve(schema, branch)] if branches else [node]
