"""A fact of no subject, and a survey taken by this machine's own shell."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.frame import survey_script
from facts.core.reading import Jsonable, Section, known
from facts.core.survey import Survey


@dataclass(frozen=True)
class Words(Jsonable):
    text: str


def fact(name: str, sh: str, seconds: int = 10) -> type[SectionFact[Words]]:
    class One(SectionFact[Words]):
        key: ClassVar[str] = name
        script: ClassVar[str] = sh
        timeout: ClassVar[int] = seconds

        @staticmethod
        def parse(section: Section) -> Words:
            return Words(known(section.text("say")))

    return One


def on_host(*facts: type[SectionFact[Words]]) -> Survey:
    done = subprocess.run(["sh", "-s"], input=survey_script(facts), text=True, capture_output=True, timeout=60)
    return Survey.parse(facts, done.stdout.splitlines())


GOOD = fact("good", "run say echo hello")
