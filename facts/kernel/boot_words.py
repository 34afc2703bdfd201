"""Boot parameters on trial: those of the next boot alone, and the result of the last trial."""

from __future__ import annotations

from dataclasses import dataclass

from facts.core.reading import Jsonable, Section, Unknown

WORDS = "/etc/hullproof/words"  # a trial under way, on the root
LAST = "/var/lib/hullproof/boot/words-last"

SCRIPT = f"""
for f in {WORDS}/words {WORDS}/boot_id {LAST}; do [ -e $f ] && show $f; done
"""


@dataclass(frozen=True)
class TriedWords(Jsonable):
    """The result of the last boot with parameters on trial."""

    words: tuple[str, ...]
    result: str  # kept, refused, returned
    gate: str  # the check that failed
    why: str
    time: str
    boot: str  # the id of the boot in which that was found


@dataclass(frozen=True)
class BootWords(Jsonable):
    on_trial: tuple[str, ...] = ()  # of the next boot alone, or of this one, while its health check runs
    armed_in: str = ""  # the boot in which that was asked for
    last: TriedWords | None = None


NONE = BootWords()


def parse(section: Section) -> BootWords:
    fields = dict(line.partition("=")[::2] for line in _text(section, LAST).splitlines() if "=" in line)
    values = [fields.get(name, "").strip() for name in ("result", "gate", "why", "time", "boot")]
    last = TriedWords(tuple(fields.get("words", "").split()), *values) if fields.get("result") else None
    armed = _text(section, f"{WORDS}/boot_id").strip()
    return BootWords(tuple(_text(section, f"{WORDS}/words").split()), armed, last)


def _text(section: Section, path: str) -> str:
    text = section.text(path)
    return "" if isinstance(text, Unknown) else text
