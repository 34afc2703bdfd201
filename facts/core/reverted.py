"""A change that could have cut us off, and that the host took back by itself."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from facts.core.reading import Jsonable, Section, Unknown

FILE = "/var/lib/hullproof/reverted-"  # and the subject's name
UNDO = "undo"


@dataclass(frozen=True)
class Reverted(Jsonable):
    run: str
    time: str  # 2026-01-01T00:02:00Z
    why: str  # "": nobody confirmed it over a fresh connection; UNDO: nobody confirmed its undo

    @property
    def clock(self) -> int:
        """When, in seconds since the epoch."""
        return int(datetime.datetime.fromisoformat(self.time).timestamp())


def read_reverted(section: Section, subject: str) -> Reverted | Unknown | None:
    """`RUN TIME WHY`; None where nothing of the subject was taken back."""
    text = section.file(f"{FILE}{subject}")
    if not isinstance(text, str):
        return text
    run, _, rest = text.strip().partition(" ")
    time, _, why = rest.partition(" ")
    try:
        datetime.datetime.fromisoformat(time)
    except ValueError:
        return Unknown(f"{FILE}{subject} makes no sense")
    return Reverted(run, time, why)
