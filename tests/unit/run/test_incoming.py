"""What a host prints without end is cut off where it arrives, and what is no text loses no more than itself."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.host import Host
from pyinfra.connectors import util
from pyinfra.connectors.util import OutputLine

from deploys.core.policy import Policy
from deploys.run import ending, incoming, transport
from deploys.run.look import look
from deploys.run.session import Reached, Session
from tests.support.journal import RUN


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(util, "read_buffer", util.read_buffer)  # put back afterwards
    incoming.install()
    state = State(Inventory((["@local"], {})), Config())
    connect_all(state)
    host: Host = state.inventory.get_host("@local")
    return host


class Pieces:
    """A stream of bytes objects, as local processes' are."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.read = 0
        self.closed = False

    def read1(self, size: int) -> bytes:
        piece = next(self.pieces, b"")
        self.read += len(piece)
        return piece

    def close(self) -> None:
        self.closed = True


class Channel:
    """A paramiko file: what it is a file of has two streams."""

    def __init__(self, out: Iterator[bytes], err: Iterator[bytes]) -> None:
        self.channel: Any = self
        self.out, self.err = Pieces(out), Pieces(err)

    def recv(self, size: int) -> bytes:
        return self.out.read1(size)

    def recv_stderr(self, size: int) -> bytes:
        return self.err.read1(size)

    def close(self) -> None:
        self.out.closed = self.err.closed = True


def lines_of(io: Any, name: str = "stdout") -> list[tuple[str, str]]:
    queue: Queue[OutputLine] = Queue()
    incoming.read(name, io, queue)
    return [(line.buffer_name, line.line) for line in queue.queue]


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


@pytest.mark.parametrize("piece", [b"x" * 60_000, b"x\n" * 1000, b"\n" * 60_000, "é\n".encode()])
def test_what_has_no_end_is_cut_off_and_its_sender_told(piece: bytes) -> None:
    io = Pieces(endless(piece))
    *_, last = lines_of(io)
    assert last == (incoming.CUT_OFF, "stdout")
    assert io.closed
    assert io.read <= incoming.BYTES + len(piece)
    assert io.read + incoming.LINE * piece.count(b"\n") * (io.read // len(piece)) > incoming.BYTES
    channel = Channel(endless(piece), iter(()))
    assert lines_of(channel)[-1] == (incoming.CUT_OFF, "stdout")
    assert channel.out.closed
    channel = Channel(iter(()), endless(piece))
    assert lines_of(channel, "stderr")[-1] == (incoming.CUT_OFF, "stderr")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_they_come(size: int) -> None:
    data = "one\n\ncafé 漢\r\n".encode() + b"\xff\xc3\nlast\xe9"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    wanted = [("stdout", text) for text in ("one", "", "café 漢\r", "\ufffd\ufffd", "last\ufffd")]
    assert lines_of(Pieces(iter(pieces))) == wanted
    assert lines_of(Channel(iter(pieces), iter(()))) == wanted
    assert lines_of(data.splitlines(keepends=True)) == wanted
    assert lines_of(["a\n", "b"]) == [("stdout", "a"), ("stdout", "b")]


def test_a_host_that_prints_without_end(local: Host) -> None:
    for script in ("yes", "head -c 300000000 /dev/zero", "yes >&2"):
        with pytest.raises(transport.Overflow, match="more than 12 MB"):
            transport.execute(local, script, 60)
    assert transport.execute(local, "echo still there", 60) == ["still there"]


def test_bytes_that_are_no_text_lose_nothing_but_themselves(local: Host) -> None:
    said = transport.execute(local, r"printf 'caf\303\nand \377 all\nthe rest\n'", 60)
    assert said == ["caf\ufffd", "and \ufffd all", "the rest"]


def test_pyinfras_own_options_are_as_they_were(local: Host) -> None:
    assert transport.execute(local, "echo $0", 60) == ["sh"]
    _, output = local.run_shell_command("printf 'a\\nb\\n'; echo wrong >&2; exit 3", _shell_executable="bash")
    assert (output.stdout_lines, output.stderr_lines) == (["a", "b"], ["wrong"])
    with pytest.raises(transport.Unreachable, match="no answer within 1 s"):
        transport.execute(local, "sleep 20", 1)


def test_a_host_that_printed_without_end_is_in_error_and_not_out_of_reach(
    local: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_: Any) -> list[str]:
        raise transport.Overflow("the host answered with more than 12 MB")

    monkeypatch.setattr(transport, "execute", overflow)
    session = Session(local, Policy("p", {}), (), RUN)
    look(session)
    report = ending.report(session, Reached.SURVEY)
    assert (report.status, report.error) == ("error", "the host answered with more than 12 MB")
