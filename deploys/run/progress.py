"""Who has answered while hosts are surveyed: how many of how many, and the slow ones by name, on stderr.

On a terminal that is one line, drawn again and again, in place of pyinfra's own, which names hosts in no order. Where
there is no terminal, a run that takes long says a line now and then. PYINFRA_PROGRESS=off turns both off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from time import monotonic
from typing import TextIO

import gevent

from deploys.core.control import some
from deploys.core.text import clean_text

SWITCH = "PYINFRA_PROGRESS"
SLOW = 5  # seconds from which on a host is named
NAMED = 5
DRAWN = 0.5  # seconds between two drawings
SAID = 30  # seconds between two lines where there is no terminal
CLEAR = "\r\x1b[K"


class Progress:
    """Of one run over `total` hosts, told to `stream`."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self.total = total
        self.stream = stream
        self.waiting: dict[str, float] = {}  # since when each is asked that has not answered
        self.answered: set[str] = set()
        self.switch = os.environ.get(SWITCH)
        self.teller: gevent.Greenlet | None = None

    @contextlib.contextmanager
    def asking(self, name: str) -> Iterator[None]:
        """While the host is asked. Of one that is asked again nothing is told."""
        if self.switch == "off" or name in self.answered:
            yield
            return
        self.waiting[name] = monotonic()
        self._begin()
        try:
            yield
        finally:
            del self.waiting[name]
            self.answered.add(name)
            self._end_with_the_last()

    def leave_out(self) -> None:
        """Of one host nothing will be asked."""
        self.total -= 1
        self._end_with_the_last()

    def _end_with_the_last(self) -> None:
        if len(self.answered) >= self.total:
            self.end()

    def _begin(self) -> None:
        """pyinfra looks at its switch when its own line begins, which is after the first host is asked."""
        if self.teller is None:
            draws = self.stream.isatty()
            self.teller = gevent.spawn(self._draw if draws else self._say)
            if draws:
                os.environ[SWITCH] = "off"

    def end(self) -> None:
        """Tell nothing more; pyinfra may again."""
        if self.teller is None:
            return
        self.teller.kill(block=False)
        if self.stream.isatty():
            self.stream.write(CLEAR)
            self.stream.flush()
            if self.switch is None:
                os.environ.pop(SWITCH, None)
            else:
                os.environ[SWITCH] = self.switch

    def text(self) -> str:
        """How it stands now."""
        now = monotonic()
        longest = sorted((since, name) for name, since in self.waiting.items() if now - since >= SLOW)
        slow = [f"{clean_text(name)} ({now - since:.0f} s)" for since, name in longest]
        waiting = f"; waiting for {some(slow, NAMED)}" if slow else ""
        return f"{len(self.answered):,} of {self.total:,} hosts have answered{waiting}"

    def _draw(self) -> None:
        while True:
            line = self.text()[: shutil.get_terminal_size().columns - 5]
            self.stream.write(f"{CLEAR}    {line}\r")
            self.stream.flush()
            self.stream.write("\x1b[K")  # not flushed: whatever is printed next clears the line first
            gevent.sleep(DRAWN)

    def _say(self) -> None:
        while True:
            gevent.sleep(SAID)
            print(self.text(), file=self.stream, flush=True)
