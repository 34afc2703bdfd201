"""What a command costs: wall time, processor time and memory of its own processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENDS = (0, 2)  # of a run of ours: all holds, something does not
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time; of CPU, user and system, of the command and the processes it waited for; MB of memory
    that the greatest of these held at its peak; and what share of the machine's CPU all of it left to others' work."""

    wall: float
    cpu: float
    memory: float
    others: float


def least(command: Sequence[str], repeat: int, **how: object) -> Cost:
    """The least of each over `repeat` runs."""
    runs = [cost(command, **how) for _ in range(repeat)]  # type: ignore[arg-type]
    return Cost(*(min(getattr(run, name) for run in runs) for name in ("wall", "cpu", "memory", "others")))


def cost(
    command: Sequence[str],
    *,
    stdin: Path | str = os.devnull,
    env: Mapping[str, str] | None = None,
    ends: Sequence[int] = ENDS,
    servers: Sequence[int] = (),
) -> Cost:
    """Run it once. `servers`: processes that work for it and are no children of it, such as a daemon: not counted as
    its own, and not as others' either. RuntimeError with its words where it ended otherwise than by `ends`."""
    busy, served, start = _busy(), sum(map(used, servers)), time.perf_counter()
    with open(stdin, "rb") as source, open(os.devnull, "wb") as sink:
        child = subprocess.Popen(
            command, stdin=source, stdout=sink, stderr=subprocess.PIPE, env=os.environ | dict(env or {}), cwd=ROOT
        )
        assert child.stderr is not None
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall, own = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    if child.returncode not in ends:
        raise RuntimeError(f"{command} ended with {child.returncode}: {said[-1500:].decode(errors='replace')}")
    others = _busy() - busy - own - (sum(map(used, servers)) - served)
    return Cost(wall, own, usage.ru_maxrss / 1000, max(0.0, others / wall / (os.cpu_count() or 1)))


def used(pid: int) -> float:
    """Seconds of CPU of a process, and of those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def _busy() -> float:
    """Seconds in which some processor of this machine was not idle."""
    user, nice, system, _idle, _wait, *interrupts = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:8])
    return (user + nice + system + sum(interrupts)) / TICKS
