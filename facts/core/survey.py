"""The survey: every subject's section in ONE script, run once on the host, parsed here.

The frame, as it comes out of the host (then gzip and base64, so that no byte of it can hurt the terminal or the
connection):

    @hullproof NONCE
    @NONCE section KEY
    @NONCE block NAME
    ...text...
    @NONCE status N
    @NONCE end KEY STATUS
    @NONCE done

Each section runs under its own `timeout` and size limit. A section without its `end` line, or with a status that is
not 0, is unknown, and only that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from facts.core.budget import Budget
from facts.core.fact import SectionFact
from facts.core.frame import read_frame
from facts.core.reading import Remembering, Section, Unknown, UnknownReading, known

T = TypeVar("T")


class Survey(Remembering):
    """Everything read from one host in one execution. `survey[Kernel]` is the fact, or UnknownReading is raised.
    Whatever is made of it is paid from the `budget`."""

    def __init__(self, readings: dict[type[SectionFact[Any]], Any]) -> None:
        self.readings = readings
        self.budget = Budget()

    def __getitem__(self, fact: type[SectionFact[T]]) -> T:
        value: T | Unknown = self.readings.get(fact, Unknown(f"{fact.key} was not surveyed"))
        return known(value)

    @classmethod
    def parse(cls, facts: Iterable[type[SectionFact[Any]]], lines: Sequence[str]) -> Survey:
        sections = read_frame(lines)
        missing = "no answer: what the host said ended before it" if sections else "the host gave no answer"
        survey = cls({})
        for fact in facts:
            section = sections.get(fact.key, Unknown(f"{fact.key}: {missing}"))
            survey.readings[fact] = survey._read(fact, section)
        return survey

    def _read(self, fact: type[SectionFact[Any]], section: Section | Unknown) -> Any:
        try:
            return self.budget.spend(lambda: fact.read(section))
        except UnknownReading as error:
            return Unknown(f"{fact.key}: {error}")
