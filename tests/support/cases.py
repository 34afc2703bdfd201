"""The recorded answers of hosts: tests/facts/<module.Class>/<case>.json, by pyinfra's own convention.

A case has `output` (the plain frame, as a list of lines) and `fact` (what the parser makes of it). One that is another
almost says so and has the difference alone: `base` is the other's name, `replace` the lines of the output's blocks that
are others here (null where there is no such block), `fact` the fields of the reading that are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from facts.core.fact import SectionFact

CASES = Path(__file__).resolve().parents[1] / "facts"


class Case(TypedDict):
    output: list[str]
    fact: Any


def folder(fact: type[SectionFact[Any]]) -> Path:
    """The cases of a fact, by the name with which pyinfra asks for it: facts.kernel.Kernel is kernel.Kernel."""
    parts = fact.__module__.split(".")[1:]
    if len(parts) > 1 and parts[-1] == parts[-2]:  # the package exports it
        parts.pop()
    return CASES / ".".join([*parts, fact.__name__])


def read(path: Path) -> Case:
    """A case as a whole."""
    said = json.loads(path.read_text())
    if "base" not in said:
        return Case(output=said["output"], fact=said["fact"])
    base = json.loads(path.with_stem(said["base"]).read_text())
    assert "base" not in base, f"{path} leans on {said['base']}, which leans on another"
    output = list(replaced(base["output"], said.get("replace", {})))
    return Case(output=output, fact={**base["fact"], **said.get("fact", {})})


def replaced(output: list[str], blocks: Mapping[str, list[str] | None]) -> Iterator[str]:
    """The output with other lines in these blocks, from below a block's first line to the next block or the end."""
    left, block = dict(blocks), None
    for line in output:
        if line.startswith(("@n block ", "@n end ")):
            block = line.removeprefix("@n block ")
            lines = left.pop(block, [])
            if block not in blocks or lines is not None:
                yield line
            yield from lines or []
        elif block not in blocks:
            yield line
    assert not left, f"the base has no block {', '.join(left)}"


def older(text: str) -> str:
    """A file of hullproof's as a version with other comments would have written it."""
    return re.sub(
        r"^(\s*# (?!observed since)|Description=).*$", r"\1Words of another version.", text, flags=re.MULTILINE
    )
