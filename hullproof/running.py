"""A run as a process of pyinfra: its command, its start, the signals that reach it, and how it ended.

The commands, the watch and the fleet start runs by this module alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import IO, Any

from deploys.run.run import KINDS, RECEIPT
from hullproof import ROOT

READS_ONLY = frozenset(name for name, kind in KINDS.items() if kind in ("drift", "runs"))
# The same interpreter's pyinfra, and none that the folder at hand holds (-P).
PYINFRA = (sys.executable, "-P", "-m", "pyinfra")
SECRET = re.compile(r"(?is)^((?:--data=)?[\w-]*(?:password|passphrase|secret|token)[\w-]*=).*")
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ended:
    """How a run ended. `code` is one of deploys.report.report.EXIT_CODES. `run` is its id, `report` the file that holds
    its report; both are empty where it has none. `problem`: why nothing is known of it; "" where it came to its end.
    `stopped`: why no host may reboot after it, in a run of which it is a part; "" where they may."""

    code: int
    run: str = ""
    report: Path | None = None
    problem: str = ""
    stopped: str = ""

    def read_report(self) -> dict[str, Any] | None:
        """The report object of this very run; None where there is none, or another run has written over it."""
        try:
            found = json.loads(self.report.read_bytes()) if self.report else None
            return found if found and found["run"]["id"] == self.run else None
        except (OSError, ValueError, TypeError, KeyError):
            return None


def pyinfra_command(kind: str, inventory: str, options: Sequence[str] = ()) -> list[str]:
    """The words of pyinfra's command line, without the program: `kind` is an entry point (KINDS), `options` are
    pyinfra's own. What only reads is not asked about. Raises KeyError for a kind that there is none of."""
    assert KINDS[kind]
    yes = ["-y"] if kind in READS_ONLY and not {"-y", "--yes"} & set(options) else []
    return [inventory, str(ROOT / "deploys" / f"{kind}.py"), *yes, *options, *_config(options)]


def _config(options: Sequence[str]) -> list[str]:
    """Our config.py, where the folder at hand has none: it begins the run before any host is connected, so that a run
    that reaches no host has its report too."""
    given = dict(pairwise([*options, ""]))
    if "--config" in given or Path(given.get("--chdir", "."), "config.py").exists():
        return []
    return ["--config", str(ROOT / "config.py")]


def shown(command: Sequence[str], program: str = "pyinfra") -> str:
    """The command as it can be typed, without passwords: what is shown may be kept in a log."""
    hidden = [SECRET.sub(r"\1***", word) for word in command]
    for at, word in enumerate(command[:-1]):
        if word.startswith("--") and word.endswith("password") and word not in ("--use-sudo-password",):
            hidden[at + 1] = "***"
    return shlex.join([program, *hidden])


def start(command: Sequence[str], stdout: IO[Any] | int | None = None) -> Ended:
    """Run pyinfra with `command` to its end. Signals that this process gets meanwhile go to it, and its end is awaited.
    `stdout` as subprocess has it; None: this process's own."""
    with tempfile.TemporaryDirectory(prefix="hullproof-") as folder:
        receipt = Path(folder, "receipt.json")
        with forwarding() as began:
            process = subprocess.Popen([*PYINFRA, *command], stdout=stdout, env=os.environ | {RECEIPT: str(receipt)})
            began(process)
            status = process.wait()
        return ended(status, receipt)


def run(kind: str, inventory: str, options: Sequence[str] = ()) -> tuple[int, dict[str, Any] | None]:
    """The exit code and the report object of a run. The report is None where the run did not come to its end."""
    ended = start(pyinfra_command(kind, inventory, options))
    return ended.code, ended.read_report()


def ended(status: int, receipt: Path) -> Ended:
    """How a run ended whose pyinfra exited with `status` (negative: by that signal) and was to leave `receipt`."""
    try:
        row = json.loads(receipt.read_bytes())
    except OSError:
        how = f"a signal ended pyinfra ({signal.Signals(-status).name})" if status < 0 else f"pyinfra exited {status}"
        return Ended(1, problem=f"{how} before the run came to its end, so nothing is known of any host")
    if status != row["exit_code"]:
        return Ended(1, row["run"], problem=f"the run ended with {row['exit_code']}, and pyinfra with {status}")
    report = Path(row["report"]) if row["report"] else None
    return Ended(row["exit_code"], row["run"], report, stopped=row.get("stopped", ""))


class Forwarder:
    """Signals of this process reach the processes that it is called with, also those that have come before; `received`
    has all of them."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[Any]] = []
        self.received: list[int] = []
        self._early: list[int] = []

    def __call__(self, process: subprocess.Popen[Any]) -> None:
        self.started.append(process)
        for number in self._early:
            process.send_signal(number)

    def forward(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if number == signal.SIGINT and _in_foreground():
            return  # the terminal sends Ctrl-C to both; asked twice, pyinfra does not wait for what is under way
        if not self.started:
            self._early.append(number)
        for process in self.started:
            process.send_signal(number)


@contextlib.contextmanager
def forwarding() -> Iterator[Forwarder]:
    """Until it is left, this process's signals are the forwarder's, but for those that it ignores."""
    forwarder = Forwarder()
    before = {number: signal.getsignal(number) for number in FORWARDED}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # nohup(1)
                signal.signal(number, forwarder.forward)
        yield forwarder
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Whether Ctrl-C on a terminal is for this process's group, and so for what it has started too."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
