"""A run as a process of pyinfra's: its command line, how it ends, and the signals on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from deploys.run.run import KINDS
from hullproof import ROOT, running
from hullproof.command import main

# In place of pyinfra: it says how a run ended, if it is to, and exits.
STAND_IN = """
import json, os, sys
status, row = int(sys.argv[1]), sys.argv[2:]
if row: open(os.environ["HULLPROOF_RECEIPT"], "w").write(row[0])
sys.exit(status) if status >= 0 else os.kill(os.getpid(), -status)
"""
ENDED = {"run": "r1", "exit_code": 2, "report": None}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PYINFRA", (sys.executable, "-c", STAND_IN))


def asked(*words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `hullproof WORDS` has pyinfra do."""
    commands: list[list[str]] = []

    def start(command: Sequence[str]) -> running.Ended:
        commands.append(list(command))
        return running.Ended(0, "r1")

    monkeypatch.setattr(running, "start", start)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return commands[0]


CONFIG = ["--config", str(ROOT / "config.py")]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["drift", "inv"], ["inv", "drift.py", "-y"]),
        (["drift", "-y", "inv"], ["inv", "drift.py", "--yes"]),
        (["picture", "inv"], ["inv", "picture.py", "-y"]),
        (["harden", "inv", "--dry", "--diff"], ["inv", "harden.py", "--dry", "--diff"]),
        (
            ["harden", "--policy", "strict", "--accept", "a", "--accept", "b,c", "--report", "out", "inv"],
            ["inv", "harden.py", "--data", "policy=strict", "--data", "accept=a,b,c", "--data", "report=out"],
        ),
        (
            ["rollback", "--parallel", "5", "--user", "me", "i", "-vv", "--data", "run=I", "--limit", "a", "--limit=b"],
            ["i", "rollback.py", "-vv", "--limit", "a", "--limit", "b", "--data", "run=I", "--parallel", "5",
             "--ssh-user", "me"],
        ),
    ],
)  # fmt: skip
def test_options_are_pyinfras_wherever_they_stand(
    words: list[str], command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    inventory, deploy, *options = command
    assert asked(*words, monkeypatch=monkeypatch) == [inventory, str(ROOT / "deploys" / deploy), *options, *CONFIG]


def test_the_config_of_the_folder_at_hand_is_used_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.py").touch()
    assert running.pyinfra_command("drift", "inv")[-2:] == CONFIG
    assert CONFIG[0] not in running.pyinfra_command("drift", "inv", ["--chdir", "there"])
    assert running.pyinfra_command("drift", "inv", ["--config", "mine.py"])[-2:] == ["--config", "mine.py"]


def test_no_password_is_shown() -> None:
    command = ["inv", "--ssh-password", "hunter2", "--data", "_sudo_password=hunter2", "--use-sudo-password", "--dry"]
    assert running.shown(command) == (
        "pyinfra inv --ssh-password '***' --data '_sudo_password=***' --use-sudo-password --dry"
    )


@pytest.mark.parametrize("words", [["drift"], ["drift", "inv", "--polcy", "x"], ["drift", "inv", "other.py"]])
def test_a_command_line_that_makes_no_sense_ends_with_1(words: list[str]) -> None:
    assert CliRunner().invoke(main, words).exit_code == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["2", json.dumps(ENDED)], 2, ""),
        (["0"], 1, "pyinfra exited 0 before the run came to its end"),
        (["2"], 1, "pyinfra exited 2 before the run came to its end"),
        (["-9"], 1, "a signal ended pyinfra (SIGKILL) before the run came to its end"),
        (["-9", json.dumps(ENDED)], 1, "the run ended with 2, and pyinfra with -9"),
    ],
)
@pytest.mark.usefixtures("stand_in")
def test_only_a_run_that_came_to_its_end_has_a_code_of_its_own(words: list[str], code: int, said: str) -> None:
    ended = running.start(words)
    assert ended.code == code
    assert ended.problem.startswith(said)
    assert bool(ended.problem) == bool(said)


def test_a_report_is_that_runs_own(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    ended = running.Ended(0, "r1", path)
    assert ended.read_report() is None
    for text in ("", "{", "[]", '{"run": null}', '{"run": {"id": "r2"}}'):
        path.write_text(text)
        assert ended.read_report() is None
    path.write_text('{"run": {"id": "r1"}}')
    assert ended.read_report() == {"run": {"id": "r1"}}


WAITING = """
import json, os, signal, sys
def end(number, frame):
    open(os.environ["HULLPROOF_RECEIPT"], "w").write(json.dumps({"run": "r1", "exit_code": 1, "report": None}))
    print(signal.Signals(number).name, flush=True)
    sys.exit(1)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, end)
print("waits", flush=True)
while True: signal.pause()
"""
STARTS = f"""
import sys
from hullproof import running
running.PYINFRA = (sys.executable, "-c", {WAITING!r})
print(running.start([]), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_run_and_its_end_is_awaited(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STARTS], cwd=ROOT, text=True, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == "waits\n"
    process.send_signal(number)
    out, _ = process.communicate()
    assert out.splitlines() == [number.name, str(running.Ended(1, "r1"))]


def test_every_kind_of_run_has_its_command() -> None:
    context = click.Context(main)
    assert set(KINDS) <= set(main.list_commands(context))
