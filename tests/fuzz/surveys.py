"""Whole surveys out of the recorded data cases: for each distribution, what its hosts printed in every section."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from deploys.core.control import Control
from deploys.subjects import SUBJECTS
from facts.core.fact import SectionFact
from facts.core.frame import read_frame
from facts.core.reading import Section
from facts.core.record import Record
from facts.core.survey import Survey
from facts.core.system import System
from tests.support.cases import folder, read

DISTRIBUTIONS = ("debian12", "debian13", "rhel9", "ubuntu2404")

FACTS: list[type[SectionFact[Any]]] = list(dict.fromkeys([System, Record, *(f for s in SUBJECTS for f in s.facts)]))
CONTROLS: list[Control] = [control for subject in SUBJECTS for control in subject.controls]


@dataclass
class Piece:
    """A block of a section, as a mutation may leave it."""

    name: str
    text: str
    status: str


Pieces = dict[str, list[Piece]]  # by section


@dataclass(frozen=True)
class Recorded:
    """A survey of which each section was recorded on some host."""

    cases: tuple[Path, ...]

    def pieces(self) -> Pieces:
        found = dict(map(_pieces, self.cases))
        return {key: [Piece(*block) for block in blocks] for key, blocks in found.items()}

    def survey(self) -> Survey:
        return Survey.parse(FACTS, render(self.pieces()).split("\n"))


@cache
def _pieces(case: Path) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """A case's section and its blocks."""
    [(key, section)] = read_frame(read(case)["output"]).items()
    blocks = section.blocks if isinstance(section, Section) else {}
    return key, tuple((name, block.text, str(block.status)) for name, block in blocks.items())


def recorded(fact: type[SectionFact[Any]], distribution: str) -> tuple[Path, ...]:
    """What was recorded of that distribution in the fact's section; where nothing was, what is of no distribution."""
    return _cases(folder(fact), distribution)


@cache
def _cases(folder: Path, distribution: str) -> tuple[Path, ...]:
    cases = sorted(folder.glob("*.json"))
    assert cases, f"nothing was ever recorded for {folder.name}"
    names = {case: case.name.replace("-", "").replace(".", "") for case in cases}
    own = [case for case in cases if names[case].startswith(distribution)]
    neutral = [case for case in cases if not names[case].startswith((*DISTRIBUTIONS, "unknown"))]
    return tuple(own or neutral or cases)


@st.composite
def surveys(draw: st.DrawFn) -> Recorded:
    """A distribution's whole survey: of each section one of the recorded answers."""
    distribution = draw(st.sampled_from(DISTRIBUTIONS))
    return Recorded(tuple(draw(st.sampled_from(recorded(fact, distribution))) for fact in FACTS))


def render(survey: Pieces, ends: dict[str, str] | None = None) -> str:
    """The frame as a host prints it. `ends`: statuses of sections that did not end well."""
    lines = ["@hullproof n"]
    for key, blocks in survey.items():
        lines.append(f"@n section {key}")
        for block in blocks:
            lines += [f"@n block {block.name}", block.text, f"@n status {block.status}"]
        lines += ["", f"@n end {key} {(ends or {}).get(key, '0')}"]
    return "\n".join([*lines, "@n done", ""])
