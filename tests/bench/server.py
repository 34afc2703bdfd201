"""A private sshd on loopback that stands for every host of a fleet: each execution gets the recorded answer of one."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

STARTED = "Starting session: forced-command"
# Which host it is, the client's port says: a fleet's hosts then answer in no order.
ANSWER = """\
set -- $SSH_CONNECTION
cat >/dev/null
exec cat {folder}/answers/$(($2 % {count}))
"""


class Sshd:
    """One that answers whatever it is asked with one of `answers`, and whose log tells every execution."""

    def __init__(self, folder: Path, answers: list[str]) -> None:
        self.folder = folder
        self.log = folder / "sshd.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "answers").mkdir()
        for number, answer in enumerate(answers):
            (folder / "answers" / str(number)).write_text(answer)
        (folder / "answer.sh").write_text(ANSWER.format(folder=folder, count=len(answers)))
        for key in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        (folder / "authorized").write_text((folder / "key.pub").read_text())
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/authorized\nLogLevel VERBOSE\nUsePAM no\nMaxStartups 1000\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nUseDNS no\n"
            f"ForceCommand exec sh {folder}/answer.sh\n"
        )
        self.ssh_options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={folder}/known", "LogLevel=ERROR"]
        public = (folder / "host_key.pub").read_text()
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {public}")
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        self.process = subprocess.Popen([sshd, "-D", "-f", str(folder / "config"), "-E", str(self.log)])
        self._wait()

    def _wait(self) -> None:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError("sshd did not start")

    def parallel(self, count: int, most: int) -> list[str]:
        """The shell command that sends the survey in $SCRIPT over `count` connections, `most` of them at once."""
        options = " ".join(f"-o {option}" for option in self.ssh_options)
        ssh = f"ssh -F none -p {self.port} -i {self.folder}/key {options} {getpass.getuser()}@127.0.0.1"
        one = f'{ssh} "sh -s" < "$SCRIPT" >/dev/null'
        return ["sh", "-c", f"seq {count} | xargs -P {most} -I% sh -c '{one}'"]

    def inventory(self, count: int) -> str:
        """A file with as many hosts, all of them this sshd."""
        data = {
            "ssh_hostname": "127.0.0.1", "ssh_port": self.port, "ssh_user": getpass.getuser(),
            "ssh_key": str(self.folder / "key"), "ssh_strict_host_key_checking": "yes",
            "ssh_known_hosts_file": str(self.folder / "known"),
        }  # fmt: skip
        path = self.folder / f"hosts{count}.py"
        path.write_text(f"hosts = ([f'h{{n:04d}}' for n in range({count})], {data!r})\n")
        return str(path)

    def executions(self) -> int:
        """How many commands it has started so far."""
        return self.log.read_text().count(STARTED)


@contextlib.contextmanager
def sshd(answers: list[str]) -> Iterator[Sshd]:
    with tempfile.TemporaryDirectory() as folder:
        server = Sshd(Path(folder), answers)
        try:
            yield server
        finally:
            server.process.terminate()
            server.process.wait()
