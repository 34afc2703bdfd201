"""A folder that stands for a host with systemd: what is armed there is reverted by the real script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Change, WriteFile
from deploys.core.policy import Policy
from deploys.run import journal, session, transport
from deploys.run.script import CONFIRMED, WAITING
from deploys.run.step_script import compile_step
from deploys.run.steps import arrange
from tests.support.journal import RUN

ID = RUN["id"]


class Host:
    """A folder that stands for a host, with a systemd that only writes down what it is asked."""

    def __init__(self, root: Path) -> None:
        self.root, self.journal, self.asked = root, root / "state" / "journal", root / "asked"
        for name in ("systemd-run", "systemctl"):
            self.tool(name, f'echo {name} "$@" >>{self.asked}')
        self.units = root / "units"
        self.units.mkdir()

    def tool(self, name: str, script: str) -> None:
        (self.root / "bin").mkdir(exist_ok=True)
        (self.root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.root / "bin" / name).chmod(0o755)

    def clock(self) -> Path:
        """A file of seconds by which this host's clock is ahead."""
        ahead = self.root / "clock"
        ahead.write_text("0")
        late = f"echo $(($(command -p date +%s) + $(cat {ahead})))"
        self.tool("date", f'case $* in +%s) {late} ;; *) command -p date "$@" ;; esac')
        return ahead

    def sh(self, script: str) -> list[str]:
        script = script.replace("PATH=/usr/local/sbin:", f"PATH={self.root}/bin:/usr/local/sbin:")
        env = os.environ | {"HULLPROOF_JOURNAL": str(self.journal), "HULLPROOF_UNITS": str(self.units)}
        done = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, env=env, timeout=60)
        return done.stdout.splitlines()

    def apply(self, *changes: Change) -> list[str]:
        (step,) = arrange(changes, ["test"])
        compiled = compile_step(step, RUN, 1)
        return [outcome.error for outcome in compiled.outcomes(self.sh(compiled.script.text)).values()]

    def timer(self) -> None:
        """What the timer runs when it is due."""
        self.sh((self.root / "state" / "revert.sh").read_text())

    def confirm(self) -> str:
        script = journal.confirm_script(ID)
        return script.answer(self.sh(script.text))[CONFIRMED].error

    def armed(self) -> bool:
        script = journal.waiting_script(ID)
        return not script.answer(self.sh(script.text))[WAITING].error


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def write(host: Host, name: str, commit_confirmed: bool = True, **more: Any) -> WriteFile:
    path = str(host.root / name)
    return WriteFile(
        "test",
        f"write {name}",
        path=path,
        text="new\n",
        before=None,
        owner="",
        commit_confirmed=commit_confirmed,
        **more,
    )


class Remote:
    """What `transport.execute` would reach: answers come from a folder, or nobody answers."""

    name = "h"
    connected = True
    connector = None

    def __init__(self, host: Host) -> None:
        self.host, self.cut, self.connections, self.said = host, False, 0, []  # type: ignore[var-annotated]

    def disconnect(self) -> None:
        self.connected = False

    def connect(self, **_: Any) -> None:
        self.connections += 1
        self.connected = not self.cut

    def log(self, text: str) -> None:
        self.said.append(text)

    def log_styled(self, text: str, **_: Any) -> None:
        self.said.append(text)


@pytest.fixture
def remote(host: Host, monkeypatch: pytest.MonkeyPatch) -> Remote:
    remote = Remote(host)
    monkeypatch.setattr(transport, "execute", lambda _, script, seconds: host.sh(script))
    return remote


def begin(remote: Any) -> session.Session:
    return session.Session(remote, Policy("test", {}), (), RUN)
