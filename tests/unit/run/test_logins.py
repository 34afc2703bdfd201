"""A run on the host itself: who logs in anew over SSH confirms what could have cut everybody off."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.connectors.local import LocalConnector

from deploys.run import logins as subject
from deploys.run.logins import await_login, logins
from deploys.run.transport import Unreachable

HERE: Any = SimpleNamespace(connector=LocalConnector.__new__(LocalConnector))
THERE: Any = SimpleNamespace(connector=object())
TITLES = {
    "1": b"/sbin/init\0",
    "7": b"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0",
    "8": b"sshd: ada [priv]\0",
    "9": b"sshd: ada@pts/0\0",
    "10": b"sshd-session: root@notty\0",
    "11": b"vi sshd: x@y\0",
}


@pytest.fixture(autouse=True)
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for pid, title in TITLES.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes(title)
    (tmp_path / "12").mkdir()  # ended meanwhile
    monkeypatch.setattr(subject, "PROC", tmp_path)
    return tmp_path


def test_sessions_by_how_sshd_calls_them() -> None:
    assert logins(HERE) == {"9", "10"}
    assert logins(THERE) == frozenset(), "what runs here says nothing about another host"


def test_whoever_comes_in_anew_confirms(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def come_in(_: float) -> None:
        (proc / "20").mkdir()
        (proc / "20" / "cmdline").write_bytes(b"sshd: ada@pts/1\0")

    monkeypatch.setattr(subject, "sleep", come_in)
    await_login(HERE, logins(HERE), 100, told.append)
    assert told == ["log in over SSH once more now: without a new login within 100 s, the host takes this change back"]


def test_nobody_does() -> None:
    with pytest.raises(Unreachable, match="no new login over SSH came in time"):
        await_login(HERE, logins(HERE), 0, lambda _: None)


def test_where_nobody_is_logged_in_nobody_is_waited_for() -> None:
    await_login(HERE, frozenset(), 0, pytest.fail)
