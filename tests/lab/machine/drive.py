"""Running hullproof against lab hosts, as its users do: the commands of the README in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import Vm

ROOT = Path(__file__).resolve().parents[3]
MINUTES = 60


def tool(name: str) -> str:
    """A program of the environment that runs us."""
    return str(Path(sys.executable).with_name(name))


@dataclass(frozen=True)
class Result:
    """How a command ended, what it printed, and the report that it wrote."""

    code: int
    out: str
    err: str
    report: dict[str, Any]

    def host(self, name: str | None = None) -> dict[str, Any]:
        """One host's part of the report; the only one's where no name is given."""
        hosts: dict[str, dict[str, Any]] = self.report["hosts"]
        return hosts[name] if name else next(iter(hosts.values()))

    def findings(self) -> list[dict[str, Any]]:
        """The only host's. One that was not judged fails the test with what became of it."""
        host = self.host()
        found: list[dict[str, Any]] = host["findings"]
        if not found and host["status"] != "ok":
            raise AssertionError(f"the host was not judged ({host['status']}: {host['error']})\n{self.out}{self.err}")
        return found

    def states(self) -> dict[str, str]:
        """The state of each control on the only host."""
        return {finding["control"]: finding["state"] for finding in self.findings()}

    def not_holding(self) -> dict[str, str]:
        """What does not hold on the only host: control and reason."""
        holding = ("pass", "not-applicable", "waived")
        return {f["control"]: f"{f['state']}: {f['reason']}" for f in self.findings() if f["state"] not in holding}

    def reason(self, control: str) -> str:
        return str(next(f["reason"] for f in self.findings() if f["control"] == control))


def start(inventory: Path, deploy: str, *options: str, yes: bool = True) -> tuple[subprocess.Popen[str], Path]:
    """Begin a deploy; its process and the folder of its report."""
    reports = Path(tempfile.mkdtemp(prefix="hullproof-report-"))
    flags = ["-y"] if yes else []
    command = [tool("pyinfra"), *flags, str(inventory), str(ROOT / "deploys" / deploy), "--data", f"report={reports}"]
    env = os.environ | {"PYINFRA_PROGRESS": "off"}
    process = subprocess.Popen(
        [*command, *options], cwd=ROOT, env=env, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return process, reports


def finish(process: subprocess.Popen[str], reports: Path, minutes: int = 15) -> Result:
    out, err = process.communicate(timeout=minutes * MINUTES)
    path = reports / "report.json"
    return Result(process.returncode, out, err, json.loads(path.read_text()) if path.exists() else {})


def run(vm: Vm, deploy: str, *options: str, user: str = "root", yes: bool = True) -> Result:
    """`pyinfra INVENTORY deploys/DEPLOY` against one lab host."""
    return finish(*start(vm.inventory(user), deploy, *options, yes=yes))


def prove(vm: Vm, *options: str) -> dict[str, dict[str, str]]:
    """`pytest tests/verify`: each proof's row by its id."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder) / "proofs.json"
        command = [tool("pytest"), "-q", "-p", "no:cacheprovider", "tests/verify", "--proofs-json", str(outcomes)]
        done = subprocess.run(
            [*command, "--inventory", str(vm.inventory()), *options], cwd=ROOT, capture_output=True, text=True
        )
        if not outcomes.exists():
            raise AssertionError(f"the proofs did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return {row["id"]: row for row in json.loads(outcomes.read_text())}


def outcomes(rows: dict[str, dict[str, str]], outcome: str) -> dict[str, str]:
    """The proofs that ended so, with their evidence."""
    return {key: row["evidence"] for key, row in rows.items() if row["outcome"] == outcome}


def count_executions(vm: Vm) -> None:
    """Have the host's sshd log every command that it starts."""
    vm.ssh("echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/00-lab.conf && systemctl reload ssh")
    vm.hang_up()  # who is there already is served as before
    time.sleep(1)  # sshd starts itself anew, and resets who comes just then
    vm.wait_ssh()


def executions(vm: Vm) -> int:
    """How many commands sshd has started so far, this question not counted."""
    # By its name: where logind is, what sshd says of a session is not of its own unit.
    said = "journalctl -q -t sshd -t sshd-session -o cat"
    return int(vm.ssh(f"{said} | grep -c 'Starting session: command' || :").stdout) - 1


def settle_boot(vm: Vm) -> None:
    """Wait until the host itself has found well, or not, what it has booted on trial."""
    vm.ssh("timeout 700 sh -c 'while [ -e /etc/hullproof/words ]; do sleep 1; done'", timeout=720)


def fingerprint(vm: Vm) -> list[str]:
    """What a run that changes nothing must leave as it is: configuration, record, Docker, live settings. Not what ss(8)
    has the kernel load to answer it (inet_diag, tcp_diag)."""
    return vm.ssh(
        "cd /etc && find . -type f -exec sha256sum {} + | sort -k2; find /var/lib/hullproof 2>/dev/null | sort;"
        "docker ps -aq --no-trunc; docker network ls -q --no-trunc | sort;"
        "sysctl kernel.dmesg_restrict kernel.kptr_restrict kernel.yama.ptrace_scope net.ipv4.ip_forward;"
        "cut -d' ' -f1 /proc/modules | grep -v _diag | sort; iptables -S"
    ).stdout.splitlines()
