"""The tests' own house: what tests are built with is in tests/support, and no test module leans on another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]


def imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_module_of_tests_imports_from_another() -> None:
    modules = [*(TESTS / "unit").rglob("*.py"), *(TESTS / "support").rglob("*.py")]
    found = {
        str(module.relative_to(TESTS)): sorted(names)
        for module in modules
        if (names := {name for name in imported(module) if name.startswith((".", "tests.unit"))})
    }
    assert not found


def test_there_is_no_test_among_what_tests_are_built_with() -> None:
    for module in (TESTS / "support").rglob("*.py"):
        functions = [node.name for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.FunctionDef)]
        assert not [name for name in functions if name.startswith("test_")], module.name
