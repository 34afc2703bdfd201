"""What the survey costs a host: this machine, without Docker and with twenty containers of a Docker daemon of ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.cost import cost, used

REPEAT = 7


def rows(script: Path) -> Iterator[str]:
    """A sentence for each kind of host."""
    for count in (0, 20):
        with containers(count) as daemon:
            what = f"{count} containers" if daemon else "without Docker"
            if count and daemon is None:
                yield "survey on a host, 20 containers: not measured, no Docker daemon can be started here"
                continue
            least = min(_cpu(script, daemon) for _ in range(REPEAT))
            yield f"survey on a host, {what}: {least:.2f} s of CPU, its daemon's share included"


def _cpu(script: Path, daemon: int | None) -> float:
    before = used(daemon) if daemon else 0.0
    return cost(["sh", "-s"], stdin=script).cpu + (used(daemon) - before if daemon else 0.0)


@contextlib.contextmanager
def containers(count: int) -> Iterator[int | None]:
    """A Docker daemon of our own with `count` containers in it; the daemon's pid, None where none runs or can run."""
    there = shutil.which("dockerd") and shutil.which("busybox") and not Path("/run/docker.sock").exists()
    if not count or not there or os.geteuid():
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid",
                     "-H", "unix:///var/run/docker.sock"]  # fmt: skip
        with open(f"{folder}/log", "wb") as log:
            daemon = subprocess.Popen(["dockerd", *arguments], stdout=log, stderr=log)
        try:
            _fill(Path(folder), count)
            yield daemon.pid
        finally:
            subprocess.run("docker ps -q | xargs -r docker rm -f", shell=True, stdout=subprocess.DEVNULL)
            daemon.terminate()
            daemon.wait()
            Path("/run/docker.sock").unlink(missing_ok=True)


def _fill(folder: Path, count: int) -> None:
    for _ in range(60):
        if subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
            break
        time.sleep(1)
    (folder / "root" / "bin").mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), folder / "root" / "bin" / "busybox")
    subprocess.run(
        f"tar -C {folder}/root -c . | docker import - bench/busybox", shell=True, check=True, capture_output=True
    )
    for number in range(count):
        run = ["docker", "run", "-d", "--name", f"bench{number}", "bench/busybox", "/bin/busybox", "sleep", "600"]
        subprocess.run(run, check=True, capture_output=True)
