"""A folder that stands for a host: the journal's script runs there for real."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Change, Service, WriteFile
from deploys.run import journal
from deploys.run.journal import Orders, undo_script
from deploys.run.script import Outcome
from deploys.run.step_script import Refused, compile_step
from deploys.run.steps import arrange
from facts.core.frame import survey_script
from facts.core.record import Record, RecordReading
from facts.core.survey import Survey

RUN = {"id": "20260101T000000Z-abcdef", "kind": "harden", "started": "2026-01-01T00:00:00Z", "policy": "baseline"}


class Host:
    """A folder that stands for a host: `sh` runs a script as the transport does, on stdin."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = root / "journal"

    def sh(self, script: str) -> list[str]:
        env = os.environ | {"HULLPROOF_JOURNAL": str(self.journal)}
        done = subprocess.run(["sh", "-s"], input=script, text=True, capture_output=True, env=env, timeout=60)
        return done.stdout.splitlines()

    def apply(self, *changes: Change, first: int = 1) -> list[str]:
        """The errors of each change, "" where it was made."""
        errors = []
        for step in arrange(changes, ["test"]):
            compiled = compile_step(step, RUN, first)
            first += len(compiled.entries)
            try:
                errors += [outcome.error for outcome in compiled.outcomes(self.sh(compiled.script.text)).values()]
            except Refused as error:
                errors += [str(error)] * len(compiled.entries)
        return errors

    def undo(self) -> dict[str, Outcome]:
        script = undo_script(Orders(RUN["id"]), RUN)
        return script.answer(self.sh(script.text))

    def files(self) -> dict[str, str]:
        """Every file outside the journal with its text: nothing of ours may lie about afterwards."""
        paths = [path for path in self.root.rglob("*") if path.is_file() and self.journal not in path.parents]
        return {str(path.relative_to(self.root)): path.read_text() for path in paths}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def write(host: Host, name: str, text: str, before: str | None, **more: Any) -> WriteFile:
    return WriteFile("test", f"write {name}", path=str(host.root / name), text=text, before=before, owner="", **more)


def service(host: Host, **more: str) -> Service:
    """A daemon that takes up `conf` unless it says bad, and is well when it has taken it up."""
    root = host.root
    return Service(
        name="daemon",
        activate=f"! grep -q bad {root}/conf && cp {root}/conf {root}/live",
        healthy=f"cmp {root}/conf {root}/live",
        explain="echo its last words",
        seconds=2,
    )


def other(number: int) -> dict[str, str]:
    return RUN | {"id": f"20260101T0000{number:02d}Z-000000"}


def apply(host: Host, *changes: Change, run: dict[str, str] = RUN) -> list[str]:
    """The errors of a whole run."""
    errors, first = [], 1
    for step in arrange(changes, ["test"]):
        compiled = compile_step(step, run, first)
        first += len(compiled.entries)
        try:
            errors += [outcome.error for outcome in compiled.outcomes(host.sh(compiled.script.text)).values()]
        except Refused as error:
            errors += [str(error)] * len(compiled.entries)
        host.sh(journal.ended_script(run["id"]))
    return errors


def record(host: Host) -> RecordReading:
    script = survey_script([Record]).replace("/var/lib/hullproof", str(host.root))
    return Survey.parse([Record], host.sh(script))[Record]
