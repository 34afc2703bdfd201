"""A controller that systemd-nspawn boots, on a network of its own: a Debian with sshd, Prometheus and node_exporter.

Its files are built once, kept by what they are made from, and never written to: each boot writes into memory. What it
runs is this checkout with this interpreter, so the Debian in it is the release of this machine.
"""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine.image import apt_options, cache_dir, digest, lock, mirror, run, stage

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    *("systemd-sysv", "libpam-systemd", "dbus-user-session", "openssh-server", "python3"),
    *("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"),
)
# With an id it is no first boot, in which systemd enables all that there is. What takes ports waits for the test that
# starts it, nothing waits for a network that never comes, and there is a way to an interpreter in /root.
SETUP = """\
echo 3b1c8a0f5d2e4c7a9b6d1e2f3a4b5c6d >"$1"/etc/machine-id
rm -f "$1"/etc/systemd/system/multi-user.target.wants/prometheus*.service
ln -sf /dev/null "$1"/etc/systemd/system/systemd-networkd-wait-online.service
chmod 711 "$1"/root
"""


def suite() -> str:
    """The release of this machine; "" where it is not Debian."""
    system = platform.freedesktop_os_release()
    return system.get("VERSION_CODENAME", "") if system["ID"] == "debian" else ""


def files() -> Path:
    """The folder of its files, built where they are not there yet."""
    path = cache_dir() / f"watched-{suite()}-{digest(*PACKAGES, SETUP)}"
    with lock("watched"):
        if not path.exists():
            with stage("a controller with systemd and Prometheus: install from packages"):
                partial = path.with_name(f".{path.name}.partial")
                run(["rm", "-rf", str(partial)])
                words = ["mmdebstrap", "--variant=apt", "--mode=root", "--format=directory"]
                words += [f"--include={','.join(PACKAGES)}", f'--customize-hook=sh -ec {shlex.quote(SETUP)} setup "$1"']
                words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
                words += [f"--aptopt={option}" for option in apt_options()]
                run([*words, suite(), str(partial), f"deb {mirror()} {suite()} main"])
                partial.rename(path)
    return path


class Controller:
    """A booted one; `leader` is its first process."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        words = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i"]
        words += ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "sh", "-euc", script]
        return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT, text=True)

    def out(self, script: str) -> str:
        """What the script prints; it has to succeed."""
        done = self.sh(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout.strip()

    def hullproof(self, words: str) -> subprocess.CompletedProcess[str]:
        return self.sh(f"cd {ROOT} && {sys.executable} -m hullproof {words}")

    def until(self, what: str, holds: Callable[[], bool], tries: int = 240) -> None:
        """Wait for it, at most two minutes."""
        for _ in range(tries):
            if holds():
                return
            time.sleep(0.5)
        raise AssertionError(f"{what}: not within {tries / 2:.0f} s\n{self.sh('journalctl --no-pager -n 60').stdout}")


@contextmanager
def booted(log: Path) -> Iterator[Controller]:
    """Boot one; gone when that is done."""
    shown = {ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()} - {Path("/usr")}
    words = [
        "systemd-nspawn",
        "--quiet",
        "-D",
        str(files()),
        "--volatile=overlay",
        "--register=no",
        "--keep-unit",
        "-b",
    ]
    words += ["--machine=watched", "--private-network", *(f"--bind-ro={path}" for path in sorted(shown))]
    with log.open("w") as said:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            if found := children.read_text().split():
                controller = Controller(int(found[0]))
                if controller.sh("systemctl is-active --quiet multi-user.target").returncode == 0:
                    break
            time.sleep(0.25)
        else:
            raise AssertionError(f"it did not boot:\n{log.read_text()}")
        yield controller
    finally:
        process.terminate()
        process.wait()
