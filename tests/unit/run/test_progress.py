"""What is told while hosts answer: on a terminal, without one, and not at all."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator

import gevent
import pytest

from deploys.run import progress
from deploys.run.progress import CLEAR, SWITCH, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What was drawn, one after the other."""
        return [text for text in re.split(r"[\r\n]|\x1b\[K", self.getvalue()) if text.strip()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, as seconds that a test sets; what waits for it waits a moment. Who tells is ended: it
    would go on in other tests."""
    now = [0.0]
    tellers: list[gevent.Greenlet] = []
    spawn = gevent.spawn

    def kept(tell: Callable[[], None]) -> gevent.Greenlet:
        tellers.append(spawn(tell))
        return tellers[-1]

    monkeypatch.setattr(gevent, "spawn", kept)
    monkeypatch.setattr("deploys.run.progress.monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "DRAWN", 0.001)
    monkeypatch.setattr(progress, "SAID", 0.001)
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    yield now
    gevent.killall(tellers)


def tell() -> None:
    for _ in range(3):
        gevent.sleep(0.02)


def test_how_many_of_how_many_and_the_slow_ones_by_name(clock: list[float]) -> None:
    terminal = Terminal()
    told = Progress(3, terminal)
    with told.asking("slow\x1b[2J"):
        clock[0] = 2
        with told.asking("slower"), told.asking("quick"):
            tell()
            assert terminal.lines[-1].strip() == "0 of 3 hosts have answered"
        clock[0] = 9
        tell()
        assert terminal.lines[-1].strip() == "2 of 3 hosts have answered; waiting for slow (9 s)"
    assert terminal.getvalue().endswith(CLEAR)
    tell()
    assert terminal.getvalue().endswith(CLEAR), "nothing is told when all have answered"


def test_the_slowest_come_first_and_only_some_are_named(clock: list[float]) -> None:
    told = Progress(9, Terminal())
    told.waiting |= {f"h{number}": number for number in range(8)}
    clock[0] = 11
    assert told.text() == (
        "0 of 9 hosts have answered; waiting for h0 (11 s), h1 (10 s), h2 (9 s), h3 (8 s), h4 (7 s) and 2 more"
    )


def test_a_line_is_no_longer_than_the_terminal(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()
    with Progress(2, terminal).asking("a"):
        clock[0] = 100
        tell()
        assert {len(line) for line in terminal.lines} == {29}


def test_pyinfra_says_nothing_meanwhile(clock: list[float]) -> None:
    told = Progress(1, Terminal())
    with told.asking("a"):
        assert os.environ[SWITCH] == "off"
    assert SWITCH not in os.environ
    with told.asking("a"):
        assert SWITCH not in os.environ, "of a host that is asked again nothing is told"


def test_without_a_terminal_a_line_now_and_then(clock: list[float]) -> None:
    log = io.StringIO()
    with Progress(2, log).asking("a"):
        assert SWITCH not in os.environ
        tell()
    assert log.getvalue().splitlines()[0] == "0 of 2 hosts have answered"
    assert "\x1b" not in log.getvalue()


def test_nothing_where_it_is_switched_off(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "off")
    terminal = Terminal()
    told = Progress(1, terminal)
    with told.asking("a"):
        tell()
    told.end()
    assert terminal.getvalue() == ""
    assert os.environ[SWITCH] == "off"


def test_a_host_that_fails_or_is_left_out_ends_it_too(clock: list[float]) -> None:
    terminal = Terminal()
    told = Progress(2, terminal)
    with pytest.raises(OSError, match="gone"), told.asking("a"):
        raise OSError("gone")
    assert SWITCH in os.environ
    told.leave_out()
    assert SWITCH not in os.environ
    assert terminal.getvalue().endswith(CLEAR)
