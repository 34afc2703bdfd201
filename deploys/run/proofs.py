"""The proofs (tests/verify), run against the hosts of the run that has just ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from deploys.run.command_line import command_line
from deploys.run.run import Run

ROOT = Path(__file__).resolve().parents[2]


def prove_after(run: Run) -> None:
    """Have the proofs run when the report is ready; a proof that fails raises the exit code to 2."""
    if _prove not in run.after and not run.dry:
        run.after.append(_prove)


def _prove(report: dict[str, Any]) -> None:
    hosts = [name for name, host in report["hosts"].items() if host["status"] == "ok"]
    if not hosts:
        return
    limits = [f"--limit={name}" for name in hosts]  # pytest takes a word @NAME for a file of options
    asked = command_line()
    data = [f"--data={pair}" for pair in asked["data"] or ()]
    command = [sys.executable, "-P", "-m", "pytest", "-q", str(ROOT / "tests" / "verify")]
    output = sys.stderr if asked.get("json_output") else None  # pyinfra's --json owns stdout
    done = subprocess.run([*command, f"--inventory={asked['inventory']}", *limits, *data], stdout=output)
    report["proved"] = done.returncode == 0
    if done.returncode and report["exit_code"] != 1:
        report["exit_code"] = 2
