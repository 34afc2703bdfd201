"""`make bench`: what a run costs, beside what plain ssh costs, measured in the same run on this machine.

A private sshd on loopback stands for every host, so the network costs nothing and everything else is real. Prints a
table in Markdown; nothing here fails for being slow, only for executing more than once.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
FLEETS = (1, 10, 50)
REPEAT = 3
HEADING = """\
| hosts | ssh true, s | ssh survey, s | empty pyinfra, wall / CPU s | drift, wall / CPU s | ratio | executions |
|---|---|---|---|---|---|---|"""
RATIO = """
ratio: for one host, drift against (empty pyinfra + ssh survey); for more, against the survey over parallel ssh
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time, and of CPU that the command and its children used."""

    wall: float
    cpu: float


def cost(command: list[str], stdin: Path | None = None, env: dict[str, str] | None = None) -> Cost:
    """The median cost of running `command` REPEAT times; RuntimeError with its output where it could not run."""
    runs = [_cost(command, stdin, env) for _ in range(REPEAT)]
    return Cost(statistics.median(run.wall for run in runs), statistics.median(run.cpu for run in runs))


def _cost(command: list[str], stdin: Path | None, env: dict[str, str] | None) -> Cost:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with stdin.open("rb") if stdin else open(os.devnull, "rb") as source:
        done = subprocess.run(command, stdin=source, capture_output=True, env=os.environ | (env or {}), cwd=ROOT)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 2):
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout[-500:]!r} {done.stderr[-1500:]!r}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


class Sshd:
    """A private sshd on loopback whose log tells every execution."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "sshd.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for key in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        (folder / "authorized").write_text((folder / "key.pub").read_text())
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/authorized\nLogLevel VERBOSE\nUsePAM no\nMaxStartups 200\nMaxSessions 50\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nUseDNS no\nSubsystem sftp internal-sftp\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        self.process = subprocess.Popen([sshd, "-D", "-f", str(folder / "config"), "-E", str(self.log)])
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError("sshd did not start")

    def ssh(self) -> list[str]:
        options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={self.folder}/known", "LogLevel=ERROR"]
        flags = [word for option in options for word in ("-o", option)]
        return [
            "ssh",
            "-F",
            "none",
            "-p",
            str(self.port),
            "-i",
            str(self.folder / "key"),
            *flags,
            f"{getpass.getuser()}@127.0.0.1",
        ]

    def parallel(self, count: int, command: str) -> list[str]:
        """The shell command that runs `command` over `count` connections at once."""
        ssh = " ".join(self.ssh())
        return [
            "sh",
            "-c",
            f"seq {count} | xargs -P {count} -I% sh -c '{ssh} \"$0\" < \"$SCRIPT\" >/dev/null' '{command}'",
        ]

    def inventory(self, count: int) -> str:
        data = {
            "ssh_hostname": "127.0.0.1", "ssh_port": self.port, "ssh_user": getpass.getuser(),
            "ssh_key": str(self.folder / "key"), "ssh_strict_host_key_checking": "no",
            "ssh_known_hosts_file": str(self.folder / "known"),
        }  # fmt: skip
        path = self.folder / f"hosts{count}.py"
        path.write_text(f"hosts = ([f'h{{n:02d}}' for n in range({count})], {data!r})\n")
        return str(path)

    def executions(self, run: Callable[[], object]) -> int:
        """How many commands sshd started while `run` ran."""
        before = self.log.read_text().count("Starting session: command")
        run()
        return self.log.read_text().count("Starting session: command") - before


@contextlib.contextmanager
def sshd() -> Iterator[Sshd]:
    with tempfile.TemporaryDirectory() as folder:
        server = Sshd(Path(folder))
        try:
            yield server
        finally:
            server.process.terminate()
            server.process.wait()


def survey_cpu(script: Path, daemon: int | None = None) -> Cost:
    """What the survey costs on the host: its own processes, and the daemon it asks (pid), in seconds of CPU."""
    ticks = os.sysconf("SC_CLK_TCK")

    def used() -> float:
        if daemon is None:
            return 0.0
        fields = Path(f"/proc/{daemon}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    before = used()
    own = cost(["sh", "-s"], stdin=script)
    return Cost(own.wall, own.cpu + (used() - before) / REPEAT)


def fleet_rows(server: Sshd, script: Path) -> Iterator[str]:
    empty = server.folder / "empty.py"
    empty.write_text("")
    null = Path(os.devnull)
    for count in FLEETS:
        hosts = server.inventory(count)
        plain = cost(server.parallel(count, "true"), env={"SCRIPT": str(null)})
        survey = cost(server.parallel(count, "sh -s"), env={"SCRIPT": str(script)})
        nothing = cost([PYINFRA, "-y", hosts, str(empty)], env={"PYINFRA_PROGRESS": "off"})
        report = str(server.folder / "reports")
        drift_command = [PYINFRA, "-y", hosts, str(ROOT / "deploys" / "drift.py"), "--data", f"report={report}"]
        drift = cost(drift_command, env={"PYINFRA_PROGRESS": "off"})
        executed = server.executions(lambda command=drift_command: _cost(command, None, None))
        if executed != count:
            raise RuntimeError(f"drift of {count} hosts executed {executed} commands, not {count}")
        bound = (nothing.wall + survey.wall) if count == 1 else survey.wall
        yield (
            f"| {count} | {plain.wall:.2f} | {survey.wall:.2f} | {nothing.wall:.2f} / {nothing.cpu:.2f} "
            f"| {drift.wall:.2f} / {drift.cpu:.2f} | {drift.wall / bound:.2f} | {executed / count:.0f} |"
        )


@contextlib.contextmanager
def containers(count: int) -> Iterator[int | None]:
    """A Docker daemon of our own with `count` containers in it; the daemon's pid, None where none can run here."""
    if not shutil.which("dockerd") or not shutil.which("busybox") or Path("/run/docker.sock").exists() or os.geteuid():
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
            daemon.wait(timeout=60)
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


def main() -> None:
    from deploys.subjects import SUBJECTS
    from facts.core.frame import survey_script
    from facts.core.record import Record
    from facts.core.system import System

    facts = dict.fromkeys([System, Record, *(fact for subject in SUBJECTS for fact in subject.facts)])
    with sshd() as server:
        script = server.folder / "survey.sh"
        script.write_text(survey_script(facts))
        print(f"survey script: {script.stat().st_size:,} bytes, {len(facts)} sections\n", flush=True)
        print(HEADING)
        for row in fleet_rows(server, script):
            print(row, flush=True)
        print(RATIO)
        for count in (0, 20):
            with containers(count) as daemon:
                used = survey_cpu(script, daemon)
                where = f"{count} containers" if daemon else "no Docker daemon could be started here"
                print(f"survey on the host, {where}: {used.wall:.2f} s wall, {used.cpu:.2f} s CPU", flush=True)


if __name__ == "__main__":
    main()
