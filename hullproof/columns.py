"""What a command tells, in two columns that fit a terminal: a label, and its text."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator

from deploys.core.text import clean_text
from deploys.report.terminal import BOLD, fill, paint, wants_color

LABEL = 14  # columns
WIDEST = 100
WIDE = 40  # columns of a list's first one


def screen() -> tuple[bool, int]:
    """Whether to colour what is printed, and how wide it may be."""
    return wants_color(sys.stdout), min(shutil.get_terminal_size().columns, WIDEST)


def row(label: str, lines: Iterable[str], color: bool, width: int) -> Iterator[str]:
    """Each of `lines` filled beside the label; nothing where there is none. A line that begins with blanks keeps them,
    also where it goes on."""
    head = paint(label.ljust(LABEL), BOLD, color)
    for line in lines:
        text = clean_text(line)
        own = " " * (LABEL + len(text) - len(text.lstrip()))
        filled = fill(text.lstrip(), max(width, 50), initial_indent=own, subsequent_indent=f"{own}  ")
        yield head + filled[LABEL:]
        head = " " * LABEL


def listed(rows: Iterable[tuple[str, str, str]], width: int) -> Iterator[str]:
    """Rows of a name, a word and a sentence, which is cut where it does not fit. A name that is longer than most
    shifts its own row alone."""
    table = list(rows)
    names = min(max(len(name) for name, _, _ in table), WIDE)
    words = max(len(word) for _, word, _ in table)
    for name, word, sentence in table:
        begin = f"{name:{names}}  {word:{words}}  "
        yield begin + textwrap.shorten(sentence, max(width - len(begin), 10), placeholder="…")
