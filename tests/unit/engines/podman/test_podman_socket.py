"""Who may speak to Podman's API: judged, closed, and given to root alone."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, WriteFile
from deploys.core.control import State
from deploys.engines.podman.api import TEXT
from deploys.engines.podman.controls import SUBJECT
from facts.core.reading import Unknown
from facts.engines.podman.podman import SOCKET, SOCKET_DROP_IN, PodmanReading
from tests.support.podman import context, found, podman, socket

ROOTS, EVERYBODYS = "0660 root root", "0666 root root"


def with_socket(*values: Any, **more: Any) -> PodmanReading:
    return podman(socket=socket(*values), **more)


@pytest.mark.parametrize(
    ("declared", "reading", "state", "word"),
    [
        ("none", podman(), State.PASS, ""),
        ("none", with_socket(True), State.FAIL, "podman.socket is enabled"),
        ("none", with_socket(False, True, ROOTS), State.FAIL, "podman.socket listens"),
        ("none", podman(serving=("unix:///srv/x.sock",)), State.FAIL, "listens on unix:///srv/x.sock"),
        ("root", with_socket(False, False, "", EVERYBODYS), State.PASS, ""),
        ("root", with_socket(True, True, ROOTS), State.PASS, ""),
        ("root", with_socket(True, True, EVERYBODYS), State.FAIL, "podman.sock is 0666 root:root"),
        ("root", with_socket(True, True, "0660 root dev"), State.FAIL, "0660 root:dev"),
        ("root", with_socket(True, True, ROOTS, "0660 root dev"), State.FAIL, "is to be 0660 root:dev"),
        ("root", with_socket(True, False, "", "0600 ci root"), State.FAIL, "is to be 0600 ci:root"),
        ("root", with_socket(True, True, ROOTS, ROOTS, SOCKET, "[::]:80"), State.FAIL, "is to listen on [::]:80"),
        ("root", with_socket(True, True, ROOTS, ROOTS, SOCKET, "/srv/x.sock"), State.PASS, ""),
        ("root", podman(serving=("tcp:0.0.0.0:8080",)), State.FAIL, "tcp:0.0.0.0:8080"),
        ("root", podman(serving=("unix:///srv/x.sock",)), State.UNKNOWN, "listens on /srv/x.sock"),
        ("root", podman(serving=("unix:/var/run/podman/podman.sock",)), State.PASS, ""),
        ("root", podman(serving=("unix:///srv/x.sock", "tcp:0.0.0.0:80")), State.FAIL, "tcp:0.0.0.0:80"),
        ("root", podman(socket=Unknown("no systemd")), State.UNKNOWN, "no systemd"),
    ],
)
def test_the_api(declared: str, reading: PodmanReading, state: State, word: str) -> None:
    assert (found(reading, "api", api=declared)[0], word in found(reading, "api", api=declared)[1]) == (state, True)


def planned(reading: PodmanReading, declared: str, accept: str = "podman-api") -> list[Change]:
    return list(SUBJECT.plan(context(reading, api=declared, accept=accept)))


def test_the_socket_is_stopped_where_that_is_accepted_and_an_undo_starts_it() -> None:
    open_ = with_socket(True, True, ROOTS)
    (blocked,) = planned(open_, "none", accept="")
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("podman-api",)
    (command,) = planned(open_, "none")
    assert isinstance(command, Command)
    assert command.undo == "systemctl -q enable podman.socket && systemctl -q start podman.socket"


def test_the_socket_is_given_to_root_alone_where_that_is_accepted() -> None:
    open_ = with_socket(True, True, EVERYBODYS, EVERYBODYS)
    (blocked,) = planned(open_, "root", accept="")
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == ("podman-api",)
    (write,) = planned(open_, "root")
    assert isinstance(write, WriteFile)
    assert (write.path, write.text, write.before) == (SOCKET_DROP_IN, TEXT, None)
    assert write.interrupts == "clients of Podman's API"
    assert "restart podman.socket" in write.activate


def test_a_socket_that_is_not_what_the_drop_in_says_is_started_again() -> None:
    (command,) = planned(with_socket(True, True, EVERYBODYS, "0600 root root", socket_drop_in=TEXT), "root")
    assert isinstance(command, Command)
    assert "restart podman.socket" in command.script


@pytest.mark.parametrize("accept", ["", "podman-api"])
def test_a_socket_that_a_file_after_the_drop_in_opens_is_not_started_again_at_each_run(accept: str) -> None:
    opened = with_socket(True, True, EVERYBODYS, EVERYBODYS, socket_drop_in=TEXT)
    (blocked,) = planned(opened, "root", accept)
    assert isinstance(blocked, Blocked)
    assert "a file after it something else, or systemd was not reloaded" in blocked.why
    assert (blocked.accepts, "SocketMode=" in blocked.by_hand) == ((), True)


@pytest.mark.parametrize(
    ("reading", "kinds"),
    [
        (with_socket(False, False, EVERYBODYS), [Blocked]),
        (podman(serving=("tcp:0.0.0.0:8080",)), [Blocked]),
        (with_socket(True, True, ROOTS, ROOTS, "[::]:80"), [Blocked]),
        (with_socket(True, True, EVERYBODYS, EVERYBODYS, "[::]:80"), [Blocked, WriteFile]),
    ],
)
def test_what_is_anothers_service_or_listens_on_a_port_goes_by_hand(reading: PodmanReading, kinds: list[type]) -> None:
    changes = planned(reading, "root")
    assert [type(each) for each in changes] == kinds
    assert "ListenStream=" in changes[0].by_hand if isinstance(changes[0], Blocked) else False
