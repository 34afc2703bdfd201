"""What one host's answer may cost the controller, which does nothing for other hosts meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import cache
from time import monotonic
from types import FrameType
from typing import TypeVar

import gevent

from facts.core.reading import UnknownReading

T = TypeVar("T")

SECONDS = 5.0  # of the processor's time for all that is made of an answer; a usual host takes a hundredth of one
TURN = 0.05  # seconds after which other hosts are let go on
AGAIN = 0.1  # seconds after which the alarm rings again, where something swallowed it (a callback of the interpreter's)
SPENT = f"it would take the controller more than {SECONDS:g} s to make sense of this host's answer"

_armed = False


class _Alarm(BaseException):
    """No Exception, or a parser that expects nonsense would take it for some."""


def _ring(_signal: int, _frame: FrameType | None) -> None:
    if _armed:
        raise _Alarm


@cache
def _listen() -> None:
    signal.signal(signal.SIGVTALRM, _ring)


class Budget:
    """One host's: whatever it says, and whatever a parser makes of that, the others get their turn."""

    def __init__(self) -> None:
        self.left = SECONDS
        self.since = monotonic()

    def spend(self, work: Callable[[], T]) -> T:
        """`work()`, after other hosts have had their turn; UnknownReading where it takes more than is left, and ever
        after."""
        self.let_others()
        return self.spend_at_once(work)

    def spend_at_once(self, work: Callable[[], T]) -> T:
        """The same, and no other host goes on before it has ended."""
        global _armed
        if self.left <= 0:
            raise UnknownReading(SPENT)
        _listen()
        _armed = True
        signal.setitimer(signal.ITIMER_VIRTUAL, self.left, AGAIN)
        try:
            return work()
        except _Alarm:
            _armed = False
            self.left = 0.0
            raise UnknownReading(SPENT) from None
        finally:
            _armed = False
            self.left = min(self.left, signal.setitimer(signal.ITIMER_VIRTUAL, 0)[0])

    def let_others(self) -> None:
        """Go on with other hosts, if it is their turn."""
        if monotonic() - self.since > TURN:
            gevent.sleep(0)
            self.since = monotonic()
