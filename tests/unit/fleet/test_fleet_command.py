"""What `--scheduler` and `hullproof fleet` refuse, and the commands of Dask that they become."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hullproof.command import main


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch(mode=0o600)
    return tmp_path


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the process would have become: Dask's command."""
    commands: list[list[str]] = []

    def execve(program: str, command: list[str], env: dict[str, Any]) -> None:
        commands.append(command)

    monkeypatch.setattr(os, "execve", execve)
    return commands


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://10.0.0.1:8786", "add --unencrypted where the network between them is yours alone"),
        ("tcp://scheduler:8786", "add --unencrypted"),
        ("tls://10.0.0.1:8786", "wants certificates: name their folder by --tls"),
        ("http://127.0.0.1:8786", "is no scheduler: want tls://HOST:PORT"),
        ("tcp://127.0.0.1", "is no scheduler"),
        ("tcp://127.0.0.1:many", "is no scheduler"),
        ("localhost", "is no scheduler"),
        ("tcp://127.0.0.1:8786 --tls TLS", "does not use the certificates in"),
        ("tls://10.0.0.1:8786 --tls TLS/empty", "there is no ca.pem; it wants ca.pem, cert.pem, key.pem"),
        ("tls://10.0.0.1:8786 --tls TLS/open", "key.pem can be read by others: chmod 600"),
    ],
)
@pytest.mark.parametrize("command", ["scheduler", "worker"])
def test_where_a_scheduler_may_be(tls: Path, become: list[list[str]], command: str, address: str, said: str) -> None:
    (tls / "empty").mkdir()
    (tls / "open").mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tls / "open" / name).touch()
        (tls / "open" / name).chmod(0o644)
    result = CliRunner().invoke(main, ["fleet", command, *address.replace("TLS", str(tls)).split()])
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert become == []


@pytest.mark.parametrize(
    ("words", "dask"),
    [
        ("scheduler tcp://127.0.0.1:8786", "--host tcp://127.0.0.1 --port 8786"),
        ("scheduler tls://0.0.0.0:8786 --tls TLS", "--host tls://0.0.0.0 --port 8786 FILES"),
        ("scheduler tcp://10.0.0.1:1 --unencrypted", "--host tcp://10.0.0.1 --port 1"),
        (
            "worker tcp://[::1]:8786 --processes 3",
            "tcp://[::1]:8786 --nworkers 3 --nthreads 1 --memory-limit 0 --host ::1",
        ),
        (
            "worker tls://s:8786 --tls TLS --region eu-1",
            "tls://s:8786 --nworkers 1 --nthreads 1 --memory-limit 0 --resources region:eu-1=1 FILES",
        ),
    ],
)
def test_the_command_of_dask(tls: Path, become: list[list[str]], words: str, dask: str) -> None:
    result = CliRunner().invoke(main, ["fleet", *words.replace("TLS", str(tls)).split()])
    assert result.exit_code == 0, result.output
    files = f"--tls-ca-file {tls}/ca.pem --tls-cert {tls}/cert.pem --tls-key {tls}/key.pem"
    (command,) = become
    want = dask.replace("FILES", files).split()
    assert command[4:] == [*want, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


def test_a_region_is_a_word(become: list[list[str]]) -> None:
    result = CliRunner().invoke(main, ["fleet", "worker", "tcp://127.0.0.1:1", "--region", "a b=1"])
    assert (result.exit_code, become) == (1, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ssh-password", "hunter2"], "no password goes through a scheduler"),
        (["--ssh-key-password", "hunter2"], "no password goes through a scheduler"),
        (["--data", "_sudo_password=hunter2"], "no password goes through a scheduler"),
        (["--workers", "2"], "--workers is for this machine"),
        (["--serial"], "--serial does not go with --workers or --scheduler"),
        (["--same-sudo-password"], "each process would ask"),
    ],
)
def test_what_does_not_go_through_a_scheduler(become: list[list[str]], words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["drift", "inv", "--scheduler", "tcp://127.0.0.1:1", *words])
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert "hunter2" not in result.output
    assert become == []


@pytest.mark.parametrize("word", ["--tls=x", "--unencrypted"])
def test_what_is_said_of_no_scheduler(become: list[list[str]], word: str) -> None:
    result = CliRunner().invoke(main, ["drift", "inv", word])
    assert (result.exit_code, become) == (1, [])
    assert "are for --scheduler" in result.output
