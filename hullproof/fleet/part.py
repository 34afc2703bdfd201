"""One part, carried out by a process of pyinfra on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploys.report import packed
from deploys.run.run import PART, RECEIPT
from hullproof import PACKAGE, running
from hullproof.fleet.parts import End, Job, Part

Process = subprocess.Popen[Any]


def python(module: str) -> list[str]:
    """The command that runs a module of hullproof, whatever the folder at hand holds."""
    path = f"sys.path.insert(0, {str(PACKAGE.parent)!r})"
    return [sys.executable, "-P", "-c", f"import runpy, sys; {path}; runpy.run_module({module!r}, None, '__main__')"]


LAUNCH = python("hullproof.fleet.launch")


@dataclass(frozen=True)
class Carried:
    """How a part ended: its `report`, packed, or why there is none (`problem`), and why no host after it may reboot
    (`stopped`)."""

    report: bytes = b""
    problem: str = ""
    stopped: str = ""

    def end(self, part: Part) -> End:
        """The end of the part, its report unpacked."""
        try:
            report = packed.unpack(self.report) if self.report else None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return End(part, problem=f"its report could not be read: {type(error).__name__}")
        return End(part, report, self.problem, self.stopped)


def carry_out(job: Job, part: Part, began: Callable[[Process], object] = lambda process: None) -> Carried:
    """Run the part to its end; `began` gets the process. Where it had no end, the hosts have none either."""
    try:
        with tempfile.TemporaryDirectory(prefix="hullproof-") as folder:
            return _carried(job, part, Path(folder), began)
    except OSError as error:  # a disk that is full, no more processes: this part's trouble alone
        return Carried(problem=f"this part of the run could not be carried out: {error}")


def _carried(job: Job, part: Part, folder: Path, began: Callable[[Process], object]) -> Carried:
    told, receipt = folder / "part.json", folder / "receipt.json"
    row = {"run": job.run, "hosts": part.hosts, "stopped": part.stopped, "parent": os.getpid()}
    told.write_text(json.dumps(row), encoding="utf-8")
    command = running.pyinfra_command(job.kind, job.inventory, [*job.options, "--data", f"report={folder}"])
    env = os.environ | {PART: str(told), RECEIPT: str(receipt), "PYINFRA_PROGRESS": "off"}
    process = subprocess.Popen([*LAUNCH, *command], stdin=subprocess.DEVNULL, env=env)
    began(process)
    ended = running.ended(process.wait(), receipt)
    if ended.problem or not ended.report:
        return Carried(problem=ended.problem or "its report could not be written")
    return Carried(ended.report.read_bytes(), stopped=ended.stopped)
