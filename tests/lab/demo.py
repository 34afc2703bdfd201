"""`make demo`: a badly configured Docker host, hardened and proved before your eyes.

A disposable Debian VM with somebody's bad configuration on it (an allow-everything seccomp profile, an open TCP
daemon, a world-writable socket, no AppArmor parser): its drift report, attempted escapes, hardening, a reboot,
the same attempts again, and the drift report again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.lab import Vm, up

ROOT = Path(__file__).resolve().parents[2]
NAME = "hullproof-demo"
POLICY = ["--data", "policy=strict"]
# What the strict policy would otherwise ask a person for: here nothing can be lost.
ACCEPT = ["--data", "accept=userns-remap,container-restart,network-isolation"]

began = time.monotonic()


def say(text: str) -> None:
    print(f"\n=== {time.monotonic() - began:4.0f} s  {text}", flush=True)


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def pyinfra(vm: Vm, deploy: str, report: Path, *options: str) -> int:
    """Run one of our deploys against the VM, its output on the terminal; the exit code."""
    command = [tool("pyinfra"), "-y", str(vm.inventory()), str(ROOT / "deploys" / deploy), "--data", f"report={report}"]
    env = os.environ | {"PYINFRA_PROGRESS": "off"}
    return subprocess.run([*command, *POLICY, *options], cwd=ROOT, env=env, stderr=subprocess.DEVNULL).returncode


def prove(vm: Vm, outcomes: Path) -> dict[str, dict[str, Any]]:
    """Run the proofs; what each attempt came to, by id."""
    command = [tool("pytest"), "-q", "--no-header", "--tb=no", "-r", "", "-p", "no:cacheprovider", "tests/verify"]
    options = ["--inventory", str(vm.inventory()), *POLICY, "--proofs-json", str(outcomes)]
    subprocess.run([*command, *options], cwd=ROOT)
    return {row["id"]: row for row in json.loads(outcomes.read_text())}


def table(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> str:
    """The attempts before and after, as a Markdown table."""
    words = {"passed": "stopped", "failed": "**works**", "skipped": "cannot be told"}
    lines = ["| attempt | control | before | after |", "|---|---|---|---|"]
    for key, row in after.items():
        if row["outcome"] == "skipped" == before.get(key, {}).get("outcome"):
            continue  # the policy does not ask for it
        then = words.get(before.get(key, {}).get("outcome", ""), "not tried")
        lines.append(f"| {row['title']} | `{row['control']}` | {then} | {words[row['outcome']]} |")
    return "\n".join(lines)


def demo() -> int:
    say("a Debian 13 VM with somebody's bad Docker configuration on it (built from Debian packages the first time)")
    vm = up("debian13", variant="weak", name=NAME)
    with tempfile.TemporaryDirectory() as folder:
        return _show(vm, Path(folder))


def _show(vm: Vm, folder: Path) -> int:
    say("what does not hold (pyinfra INVENTORY deploys/drift.py)")
    pyinfra(vm, "drift.py", folder / "before")
    say("escapes attempted before hardening (pytest tests/verify)")
    before = prove(vm, folder / "before.json")
    say("hardening (pyinfra INVENTORY deploys/harden.py)")
    code = pyinfra(vm, "harden.py", folder / "harden", *ACCEPT)
    if code == 1:
        say("hardening failed; the VM is left as it is: python -m tests.lab ssh hullproof-demo")
        return 1
    say("rebooting: boot parameters are on disk, the running kernel has the old ones")
    vm.reboot()
    say("the same attempts after hardening")
    after = prove(vm, folder / "after.json")
    say("what does not hold now")
    code = pyinfra(vm, "drift.py", folder / "after", *ACCEPT)
    say("attempted escapes, before and after")
    print(table(before, after))
    say("the VM is still there: python -m tests.lab ssh hullproof-demo; `make demo-down` removes all of it")
    return code or int(any(row["outcome"] == "failed" for row in after.values()))


def main() -> None:
    if sys.argv[1:] == ["down"]:
        lab = [sys.executable, "-m", "tests.lab"]
        subprocess.run([*lab, "down", NAME], cwd=ROOT, check=True)
        subprocess.run([*lab, "clean"], cwd=ROOT, check=True)
        return
    sys.exit(demo())


if __name__ == "__main__":
    main()
