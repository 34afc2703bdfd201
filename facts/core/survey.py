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

from facts.core import asked
from facts.core.budget import Budget
from facts.core.fact import SectionFact
from facts.core.frame import read_frame
from facts.core.reading import Remembering, Section, Unknown, UnknownReading, known
from facts.core.shared import shared

T = TypeVar("T")


class Survey(Remembering):
    """Everything read from one host in one execution. `survey[Kernel]` is the fact, or UnknownReading is raised.
    Whatever is made of it is paid from the `budget`."""

    def __init__(self, readings: dict[type[SectionFact[Any]], Any]) -> None:
        self._readings = readings
        self.budget = Budget()

    def __getitem__(self, fact: type[SectionFact[T]]) -> T:
        value: T | Unknown = self.get(fact, Unknown(f"{fact.key} was not surveyed"))
        return known(value)

    def get(self, fact: type[SectionFact[Any]], default: Any = None) -> Any:
        """The fact, also where it is Unknown."""
        asked.note_fact(fact)
        return self._readings.get(fact, default)

    @property
    def readings(self) -> dict[type[SectionFact[Any]], Any]:
        """All of them. Whoever asks for one fact takes `get`: what comes of all is no other host's too."""
        asked.note_alone()
        return self._readings

    def same(self, fact: type[SectionFact[Any]]) -> Any:
        """What is equal on two hosts where all that they say there is the same, but for what is never the same; None
        where nothing was read."""
        reading = self._readings.get(fact)
        return getattr(reading, "but_for_its_own", reading)

    @classmethod
    def parse(cls, facts: Iterable[type[SectionFact[Any]]], lines: Sequence[str]) -> Survey:
        sections = read_frame(lines)
        missing = "no answer: what the host said ended before it" if sections else "the host gave no answer"
        survey = cls({})
        for fact in facts:
            section = sections.get(fact.key, Unknown(f"{fact.key}: {missing}"))
            survey._readings[fact] = survey._read(fact, section)
        return survey

    def _read(self, fact: type[SectionFact[Any]], section: Section | Unknown) -> Any:
        def read() -> Any:
            return self.budget.spend(lambda: fact.read(section))

        try:
            return read() if isinstance(section, Unknown) else shared(fact, fact.parse, section, read)
        except UnknownReading as error:
            return Unknown(f"{fact.key}: {error}")
