"""Drift over fleets of recorded hosts, beside parallel ssh with the same script and pyinfra with an empty deploy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench import host
from tests.bench.cost import ROOT, Cost, least
from tests.bench.server import Sshd

PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
VARIANTS = 50
AT_ONCE = 20 * (os.cpu_count() or 1)  # connections, as pyinfra opens them
IDLE = 0.05  # of the machine's CPU
HEADING = """\
| hosts | CPU a host, ms | of these connecting | ours | memory, MB | report, MB | wall, s | of plain ssh | executions |
|---|---|---|---|---|---|---|---|---|"""
MEANING = """
CPU: user and system time of the controller's processes, less that of a run over no host, over the hosts.
connecting: pyinfra with a deploy that does nothing. ours: what drift adds, the execution included.
of plain ssh: drift's wall time against the same script over parallel ssh, {at_once} connections at once.
"""


def rows(server: Sshd, script: Path, fleets: list[int], repeat: int) -> Iterator[str]:
    """A row of the table for each fleet. RuntimeError where drift does not execute once on each host."""
    empty, none = server.folder / "empty.py", server.inventory(0)
    empty.write_text("")
    base = least([PYINFRA, "-y", none, str(empty)], repeat, ends=(0, 1))
    start = least(_drift(server, none), repeat, ends=(1,))
    yield f"| 0 | ({start.cpu * 1000:.0f} in all) | | | {start.memory:.0f} | | {start.wall:.2f} | | |"
    busy = 0.0
    for count in fleets:
        inventory = server.inventory(count)
        runs = repeat if count <= 200 else 1
        ssh = least(server.parallel(count, AT_ONCE), runs, env={"SCRIPT": str(script)}, servers=[server.process.pid])
        nothing = least(
            [PYINFRA, "-y", inventory, str(empty)], runs, env={"PYINFRA_PROGRESS": "off"}, servers=[server.process.pid]
        )
        before = server.executions()
        drift = least(_drift(server, inventory), runs, env={"PYINFRA_PROGRESS": "off"}, servers=[server.process.pid])
        executed = server.executions() - before
        if executed != count * runs:
            raise RuntimeError(f"{runs} runs of drift over {count} hosts executed {executed} commands")
        busy = max(busy, drift.others, ssh.others)
        yield _row(count, drift, nothing, ssh, start, base, executed / runs / count, server)
    if busy > IDLE:
        yield f"\nThe machine was not idle: up to {busy:.0%} of its CPU went to others. Wall times say little."


def _row(
    count: int, drift: Cost, nothing: Cost, ssh: Cost, start: Cost, base: Cost, executed: float, server: Sshd
) -> str:
    each, connecting = (drift.cpu - start.cpu) * 1000 / count, (nothing.cpu - base.cpu) * 1000 / count
    size = sum(path.stat().st_size for path in (server.folder / "reports").glob("report.json")) / 1e6
    return (
        f"| {count} | {each:.1f} | {connecting:.1f} | {each - connecting:.1f} | {drift.memory:.0f} "
        f"| {size:.1f} | {drift.wall:.1f} | {drift.wall / ssh.wall:.2f} | {executed:.0f} a host |"
    )


def _drift(server: Sshd, inventory: str) -> list[str]:
    reports, deploy = server.folder / "reports", str(ROOT / "deploys" / "drift.py")
    return [PYINFRA, "-y", inventory, deploy, "--data", f"report={reports}", "--data", f"policy={host.POLICY}"]
