"""How the operator allows what is blocked is said in one place, with names that can be accepted."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.core.change import ACCEPT_RETRY, Blocked, Obstacle
from deploys.subjects import SUBJECTS

ROOT = Path(__file__).parents[3]
SOURCES = [path.relative_to(ROOT) for path in sorted((ROOT / "deploys").rglob("*.py"))]
ACCEPTED = {ACCEPT_RETRY, *(name for subject in SUBJECTS for name in subject.accepts)}
ALLOW = "allow it with --data accept="


@pytest.mark.parametrize(
    ("obstacle", "todo", "reason"),
    [
        (Obstacle(why="it leaks: mend it"), "it leaks: mend it", "it leaks: mend it"),
        (Obstacle(why="it leaks", by_hand="mend it"), "mend it", "it leaks. Mend it"),
        (Obstacle(why="it sinks", accepts=("storm",)), f"{ALLOW}storm", "it sinks. Allow it with --data accept=storm"),
        (
            Obstacle(why="it sinks", by_hand="wait", accepts=("storm", "night")),
            f"wait; or {ALLOW}storm,night",
            f"it sinks. Wait; or {ALLOW}storm,night",
        ),
    ],
)
def test_what_is_in_the_way_says_what_to_do(obstacle: Obstacle, todo: str, reason: str) -> None:
    blocked = obstacle.block("boat", "sail", controls=("boat.keel",), warns=True)
    assert (obstacle.next, obstacle.reason) == (blocked.next, blocked.reason) == (todo, reason)
    assert (blocked.subject, blocked.what, blocked.controls, blocked.warns) == ("boat", "sail", ("boat.keel",), True)


def test_words_of_the_hosts_allow_nothing() -> None:
    assert Blocked("boat", "sail", why="it said accept=storm\x1b").accepts == ()
    assert Blocked("boat", "sail", why="w", by_hand="its\x1b owner mends it").by_hand == "its owner mends it"


def sentences(tree: ast.Module) -> Iterator[str]:
    """All texts of a module but its docstrings."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_no_other_text_says_how_to_accept() -> None:
    found = [
        (str(path), text)
        for path in SOURCES
        for text in sentences(ast.parse((ROOT / path).read_text()))
        if "accept=" in text or "accept: [" in text
    ]
    assert found == [("deploys/core/change.py", ALLOW)]
    scripts = "".join(path.read_text() for path in (ROOT / "templates").rglob("*") if path.is_file())
    assert scripts.count("accept=") == scripts.lower().count(f"{ALLOW}$name") > 0, "in the same words"


def asked(path: Path) -> Iterator[object]:
    """The values of a module that its obstacles name in `accepts`; what is no constant of it is left out."""
    tree = ast.parse((ROOT / path).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("Obstacle", "Blocked")]
    given = [keyword.value for call in made for keyword in call.keywords if keyword.arg == "accepts"]
    for node in (node for value in given for node in ast.walk(value)):
        if isinstance(node, ast.Name):
            yield vars(importlib.import_module(".".join(path.with_suffix("").parts))).get(node.id)
        elif isinstance(node, ast.Constant):
            yield node.value


def test_every_name_that_is_asked_for_is_declared_by_a_subject() -> None:
    names = {name for path in SOURCES for name in asked(path) if isinstance(name, str)}
    assert names <= ACCEPTED, names - ACCEPTED
    assert {"container-restart", "bridged-guests", ACCEPT_RETRY} <= names, "or it looks in the wrong places"
