"""Hosts that reboot or fall silent, as real processes: an sshd on loopback each, and what goes down with it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
SECONDS = 15

# No machine of the lab is in it, so once is enough.
pytestmark = [pytest.mark.lab, pytest.mark.on("debian13"), pytest.mark.usefixtures("distribution")]

# `arm` takes sshd down a second later, with the connection that it came over; host b never comes back.
DEPLOY = """
import sys
sys.path.insert(0, {root!r})
from pyinfra.context import host
from deploys.run import baseline
from deploys.run.operations import reboot, survey_again
from deploys.core.change import Reboot
from deploys.run.look import begin_with, look
from deploys.run.run import begin
from deploys.subjects import SUBJECTS

baseline.PATH = f"{folder}/baseline.{{host.name}}"
run = begin("harden")
session = run.session(SUBJECTS)
look(session)
arm = f"sh {folder}/down {{host.name}} $PPID"
begin_with(session, [Reboot("kernel", "boot it", script=arm, undo="",
    settled=f"cat {folder}/settled.{{host.name}}", seconds={seconds})])
for batch in host.loop(run.batches()):
    if host.name in batch:
        reboot(name="Reboot")
survey_again(name="Survey again")
"""

# Its connection stays open and says nothing any more, as with a cable that was pulled.
SILENT = """
import sys
sys.path.insert(0, {root!r})
from deploys.run import baseline, transport
from deploys.core.change import Command
from deploys.run.operations import enforce, survey_again
from deploys.run.look import begin_with, look
from deploys.run.run import begin
from deploys.subjects import SUBJECTS

transport.KEEPALIVE_SECONDS, transport.SILENT_SECONDS = 1, 4
run = begin("harden")
session = run.session(SUBJECTS)
baseline.PATH = f"{folder}/baseline.{{session.host.name}}"
look(session)
words = "silent b $PPID" if session.host.name == "b" else "/dev/null"
begin_with(session, [Command("networks", "fall silent", script=f"cd {folder}; sh {{words}}", undo="")])
enforce(name="Enforce", step="networks")
survey_again(name="Survey again")
"""

CLIMB = """\
pid=$2
until [ "$(cat /proc/$pid/comm)" != sh ]; do pid=$(cut -d' ' -f4 /proc/$pid/stat); done
"""
DOWN = """\
setsid sh -c "sleep 1; kill $(cat FOLDER/pid.$1) $pid; [ $1 != b ] || exit; sleep 3
  SSHD -f FOLDER/config.$1; echo 'ok runs the new one' >FOLDER/settled.$1" >/dev/null 2>&1 </dev/null &
"""


class Fleet:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for key in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        shutil.copy(folder / "key.pub", folder / "authorized")
        (folder / "down").write_text(CLIMB + DOWN.replace("FOLDER", str(folder)).replace("SSHD", str(SSHD)))
        (folder / "silent").write_text(CLIMB + "kill -STOP $pid; sleep 20; kill -KILL $pid")
        (folder / "silent.py").write_text(SILENT.format(root=str(ROOT), folder=folder))
        (folder / "deploy.py").write_text(DEPLOY.format(root=str(ROOT), folder=folder, seconds=SECONDS))
        hosts = [(name, self.host(name)) for name in "abc"]
        (folder / "hosts.py").write_text(f"hosts = {hosts!r}\n")

    def host(self, name: str) -> dict[str, Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (self.folder / f"config.{name}").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\nPidFile {self.folder}/pid.{name}\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
            f"SetEnv HULLPROOF_JOURNAL={self.folder}/journal.{name}\n"
        )
        subprocess.run([str(SSHD), "-f", str(self.folder / f"config.{name}")], check=True)
        return {"ssh_hostname": "127.0.0.1", "ssh_port": port, "ssh_user": "root", "ssh_key": str(self.folder / "key"),
                "ssh_strict_host_key_checking": "no", "ssh_known_hosts_file": str(self.folder / "known")}  # fmt: skip

    def run(self, deploy: str = "deploy.py") -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [Path(sys.executable).with_name("pyinfra"), "-y", "hosts.py", deploy, "--data", "batch=1",
             "--data", f"report={self.folder}"],
            cwd=self.folder, env=os.environ | {"PYINFRA_PROGRESS": "off"}, text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip
        report = json.loads((self.folder / "report.json").read_text())
        assert report["hosts"], done.stdout + done.stderr
        return done.returncode, report["hosts"]

    def end(self) -> None:
        for path in self.folder.glob("pid.*"):
            subprocess.run(["kill", path.read_text().strip()], stderr=subprocess.DEVNULL)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    if SSHD is None or os.geteuid() != 0:
        pytest.skip("needs sshd, and root for it")
    Path("/run/sshd").mkdir(exist_ok=True)
    there = Fleet(tmp_path)
    try:
        yield there
    finally:
        there.end()


def test_a_host_that_never_returns_is_given_up_by_its_deadline_and_nobody_follows_it(fleet: Fleet) -> None:
    begun = time.monotonic()
    code, hosts = fleet.run()
    assert time.monotonic() - begun > SECONDS
    assert code == 1
    statuses = {name: host["status"] for name, host in hosts.items()}
    assert statuses == {"a": "ok", "b": "unreachable", "c": "error"}, hosts
    assert f"did not come back within {SECONDS} s" in hosts["b"]["error"]
    assert hosts["c"]["error"] == "not rebooted, since b did not come back well"
    assert not (fleet.folder / "journal.c").exists(), "nothing was begun there"


def test_a_host_whose_key_changed_is_reported_as_that(fleet: Fleet) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(fleet.folder / "other_key")], check=True)
    words = (fleet.folder / "hosts.py").read_text().replace("'no'", "'accept-new'")
    (fleet.folder / "hosts.py").write_text(words)
    port = words.split("'ssh_port': ")[1].split(",")[0]
    other = " ".join((fleet.folder / "other_key.pub").read_text().split()[:2])
    (fleet.folder / "known").write_text(f"[127.0.0.1]:{port} {other}\n")
    code, hosts = fleet.run(str(ROOT / "deploys" / "drift.py"))
    assert code == 1
    assert hosts["a"] == {**hosts["a"], "status": "unreachable", "findings": []}
    assert "SSH host key error" in hosts["a"]["error"]
    assert "does not match" in hosts["a"]["error"]


def test_a_host_that_falls_silent_is_told_from_one_that_works(fleet: Fleet) -> None:
    begun = time.monotonic()
    code, hosts = fleet.run("silent.py")
    assert time.monotonic() - begun < 60, "long before a step's own limit"
    assert code == 1
    assert {name: host["status"] for name, host in hosts.items() if name != "b"} == {"a": "ok", "c": "ok"}
    assert "the host has been silent for 4 s" in hosts["b"]["error"]
    assert "what was begun goes on there" in hosts["b"]["error"]
