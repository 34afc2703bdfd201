"""A script of the journal, and what the host answers to it.

The host's half is `templates/run/*.sh`. Its answers are lines "@NONCE ok ENTRY NOTE",
"@NONCE fail ENTRY WHY" and "@NONCE put-back ENTRY": nothing else that the host prints is believed.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from shlex import quote

from deploys.core import templates
from deploys.core.text import clean

PARTS = ("journal.sh", "packages.sh", "undo.sh", "armed.sh")

# What the host answers for as a whole, beside its entries (0001, 0002 ...).
JOURNAL = "journal"  # whether it could be opened, by a run whose turn it is
CONFIRMED = "confirmed"  # whether what was commit-confirmed lasts
WAITING = "waiting"  # whether something waits to be confirmed


class Fate(StrEnum):
    """What became of a change: the host's words, and two that only the controller knows."""

    MADE = "ok"
    FAILED = "fail"
    PUT_BACK = "put-back"  # it was made, and put back by the same script, since another change failed
    NOT_REACHED = "not-reached"
    UNCONFIRMED = "unconfirmed"  # it was made, and the host took it back before it was confirmed


WORDS = {
    Fate.FAILED: "it failed, and the host did not say why",
    Fate.PUT_BACK: "it was made, and put back because another change failed",
    Fate.NOT_REACHED: "not reached: a change before it failed, or the connection was lost",
    Fate.UNCONFIRMED: "the host has put it back",
}


@dataclass(frozen=True)
class Outcome:
    """What became of one change, and what the host says of that."""

    entry: str
    fate: Fate
    said: str = ""

    @property
    def error(self) -> str:
        """Why it was not made; "" where it was."""
        return "" if self.fate is Fate.MADE else self.said or WORDS[self.fate]

    @property
    def note(self) -> str:
        """What is to be known of a change that was made."""
        return self.said if self.fate is Fate.MADE else ""

    @property
    def follows(self) -> bool:
        """It is so only because another change of the same script failed, which says why."""
        return self.fate in (Fate.PUT_BACK, Fate.NOT_REACHED)


@dataclass(frozen=True)
class Script:
    """sh for a host, and the nonce that marks its answers."""

    text: str
    nonce: str

    def answer(self, lines: Iterable[str]) -> dict[str, Outcome]:
        """What the host said, by entry."""
        form = re.compile(rf"@{self.nonce} (ok|fail|put-back) (\d+|[a-z]+) ?(.*)")
        found = (form.match(line) for line in lines)
        return {m[2]: Outcome(m[2], Fate(m[1]), clean(m[3]).strip()) for m in found if m}


def script_of(lines: Iterable[str]) -> Script:
    """The library and `lines`, as one function: a script that is cut off on its way to the host does not begin."""
    nonce, body = secrets.token_hex(8), "\n".join(lines)
    return Script(f"N={nonce}\nmain() {{\n{library()}\n{body}\n}}\nmain\n", nonce)


@cache
def library() -> str:
    """The host's half."""
    return "\n".join(templates.text(f"run/{part}") for part in PARTS)


def call(function: str, *words: str) -> str:
    """A line that calls a function of the library."""
    return " ".join([function, *map(quote, words)])


def fed(content: bytes, line: str) -> str:
    """A line that reads `content` from its stdin, in base64."""
    return f"printf %s {base64.b64encode(content).decode()} | {line}"
