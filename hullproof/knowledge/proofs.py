"""Which attempts prove which control, from the `proof` marks of tests/verify, and why the others have none."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from deploys.core.change import Subject
from deploys.core.control import Control
from hullproof import ROOT

VERIFY = ROOT / "tests" / "verify"


def proofs() -> dict[str, list[str]]:
    """What is attempted, by the id of the control that it proves."""
    found: dict[str, list[str]] = {}
    for path in sorted(VERIFY.glob("test_*.py")):
        module = importlib.import_module(f"tests.verify.{path.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_"):
                for title, control in _marked(_marks(module), _marks(test)):
                    found.setdefault(control, []).append(title)
    return found


def _marks(thing: Any) -> list[Any]:
    marks = getattr(thing, "pytestmark", [])
    return marks if isinstance(marks, list) else [marks]


def _marked(module: list[Any], test: list[Any]) -> Iterator[tuple[str, str]]:
    """Title and control of each attempt of a test; the nearest mark says it, as in tests/verify/proof.py."""
    rows = [row.marks for mark in test if mark.name == "parametrize" for row in mark.args[1] if hasattr(row, "marks")]
    for row in rows or [()]:
        title: str = ""
        control: str | dict[str, str] = ""  # one for all engines, or by engine
        for mark in (*module, *test, *row):
            if mark.name == "proof":
                title = mark.args[0] if mark.args else title
                control = mark.kwargs.get("control", control)
        if title:
            controls = {"": control} if isinstance(control, str) else control
            yield from ((title, each) for each in dict.fromkeys(controls.values()))


def why_unproved(control: Control, subject: Subject) -> str:
    return control.unproved or subject.unproved
