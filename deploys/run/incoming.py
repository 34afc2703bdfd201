"""What hosts print, as it comes in: counted, cut off where it has no end, and decoded whatever its bytes are.

pyinfra reads with a function of its own, whatever the connector: it keeps lines of any length and number until the
timeout, and at the first byte that is no UTF-8 it ends as if the host had said no more. Ours takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Queue
from typing import Any

from pyinfra.api.output import echo
from pyinfra.connectors import util
from pyinfra.connectors.util import OutputLine

from deploys.core.text import clean_text

BYTES = 12_000_000  # of one answer, as it is sent: a survey of the greatest size, unpacked and in base64, is 10,700,000
LINE = 100  # that a line is counted beyond its bytes: what it takes here, however short it is
CHUNK = 65_536
CUT_OFF = "cut off"  # in place of `stdout` or `stderr` where there was more


def read(
    name: str,
    io: Iterable[str | bytes],
    output_queue: Queue[OutputLine],
    print_output: bool = False,
    print_func: Callable[[str], str] | None = None,
) -> None:
    """One stream of one execution into lines: in place of pyinfra.connectors.util.read_buffer."""
    for text in _lines(name, io):
        if text is None:
            output_queue.put(OutputLine(CUT_OFF, name))
            _close(io)
            return
        output_queue.put(OutputLine(name, text))
        if print_output:
            shown = clean_text(text)
            echo(print_func(shown) if print_func else shown, err=True)


def _lines(name: str, io: Any) -> Iterator[str | None]:
    """None, and nothing after it, where there is too much."""
    left, rest = BYTES, bytearray()
    for piece in _pieces(name, io):
        left -= len(piece) + LINE * piece.count(b"\n")
        if left < 0:
            yield None
            return
        ended, newline, begun = piece.rpartition(b"\n")
        if newline:
            yield from (rest + ended).decode("utf-8", "replace").split("\n")
            rest = bytearray()
        rest += begun
    if rest:
        yield rest.decode("utf-8", "replace")


def _pieces(name: str, io: Any) -> Iterator[bytes]:
    """As they come. Of paramiko's files those of the channel itself: the files look for the end of a line from its
    beginning, again with each piece."""
    channel = getattr(io, "channel", None)
    if channel is not None:
        receive = channel.recv_stderr if name == "stderr" else channel.recv
    elif hasattr(io, "read1"):
        receive = io.read1
    else:
        yield from (line.encode() if isinstance(line, str) else line for line in io)
        return
    while piece := receive(CHUNK):
        yield piece


def _close(io: Any) -> None:
    """A program that is still writing then sees that its output is no longer read."""
    getattr(io, "channel", io).close()


def install() -> None:
    util.read_buffer = read
