"""Files of Docker's units that systemd has not read again: the next start takes them, whatever systemctl shows."""

from __future__ import annotations

import pytest

from deploys.core.change import Blocked
from deploys.core.control import State
from deploys.engines.docker.controls import SUBJECT
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import Block, Section
from facts.engines.docker.docker import Docker
from facts.engines.docker.shapes import Unit, Unread
from facts.engines.docker.unread import read_unread
from tests.support.hosts import docker, judged

ETC = "/etc/systemd/system"
SOCKET = "/usr/lib/systemd/system/docker.socket"
STOCK = f"{SOCKET}:SocketMode=0660\n{SOCKET}:ListenStream=/run/docker.sock\n"
BOTH = {"docker.no-tcp", "docker.file-modes"}

# the changed line; the states of docker.no-tcp and docker.file-modes
LINES = {
    "-H": ("docker.service.d/x.conf:ExecStart=/usr/sbin/dockerd -H tcp://0.0.0.0:2375", State.FAIL, State.UNKNOWN),
    "a port alone": ("docker.service.d/x.conf:ExecStart=/usr/sbin/dockerd -H :2375", State.FAIL, State.UNKNOWN),
    "through a variable": (
        'docker.service.d/x.conf:Environment="DOCKER_OPTS=-H tcp://0.0.0.0:2375"', State.FAIL, State.UNKNOWN,
    ),
    "through the socket": ("docker.socket.d/x.conf:ListenStream=0.0.0.0:2376", State.FAIL, State.UNKNOWN),
    "a port of the socket": ("docker.socket.d/x.conf:ListenStream=2376", State.FAIL, State.UNKNOWN),
    "the socket's mode": ("docker.socket.d/x.conf:SocketMode=0666", State.UNKNOWN, State.FAIL),
    "one that another overrides": (
        f"docker.socket.d/a.conf:SocketMode=0666\n{ETC}/docker.socket.d/b.conf:SocketMode=0660\n"
        f"{ETC}/docker.service.d/a.conf:ExecStart=dockerd -H tcp://x\n{ETC}/docker.service.d/b.conf:ExecStart=",
        State.UNKNOWN, State.UNKNOWN,
    ),
    "nothing of it": ("docker.service.d/x.conf:ExecStart=/usr/sbin/dockerd -H fd://", State.UNKNOWN, State.UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_what_the_next_start_takes(case: str) -> None:
    line, tcp, modes = LINES[case]
    section = Section({"unread": Block(0, f"{STOCK}{ETC}/{line}\n")})
    unit = Unit(unread=read_unread(section, ["docker.service"]))
    rules = DockerRules(tcp="none", file_modes=True)
    where = judged(SUBJECT, rules, {Docker: docker(unit=unit)})
    assert where.findings["docker.no-tcp"].state is tcp
    assert where.findings["docker.file-modes"].state is modes
    planned = [change for change in SUBJECT.plan(where) if BOTH & set(change.controls)]
    assert bool(planned) is (State.FAIL in (tcp, modes))
    for change in planned:
        assert isinstance(change, Blocked)
        assert line.partition("=")[0].replace(":", " (") in change.next


def test_units_that_systemd_has_read_have_no_such_files() -> None:
    assert read_unread(Section({}), []) is None
    assert read_unread(Section({}), ["docker.socket"]) == Unread(("docker.socket",), (), ())
