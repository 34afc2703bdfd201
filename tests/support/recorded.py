"""Whole hosts out of the data cases in tests/facts: of each distribution one, each of its facts in turn as in every
other case of that distribution, or of none by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from deploys.subjects import SUBJECTS
from facts.core.fact import SectionFact
from facts.core.frame import read_frame
from facts.core.reading import Section
from facts.core.record import Record
from facts.core.survey import Survey
from facts.core.system import System
from tests.support.cases import CASES, folder, read
from tests.support.large import Sections

DISTRIBUTIONS = ("debian12", "debian13", "rhel9", "ubuntu2404")

Fact = type[SectionFact[Any]]
FACTS: tuple[Fact, ...] = tuple(dict.fromkeys((System, Record, *(f for subject in SUBJECTS for f in subject.facts))))


def readings(fact: Fact) -> dict[str, Any]:
    """What the fact makes of each of its cases, by the case's name."""
    return _readings()[fact]


@cache
def _readings() -> dict[Fact, dict[str, Any]]:
    def read_by(fact: Fact) -> Iterator[tuple[str, Any]]:
        for path in sorted(folder(fact).glob("*.json")):
            yield path.stem, Survey.parse([fact], read(path)["output"]).readings[fact]

    return {fact: dict(read_by(fact)) for fact in FACTS}


def distribution(case: str) -> str | None:
    found = re.match(r"(debian|rhel|ubuntu)-?([\d.]+)", case)
    return found and found[1] + found[2].replace(".", "")


def hosts(kind: str) -> Iterator[tuple[str, Survey]]:
    """Hosts that are `stock` or `hardened`, each with a name that says what is particular about it."""
    for name in DISTRIBUTIONS:
        base = {fact: _case(fact, name, kind) for fact in FACTS}
        for fact in FACTS:
            for case in readings(fact):
                if distribution(case) in (None, name):
                    chosen = {**base, fact: case}
                    yield (
                        f"{kind} {name}, {fact.key} as in {case}",
                        Survey({each: readings(each)[chosen[each]] for each in FACTS}),
                    )


def _case(fact: Fact, name: str, kind: str) -> str:
    """The nearest: of this distribution, of this kind, seen rather than made up, known rather than not."""

    def far(case: str) -> tuple[bool, bool, bool, bool, str]:
        return "unknown" in case, distribution(case) != name, kind not in case, "form" in case, case

    return min(readings(fact), key=far)


def frame(host: Mapping[str, str], instead: Sections | None = None) -> Iterator[str]:
    """The survey of a host whose facts answer as in these cases (`module.Class`: case), with the blocks of `instead` in
    the place of its own."""
    yield "@hullproof n"
    for fact, case in host.items():
        output = read(CASES / fact / f"{case}.json")["output"]
        for key, section in read_frame(output).items():
            assert isinstance(section, Section)
            blocks = {name: (block.status, block.text) for name, block in section.blocks.items()}
            blocks |= {name: (0, text) for name, text in (instead or {}).get(key, {}).items()}
            yield f"@n section {key}"
            for name, (status, text) in blocks.items():
                yield from (f"@n block {name}", *text.split("\n"), f"@n status {status}")
            yield from ("", f"@n end {key} 0", "")
