"""Where the recorded answers of hosts are: tests/facts/<module.Class>/<case>.json, by pyinfra's own convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facts.core.fact import SectionFact

CASES = Path(__file__).resolve().parents[1] / "facts"


def folder(fact: type[SectionFact[Any]]) -> Path:
    """The cases of a fact, by the name with which pyinfra asks for it: facts.kernel.Kernel is kernel.Kernel."""
    parts = fact.__module__.split(".")[1:]
    if len(parts) > 1 and parts[-1] == parts[-2]:  # the package exports it
        parts.pop()
    return CASES / ".".join([*parts, fact.__name__])
