"""A scheduler of Dask and workers as processes, whose parts are carried out by a stand-in for pyinfra.

The stand-in takes the part's hosts one by one: it runs what the test has for each (Python, with `host` and the run's
`run.id`), and reports them all as ok. It runs as pyinfra does: in a process that ends with its worker.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hullproof.commands.fleet import SCHEDULER, SILENT
from tests.support.entry_points import ROOT

STAND_IN = """
import json, os, signal, sys
from pathlib import Path
from deploys.report import packed, report
from hullproof.fleet.launch import end_with
part = json.loads(Path(os.environ["HULLPROOF_PART"]).read_text())
end_with(part["parent"])
signal.signal(signal.SIGTERM, signal.SIG_DFL)
run = report.Run(f"run-{os.getpid()}", "drift", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "baseline")
rows = []
for host in part["hosts"]:
    EACH
    rows.append(report.HostReport(host, "ok"))
made = report.build(run, rows)
path = Path(os.environ["HULLPROOF_PART"]).with_name("report.json")
path.write_bytes(packed.pack(made))
row = {"run": run.id, "exit_code": made["exit_code"], "report": str(path)}
Path(os.environ["HULLPROOF_RECEIPT"]).write_text(json.dumps(row))
os._exit(made["exit_code"])
"""
WORKER = """
import sys
from hullproof.fleet import part
part.LAUNCH = [sys.executable, "-c", STAND_IN]
from distributed.cli.dask_worker import main
main()
"""


def until(true: Callable[[], object], run: subprocess.Popen[str] | None = None) -> None:
    """Wait for it, for as long as `run` goes on."""
    while not true():
        assert run is None or run.poll() is None, run.communicate()
        time.sleep(0.05)


class Cluster:
    """A scheduler on loopback, and its workers."""

    def __init__(self, folder: Path, each: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder = folder
        self._each = each.replace("\n", "\n    ")
        self.processes: list[subprocess.Popen[bytes]] = []
        words = ["--host", "127.0.0.1", "--port", str(self.port), *SILENT]
        self.scheduler = self._start("from distributed.cli.dask_scheduler import main; main()", words)

    def worker(self, region: str = "") -> subprocess.Popen[bytes]:
        """One more, which is connected when this returns."""
        code = WORKER.replace("STAND_IN", repr(STAND_IN.replace("EACH", self._each)))
        words = [self.address, "--host", "127.0.0.1", "--no-nanny", "--nthreads", "1", "--memory-limit", "0", *SILENT]
        before = self._registered()
        started = self._start(code, [*words, *(["--resources", f"region:{region}=1"] if region else [])])
        until(lambda: self._registered() > before)
        return started

    def _registered(self) -> int:
        return len(re.findall("Register worker addr", (self.folder / "0.log").read_text()))

    def _start(self, code: str, words: list[str]) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{len(self.processes)}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *words], cwd=ROOT, env=os.environ | SCHEDULER, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process


@contextlib.contextmanager
def cluster(folder: Path, each: str = "pass") -> Iterator[Cluster]:
    """It is gone when this is left."""
    made = Cluster(folder, each)
    try:
        yield made
    finally:
        for process in made.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
