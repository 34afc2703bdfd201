"""Docker on its host: TCP listeners, modes of files and sockets, members of the group."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Blocked, Command, MergeJson, WriteFile
from deploys.core.control import State
from deploys.engines.docker.access import without_tcp
from facts.core.frame import PRELUDE
from facts.core.reading import Unknown
from facts.engines.docker import docker as docker_fact
from facts.engines.docker.docker import FileMode, GroupUser, Unit, read_flags
from tests.support.docker import FILE, START, docker, plan, reason, state
from tests.support.hosts import container

WEAK = {"hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2375"]}
BARE = Unit(exec_start="/usr/sbin/dockerd", exec_source="/etc/systemd/system/docker.service.d/tcp.conf")


def test_tcp_in_daemon_json() -> None:
    reading = docker(WEAK, flags={}, unit=BARE, listeners=("0.0.0.0:2375",))
    assert state("no-tcp", reading, tcp="none") is State.FAIL
    assert FILE in reason("no-tcp", reading, tcp="none")
    (change,) = plan(reading, tcp="none")
    assert isinstance(change, MergeJson)
    assert change.put == {"hosts": ["unix:///var/run/docker.sock"]}
    only = docker({"hosts": ["tcp://:2375"]}, flags={}, unit=BARE, listeners=("*:2375",))
    (change,) = plan(only, tcp="tls")
    assert isinstance(change, MergeJson)
    assert change.drop == ("hosts",), "without hosts dockerd listens on its own unix socket"
    fixed = docker({"hosts": ["unix:///var/run/docker.sock"]}, flags={}, unit=BARE)
    assert plan(fixed, tcp="none") == []
    assert state("no-tcp", dataclasses.replace(fixed, listeners=("*:2375",)), tcp="none") is State.PENDING_RESTART


def test_tcp_with_certificates_where_the_policy_allows_it() -> None:
    reading = docker({**WEAK, "tlsverify": True}, flags={}, unit=BARE, listeners=("0.0.0.0:2375",))
    assert state("no-tcp", reading, tcp="tls") is State.PASS
    assert state("no-tcp", reading, tcp="none") is State.FAIL


@pytest.mark.parametrize("host", ["0.0.0.0:2375", "tcp://0.0.0.0:2375", ":2375", "localhost"])
def test_a_host_without_a_scheme_is_tcp(host: str) -> None:
    reading = docker({"hosts": ["fd://", host]}, flags={}, unit=BARE)
    assert state("no-tcp", reading, tcp="none") is State.FAIL
    assert host in reason("no-tcp", reading, tcp="none")
    (change,) = plan(reading, tcp="none")
    assert isinstance(change, MergeJson)
    assert change.put == {"hosts": ["fd://"]}
    assert without_tcp(f"dockerd -H fd:// -H {host} -D".split()) == ["dockerd", "-H", "fd://", "-D"]


def test_certificates_that_the_running_daemon_may_not_demand() -> None:
    """tlsverify is in the file, and the daemon was started before it was written there."""
    keys, at = {**WEAK, "tlsverify": True}, ("0.0.0.0:2375",)
    stale = docker(keys, flags={}, unit=BARE, listeners=at, stale=True)
    assert state("no-tcp", stale, tcp="tls") is State.PENDING_RESTART
    assert "changed after the daemon started" in reason("no-tcp", stale, tcp="tls")
    (change,) = plan(stale, tcp="none")
    assert isinstance(change, MergeJson)
    untimed = dataclasses.replace(stale, stale=Unknown("no systemd"))
    assert state("no-tcp", untimed, tcp="tls") is State.UNKNOWN
    by_flag = dataclasses.replace(stale, flags={"tlsverify": "true"})
    assert state("no-tcp", by_flag, tcp="tls") is State.PASS
    lost = docker(WEAK, flags={"tlsverify": "true"}, unit=BARE, listeners=at)
    assert state("no-tcp", lost, tcp="tls") is State.FAIL, "the next start demands none"


def test_tcp_that_is_no_api() -> None:
    swarm = {"Swarm": {"LocalNodeState": "active"}}
    reading = docker({"metrics-addr": "127.0.0.1:9323"}, swarm, listeners=("127.0.0.1:9323", "*:2377", "*:7946"))
    assert state("no-tcp", reading, tcp="none") is State.PASS


WEB = container("web", published=("0.0.0.0:8080", "127.0.0.1:8081", "[::]:8080"))
PUBLISHED: dict[str, Any] = {
    "containers": (WEB,),
    "listeners": ("*:8080", "0.0.0.0:8080", "127.0.0.1:8081", "[::]:8080"),
}


def test_a_published_port_is_not_the_api() -> None:
    """With `userland-proxy: false` dockerd itself holds it: nothing fails, and no restart is planned for it."""
    for stale in (False, True):
        reading = docker({"userland-proxy": False}, **PUBLISHED, stale=stale)
        assert state("no-tcp", reading, tcp="none") is State.PASS, reason("no-tcp", reading, tcp="none")
        assert plan(reading, tcp="none") == []
    other = docker(containers=(WEB,), listeners=("10.0.0.1:8081",))
    assert state("no-tcp", other, tcp="none") is State.PENDING_RESTART, "published on another address"


def test_the_api_beside_published_ports() -> None:
    given = docker({"hosts": ["fd://", "tcp://127.0.0.1:2375"]}, flags={}, unit=BARE, containers=(WEB,),
                   listeners=("0.0.0.0:8080", "127.0.0.1:2375"))  # fmt: skip
    assert state("no-tcp", given, tcp="none") is State.FAIL
    assert "8080" not in reason("no-tcp", given, tcp="none")
    taken_out = docker({}, flags={}, unit=BARE, stale=True, containers=(WEB,),
                       listeners=("0.0.0.0:8080", "127.0.0.1:2375"))  # fmt: skip
    assert state("no-tcp", taken_out, tcp="none") is State.PENDING_RESTART
    assert "8080" not in reason("no-tcp", taken_out, tcp="none")
    nothing = Unknown("no sudo")
    assert state("no-tcp", docker(containers=nothing, listeners=("0.0.0.0:8080",)), tcp="none") is State.UNKNOWN


def test_the_ports_of_a_swarms_services() -> None:
    swarm = {"Swarm": {"LocalNodeState": "active"}}
    assert state("no-tcp", docker({}, swarm, listeners=("*:8095",)), tcp="none") is State.PASS
    given = docker({"hosts": ["tcp://10.0.0.1"]}, swarm, flags={}, unit=BARE, listeners=("*:8095", "10.0.0.1:2375"))
    assert state("no-tcp", given, tcp="none") is State.FAIL
    for untold in (docker({}, swarm, listeners=("*:8095",), stale=True),
                   docker({}, swarm, listeners=("*:8095",), stale=Unknown("no systemd"))):  # fmt: skip
        assert state("no-tcp", untold, tcp="none") is State.UNKNOWN, reason("no-tcp", untold, tcp="none")
        assert plan(untold, tcp="none") == []


def test_a_socket_that_systemd_hands_to_dockerd() -> None:
    unit = dataclasses.replace(BARE, exec_start="/usr/sbin/dockerd -H fd://", socket_listens=("0.0.0.0:2375",))
    handed: dict[str, Any] = {"listeners": ("0.0.0.0:2375",), "handed": ("0.0.0.0:2375",)}
    reading = docker({}, unit=unit, **handed)
    assert state("no-tcp", reading, tcp="none") is State.FAIL
    assert "docker.socket" in reason("no-tcp", reading, tcp="none")
    (change,) = plan(reading, tcp="none")
    assert isinstance(change, Blocked), "no restart of Docker takes it away"
    assert "ListenStream=" in change.why


def test_tcp_in_somebodys_drop_in_and_options() -> None:
    start = "/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2375 $DOCKER_OPTS"
    unit = Unit(exec_start=start, exec_source="/etc/systemd/system/docker.service.d/tcp.conf",
                options_source="/etc/default/docker", options="--host=tcp://1.2.3.4:2376 --debug")  # fmt: skip
    reading = docker(unit=unit, listeners=("0.0.0.0:2375",))
    (change,) = plan(reading, tcp="none")
    assert isinstance(change, WriteFile)
    assert change.text.splitlines()[-2:] == ["ExecStart=", "ExecStart=/usr/sbin/dockerd -H fd:// --debug"]
    assert "tcp.conf and /etc/default/docker" in change.text
    assert change.service is not None
    after = Unit(exec_start="/usr/sbin/dockerd -H fd:// --debug", exec_source=change.path, override=change.text,
                 options_source="/etc/default/docker", options=unit.options)  # fmt: skip
    assert plan(docker(unit=after), tcp="none") == []
    quoted = dataclasses.replace(unit, exec_start=start + " --label 'a b'")
    (change,) = plan(docker(unit=quoted, listeners=("0.0.0.0:2375",)), tcp="none")
    assert isinstance(change, Blocked)


def test_command_lines() -> None:
    line = "dockerd -H fd:// -H tcp://a -Htcp://b -H=tcp://c --host tcp://d --host=tcp://e --host unix://f -D"
    words = line.split()
    assert " ".join(without_tcp(words)) == "dockerd -H fd:// --host unix://f -D"
    assert read_flags(words[1:]) == {
        "host": "fd:// tcp://a tcp://b tcp://c tcp://d tcp://e unix://f",
        "debug": "true",
    }
    assert read_flags(["--icc=false", "--mtu", "1400", "$DOCKER_OPTS"]) == {"icc": "false", "mtu": "1400"}


@pytest.mark.parametrize(
    ("path", "mode", "owner", "group", "kind", "right"),
    [
        ("/run/docker.sock", "0666", "root", "docker", "socket", "0660 root:docker"),
        ("/run/docker.sock", "0660", "root", "users", "socket", "0660 root:docker"),
        ("/etc/docker", "0777", "root", "root", "directory", "0755 root:root"),
        (FILE, "0664", "root", "root", "file", "0644 root:root"),
        ("/etc/default/docker", "0644", "alice", "root", "file", "0644 root:root"),
        ("/etc/docker/server-key.pem", "0640", "root", "root", "file", "0400 root:root"),
        ("/etc/docker/certs.d/r.lan/ca.crt", "0644", "root", "root", "file", "0444 root:root"),
        ("/usr/lib/systemd/system/docker.service", "0666", "root", "root", "file", "0644 root:root"),
        ("/run/containerd/containerd.sock", "0666", "root", "root", "socket", "0660 root:root"),
    ],
)
def test_files_too_open(path: str, mode: str, owner: str, group: str, kind: str, right: str) -> None:
    file = FileMode(path, mode, owner, group, kind)
    reading = docker(files=(file,))
    assert state("file-modes", reading, file_modes=True) is State.FAIL
    assert right in reason("file-modes", reading, file_modes=True)
    (change,) = plan(reading, file_modes=True)
    assert isinstance(change, Command)
    assert f"chmod {right.split()[0]} {path}" in change.script
    assert f"chown {owner}:{group} {path}; chmod {mode} {path}" in change.undo
    fixed = FileMode(path, right.split()[0], "root", right.rpartition(":")[2], kind)
    assert plan(docker(files=(fixed,)), file_modes=True) == []


def test_the_socket_stays_closed_after_a_boot() -> None:
    loose = FileMode("/run/docker.sock", "0666", "root", "docker", "socket")
    reading = docker(files=(loose,), unit=Unit(exec_start=START, socket_mode="0666"))
    command, file = plan(reading, file_modes=True)
    assert isinstance(command, Command)
    assert isinstance(file, WriteFile)
    assert "SocketMode=0660\n" in file.text
    assert "SocketGroup=docker\n" in file.text
    assert plan(docker(unit=Unit(exec_start=START, socket_mode="0660")), file_modes=True) == []


def test_strangers_leave_group_docker() -> None:
    reading = docker(group_users=tuple(GroupUser(name, "docker", primary=False) for name in ("alice", "mal lory")))
    assert state("group-members", reading) is State.NOT_APPLICABLE
    assert state("group-members", reading, trusted_users=["alice", "mal lory"]) is State.PASS
    (change,) = plan(reading, trusted_users=["alice"])
    assert isinstance(change, Command)
    assert change.script == "gpasswd -d 'mal lory' docker"
    assert change.undo == "gpasswd -a 'mal lory' docker"


API = 'api() { printf \'{"ID":"x","DockerRootDir":"/d"}\\n\\n[{"Id":"%s"},{"Id":"%s"}]\\n\' "$A" "$B"; }\n'


@pytest.mark.parametrize(
    ("answer", "info", "networks"),
    [
        (API, '{"ID":"x","DockerRootDir":"/d"}', f"{'a' * 64}\n{'b' * 64}"),  # curl had both
        ("api() { return 28; }\n", '{"client":1,"DockerRootDir":"/d"}', "ids of the client"),
        (API.replace('"Id"', '"id"'), '{"client":1,"DockerRootDir":"/d"}', "ids of the client"),
        ('api() { echo \'{"ID":"half\'; }\n', '{"client":1,"DockerRootDir":"/d"}', "ids of the client"),
    ],
)
def test_the_daemon_is_asked_by_curl_and_by_the_client_where_that_has_no_answer(
    answer: str, info: str, networks: str
) -> None:
    script = Path(docker_fact.__file__).with_suffix(".sh").read_text()
    part = script[script.index("info=; networks=") : script.index("# Through `index`")]
    answers = 'info) echo \'{"client":1,"DockerRootDir":"/d"}\' ;; *) echo \'ids of the client\' ;;'
    client = f"ask() {{ case $1 in {answers} esac; }}\n"
    shell = f"{PRELUDE}\nN=n A={'a' * 64} B={'b' * 64}\n{answer}{client}{part}"
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert f"@n block info\n{info}\n" in said
    assert f"@n block networks\n{networks}\n" in said


def test_a_socket_that_a_removed_docker_left_is_no_docker() -> None:
    script = Path(docker_fact.__file__).with_suffix(".sh").read_text()
    part = script[script.index("  seen=; for one in ") : script.index('  [ -z "$seen" ]')]
    left, live = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with tempfile.TemporaryDirectory() as folder, left, live:
        left.bind(f"{folder}/left.sock")
        live.bind(f"{folder}/live.sock")
        live.listen()
        part = part.replace("/run/docker.sock /run/user/*/docker.sock", f"{folder}/*.sock {folder}/none.sock")
        said = subprocess.run(["sh", "-c", f'{part}\necho "$seen"'], capture_output=True, text=True, check=True).stdout
    assert said == f" {folder}/live.sock\n"
