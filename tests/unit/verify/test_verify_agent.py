"""What makes the attempts on hosts that have an old Python alone."""

from __future__ import annotations

import ast

from tests.verify.probe import AGENTS

BEFORE_3_9 = ("dict", "list", "set", "tuple", "type")  # of which none could be subscripted


def test_it_is_of_python_3_6() -> None:
    tree = ast.parse(AGENTS["python3"][1].read_text(), feature_version=(3, 6))
    subscripted = [node.value for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    assert [each.id for each in subscripted if isinstance(each, ast.Name) and each.id in BEFORE_3_9] == []
