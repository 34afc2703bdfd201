"""`python -m tests.bench_fleet [HOSTS [WORKERS]]`: a drift of recorded hosts by one process, by several, and by workers
of Dask on loopback; 10,000 hosts and four workers if not told. Prints a table in Markdown.

What it counts is CPU and memory, which carry over to other machines; all of it, sshd too, shares this one's processors,
so wall times say what this machine has left.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import fleet, host
from tests.bench.cost import ROOT, TICKS, Cost, cost
from tests.bench.server import Sshd, sshd

HEADING = """\
| who | hosts | CPU a host, ms | of these the one that puts together | greatest process, MB | wall, s |
|---|---|---|---|---|---|"""
MEANING = """
CPU: user and system time of all processes of the controller, scheduler and workers included, without sshd.
"""


def tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            yield from tree(int(child))


def fields(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ["0"] * 50


def used(pids: list[int]) -> float:
    """Seconds of CPU of processes that go on and of their children that have ended."""
    return sum(sum(map(int, fields(pid)[11:15])) for pid in pids) / TICKS


def command(server: Sshd, count: int, *words: str) -> list[str]:
    drift = [sys.executable, "-m", "hullproof", "drift", server.inventory(count), "--policy", host.POLICY]
    return [*drift, "--report", str(server.folder / "reports"), *words]


def row(who: str, count: int, whole: Cost, others: float = 0.0, putting: float | None = None) -> str:
    mine = f"{putting * 1000 / count:.1f}" if putting is not None else ""
    cpu = (whole.cpu + others) * 1000 / count
    return f"| {who} | {count} | {cpu:.1f} | {mine} | {whole.memory:.0f} | {whole.wall:.0f} |"


def processes(server: Sshd, count: int, workers: int) -> Iterator[str]:
    plain = [*command(server, count)]
    if count <= 1000:  # one process holds the whole of a fleet in memory
        yield row("one process", count, cost(plain))
    yield row(f"--workers {workers}", count, cost([*plain, "--workers", str(workers)]))


@contextlib.contextmanager
def dask(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler and the pids of it and of its workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with open(folder / "dask.log", "wb") as log:
        begin = [sys.executable, "-m", "hullproof", "fleet"]
        started = [
            subprocess.Popen([*begin, *words], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
            for words in (["scheduler", address], ["worker", address, "--processes", str(workers)])
        ]
        try:
            while (folder / "dask.log").read_text().count("Register worker addr") < workers:
                time.sleep(0.2)
            yield address, [process.pid for process in started]
        finally:
            for process in started:
                process.terminate()
                process.wait()


def workers_of_dask(server: Sshd, count: int, workers: int) -> Iterator[str]:
    with dask(server.folder, workers) as (address, pids):
        before = used([each for pid in pids for each in tree(pid)])
        client = cost([*command(server, count), "--scheduler", address])
        others = used([each for pid in pids for each in tree(pid)]) - before
        yield row(f"{workers} workers of Dask", count, client, others, client.cpu)


def main(count: int = 10_000, workers: int = 4) -> None:
    with sshd(list(host.variants(fleet.VARIANTS))) as server:
        print(HEADING, flush=True)
        for line in processes(server, count, workers):
            print(line, flush=True)
        for line in workers_of_dask(server, count, workers):
            print(line, flush=True)
    print(MEANING)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
