"""The way back from the first boot in enforcing, as the host's own shell runs it: a made-up root and systemd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.core import templates
from facts.core.reading import Block, Section
from facts.core.reverted import Reverted, read_reverted

STUBS = {
    "systemctl": """\
case $* in
*MainPID*) echo 7 ;;
list-units*) echo "docker.service loaded active running Docker" ;;
*WantedBy*) echo multi-user.target ;;
*"is-active docker.service") cat "$ROOT/docker" ;;
*"is-active multi-user.target") echo active ;;
is-active*) echo inactive ;;
*) echo "$*" >>"$ROOT/asked" ;;
esac""",
    "ss": 'cat "$ROOT/listens"',
    "docker": """\
case $* in
start*) echo "docker $*" >>"$ROOT/asked" ;;
*"ps -q"*) echo 1 2 3 4 ;;
*Labels*)
  echo '/web always {"a":"b"}' && echo '/job no {}' && echo '/till unless-stopped null'
  echo '/task always {"com.docker.swarm.task":""}' ;;
*web) cat "$ROOT/web" ;;
*till) echo running ;;
esac""",
    "sync": ":",
    "restorecon": ":",
}


SCRIPT = templates.text("engines/kept.sh") + templates.text("selinux/gate.sh")


class Host:
    def __init__(self, root: Path, port: int) -> None:
        self.root, self.state = root, root / "var/lib/hullproof"
        self.kept = root / "etc/hullproof/selinux-gate"
        self.unit = root / "etc/systemd/system/hullproof-selinux-gate.service"
        for folder in (
            "bin",
            "proc",
            "sys/fs/selinux",
            "etc/selinux",
            "etc/systemd/system",
            "var/lib/hullproof",
            "etc/hullproof",
        ):
            (root / folder).mkdir(parents=True)
        for name, script in STUBS.items():
            self.put(f"bin/{name}", f"#!/bin/sh\n{script}\n").chmod(0o755)
        self.put("proc/uptime", "10.00 9.00\n")
        self.put("sys/fs/selinux/enforce", "1\n")
        self.put("etc/selinux/config", "# SELINUX= can take\nSELINUX=enforcing\nSELINUXTYPE=default\n")
        self.put("docker", "active\n")
        self.put("web", "running\n")
        self.put("listens", f'LISTEN 0 128 0.0.0.0:{port} 0.0.0.0:* users:(("sshd",pid=7,fd=3))\n'
                            'LISTEN 0 128 127.0.0.1:6010 0.0.0.0:* users:(("sshd",pid=70,fd=9))\n')  # fmt: skip
        self.script = self.put("etc/hullproof/selinux-gate.sh", SCRIPT)

    def put(self, path: str, text: str) -> Path:
        (self.root / path).write_text(text)
        return self.root / path

    def sh(self, what: str) -> str:
        env = os.environ | {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}", "ROOT": str(self.root), "HULLPROOF_ROOT": str(self.root),
            "HULLPROOF_PAUSE": "0.1",
        }  # fmt: skip
        done = subprocess.run(["sh", str(self.script), what], env=env, capture_output=True, text=True, timeout=60)
        return done.stdout

    def boot(self) -> None:
        """The gate, whose time is over while it looks a second time."""
        clock = threading.Timer(1, lambda: self.put("proc/uptime", "700.00 9.00\n"))
        clock.start()
        self.sh("gate")
        clock.join()

    @property
    def mode(self) -> tuple[str, str]:
        config = (self.root / "etc/selinux/config").read_text().splitlines()
        return (self.root / "sys/fs/selinux/enforce").read_text().strip(), config[1]

    def reverted(self) -> Reverted | None:
        text = (self.state / "reverted-selinux").read_text()
        found = read_reverted(Section({"/var/lib/hullproof/reverted-selinux": Block(0, text)}), "selinux")
        return found if isinstance(found, Reverted) else None


@pytest.fixture
def sshd() -> Iterator[socket.socket]:
    """Something that greets as sshd does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    with server.accept()[0] as client:
                        client.sendall(b"SSH-2.0-OpenSSH\r\n")
                except OSError:
                    return

        threading.Thread(target=greet, daemon=True).start()
        yield server
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def host(tmp_path: Path, sshd: socket.socket) -> Host:
    host = Host(tmp_path, sshd.getsockname()[1])
    assert host.sh("arm") == ""
    assert host.kept.read_text() == (
        f"ssh 127.0.0.1 {sshd.getsockname()[1]}\nunit docker.service\ndocker web\ndocker till\n"
    )
    assert f"ExecStart=/bin/sh {host.script} gate" in host.unit.read_text()
    return host


def is_gone(host: Host) -> bool:
    return not host.unit.exists() and list(host.kept.parent.iterdir()) == []


def test_a_boot_that_is_well_keeps_enforcing_and_ends_the_gate(host: Host) -> None:
    host.sh("gate")
    assert host.mode == ("1", "SELINUX=enforcing")
    assert is_gone(host)
    assert not (host.state / "reverted-selinux").exists()


def test_it_waits_for_what_comes_up_late(host: Host) -> None:
    host.put("docker", "activating\n")
    threading.Timer(0.5, lambda: host.put("docker", "active\n")).start()
    host.sh("gate")
    assert host.mode[0] == "1"
    assert is_gone(host)


def test_where_a_container_of_dockers_does_not_run_it_is_permissive_again_and_that_one_is_started(host: Host) -> None:
    host.put("web", "exited\n")
    host.boot()
    assert host.mode == ("0", "SELINUX=permissive")
    found = host.reverted()
    assert found is not None
    assert found.why.endswith("web is exited")
    assert (host.root / "asked").read_text().splitlines().count("docker start web") == 1


def test_where_sshd_does_not_answer_it_is_permissive_again_and_says_why(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    host.put("etc/hullproof/selinux-gate", f"ssh 127.0.0.1 {port}\n")
    host.boot()
    assert host.mode == ("0", "SELINUX=permissive")
    found = host.reverted()
    assert found is not None
    assert found.run == "boot"
    assert (
        found.why
        == f"the first boot in enforcing failed its health check: sshd does not answer on port {port} of 127.0.0.1"
    )
    assert is_gone(host)


def test_a_boot_without_var_goes_back_too(host: Host) -> None:
    shutil.rmtree(host.state)
    host.put("docker", "failed\n")
    host.boot()
    assert host.mode == ("0", "SELINUX=permissive")
    assert is_gone(host)


def test_docker_that_does_not_come_up_gets_another_chance_in_permissive(host: Host) -> None:
    host.put("docker", "failed\n")
    host.boot()
    assert host.mode == ("0", "SELINUX=permissive")
    assert "--no-block restart docker.service" in (host.root / "asked").read_text()
    found = host.reverted()
    assert found is not None
    assert "docker.service is failed" in found.why


def test_docker_that_its_socket_would_start_is_no_docker_that_runs(host: Host) -> None:
    host.put("docker", "inactive\n")
    host.boot()
    assert host.mode == ("0", "SELINUX=permissive")


def test_what_did_not_come_up_is_started_in_permissive(host: Host) -> None:
    for name in ("podman", "lxc-info", "lxc-start", "virsh"):
        host.put(f"bin/{name}", f'#!/bin/sh\necho "{name} $*" >>"$ROOT/asked"\n').chmod(0o755)
    kept = host.root / "etc/hullproof/selinux-gate"
    kept.write_text(f"{kept.read_text()}podman web\nlxc box\nlibvirt lxc:/// a guest\n")
    host.boot()
    asked = (host.root / "asked").read_text()
    assert all(line in asked for line in ("podman start web", "lxc-start -n box", "virsh -q -c lxc:/// start a guest"))


def test_a_boot_in_permissive_is_not_the_one_it_waits_for(host: Host) -> None:
    host.put("sys/fs/selinux/enforce", "0\n")
    host.sh("gate")
    assert host.unit.exists()
    assert host.mode[1] == "SELINUX=enforcing"


def test_without_a_place_where_sshd_listens_there_is_no_gate(host: Host) -> None:
    host.sh("disarm")
    assert is_gone(host)
    host.script.write_text(SCRIPT)
    host.put("listens", "")
    assert "would have no way back" in host.sh("arm")
    assert not host.unit.exists()


@pytest.mark.parametrize(
    ("listens", "place"),
    [("[::]:22", "127.0.0.1 22"), ("*:2222", "127.0.0.1 2222"), ("192.0.2.1:22", "192.0.2.1 22"),
     ("[2001:db8::1]:22", "2001:db8::1 22")],
)  # fmt: skip
def test_where_sshd_listens(host: Host, listens: str, place: str) -> None:
    host.put("listens", f'LISTEN 0 128 {listens} *:* users:(("sshd",pid=7,fd=3))\n')
    host.sh("arm")
    assert host.kept.read_text().splitlines()[0] == f"ssh {place}"


@pytest.mark.parametrize(
    ("active", "labelled", "says"),
    [("active", "/two\n\n/one", "without SELinux: one two. Recreate"), ("active", "\n", ""), ("inactive", "", "")],
)
def test_containers_that_would_not_start_without_selinux_are_told_by_an_undo(
    tmp_path: Path, active: str, labelled: str, says: str
) -> None:
    for name, script in (("systemctl", f"echo {active}"), ("docker", f"[ $1 = ps ] && echo a b || echo '{labelled}'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(templates.FOLDER / "selinux/unlabel.sh")], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, says in done.stdout) == (1 if says else 0, True)
