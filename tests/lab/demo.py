"""`make demo`: a badly configured Docker host, hardened and proved before your eyes.

A disposable Debian VM with somebody's bad configuration on it (an allow-everything seccomp profile, an open TCP
daemon, a world-writable socket, no AppArmor parser): its drift report, hardening, a reboot, attempted escapes, and the
drift report again. The same escapes are attempted on a twin of it, which stays as it was, while it is hardened.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab import LabError, Vm, up
from tests.lab.machine.drive import ROOT, prove, settle_boot, tool
from tests.lab.machine.vm import names

NAME = "hullproof-demo"
TWIN = f"{NAME}-before"
HOST = ("debian13", "weak")
Rows = dict[str, dict[str, str]]
POLICY = ["--data", "policy=strict"]
# What the strict policy would otherwise ask a person for: here nothing can be lost.
ACCEPT = ["--data", "accept=userns-remap,container-restart,network-isolation,host-services"]

began = time.monotonic()


def say(text: str) -> None:
    print(f"\n=== {time.monotonic() - began:4.0f} s  {text}", flush=True)


def pyinfra(vm: Vm, deploy: str, report: Path, *options: str) -> int:
    """Run one of our deploys against the VM, its output on the terminal; the exit code."""
    command = [tool("pyinfra"), "-y", str(vm.inventory()), str(ROOT / "deploys" / deploy), "--data", f"report={report}"]
    env = os.environ | {"PYINFRA_PROGRESS": "off"}
    return subprocess.run([*command, *POLICY, *options], cwd=ROOT, env=env, stderr=subprocess.DEVNULL).returncode


def count(rows: Rows) -> str:
    ends = [row["outcome"] for row in rows.values()]
    return f"{ends.count('failed')} work, {ends.count('passed')} are stopped, {ends.count('skipped')} cannot be told"


def fresh(name: str) -> Vm:
    """The host as it was in the beginning, also where an earlier demo left one."""
    if name in names():
        Vm.attach(name).down()
    return up(*HOST, name=name)


def prove_twin() -> Rows:
    with fresh(TWIN) as twin:
        return prove(twin, *POLICY)


def table(before: Rows, after: Rows) -> str:
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
    vm = fresh(NAME)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        twin = pool.submit(prove_twin)
        say("what does not hold (pyinfra INVENTORY deploys/drift.py)")
        pyinfra(vm, "drift.py", Path(folder) / "before")
        say("hardening (pyinfra INVENTORY deploys/harden.py); its twin is attacked as it is (pytest tests/verify)")
        code = pyinfra(vm, "harden.py", Path(folder) / "harden", *ACCEPT)
        before = twin.result()
        say(f"escapes attempted on the twin, which was not hardened: {count(before)}")
        if code == 1:
            say(f"hardening failed; the VM is left as it is: python -m tests.lab ssh {NAME}")
            return 1
        return reboot_and_attack(vm, before, Path(folder) / "after")


def reboot_and_attack(vm: Vm, before: Rows, report: Path) -> int:
    say("rebooting: boot parameters are on disk, the running kernel has the old ones")
    vm.reboot()
    say("the same attempts after hardening")
    after = prove(vm, *POLICY)
    print(count(after))
    settle_boot(vm)
    say("what does not hold now")
    code = pyinfra(vm, "drift.py", report, *ACCEPT)
    say("attempted escapes, before and after")
    print(table(before, after))
    say(f"the VM is still there: python -m tests.lab ssh {NAME}; `make demo-down` removes all of it")
    return code or int(any(row["outcome"] == "failed" for row in after.values()))


def main() -> None:
    if sys.argv[1:] == ["down"]:
        subprocess.run([sys.executable, "-m", "tests.lab", "clean"], cwd=ROOT, check=True)
        return
    try:
        sys.exit(demo())
    except LabError as error:
        sys.exit(f"demo: {error}")


if __name__ == "__main__":
    main()
