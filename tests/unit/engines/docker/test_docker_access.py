"""Who speaks to Docker's API, by whatever way: groups, access control lists, sudo, relays, second daemons; and a Docker
that is at another place than it is looked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.core.change import Blocked, Command, MergeJson
from deploys.core.control import State
from facts.core.frame import read_frame
from facts.core.reading import Block, Unknown
from facts.engines.docker.docker import Docker, DockerReading, FileMode, GroupUser
from facts.engines.docker.shapes import DAEMON_JSON, Daemon, Front, Network, SudoLine
from tests.support.cases import folder, read
from tests.support.docker import docker, findings, plan, reason, state

NOBODY: dict[str, Any] = {"trusted_users": []}


def host(case: str, **blocks: str | None) -> DockerReading:
    """A recorded host, with other text in some blocks; None: without the block."""
    section: Any = read_frame(read(folder(Docker) / f"{case}.json")["output"])["docker"]
    for name, text in blocks.items():
        if text is None:
            section.blocks.pop(name)
        else:
            section.blocks[name] = dataclasses.replace(section.blocks[name], text=text)
    reading = Docker.read(section)
    assert isinstance(reading, DockerReading)
    return reading


# ------------------------------------------------------------------------------------------------ all ways at once


def test_each_way_that_worked_on_a_real_host_is_named() -> None:
    """Recorded where each of these could run `docker ps`."""
    reading = host("debian13-open")
    rules: dict[str, Any] = {**NOBODY, "relays": [], "tcp": "tls", "file_modes": True}
    for control, words in {
        "group-members": ("alice (primary group docker)", "bob (group dock2)", "carol (group developers)"),
        "sudo": ("dave runs /usr/bin/docker (/etc/sudoers.d/docker)",),
        "relays": ("systemd-socket-proxyd (app-proxy.service) on 127.0.0.1:2375",),
        "other-daemons": ("on /run/second.sock",),
        "no-tcp": ("127.0.0.1:2399 in /srv/d.json",),
        "file-modes": ("user:nobody:rw-", "/srv/app.sock is 0666 root:developers"),
    }.items():
        assert state(control, reading, **rules) is State.FAIL, control
        for word in words:
            assert word in reason(control, reading, **rules)


# ------------------------------------------------------------------------------------------------ groups


def test_a_primary_group_is_not_taken_away() -> None:
    users = (GroupUser("alice", "docker", primary=True), GroupUser("bob", "dock2", primary=False))
    blocked, change = plan(docker(group_users=users), **NOBODY)
    assert isinstance(blocked, Blocked)
    assert "usermod -g GROUP alice" in blocked.why
    assert isinstance(change, Command)
    assert change.script == "gpasswd -d bob dock2"
    assert state("group-members", docker(group_users=users), trusted_users=["alice", "bob"]) is State.PASS


@pytest.mark.parametrize("block", ["groups", "users"])
@pytest.mark.parametrize("text", ["", "getent: command not found", None])
def test_groups_that_are_not_listed_are_unknown(block: str, text: str | None) -> None:
    assert state("group-members", host("debian13-open", **{block: text}), **NOBODY) is State.UNKNOWN


def test_root_is_no_stranger() -> None:
    reading = host("debian13-open", groups="root:x:0:\ndocker:x:102:root,eve\n", users="root:102\neve:1000\n")
    assert reading.group_users == (GroupUser("eve", "docker", primary=False),)


# ------------------------------------------------------------------------------------------------ sockets and files


def socket(mode: str, owner: str = "root", group: str = "docker", **more: Any) -> DockerReading:
    return docker(files=(FileMode("/run/docker.sock", mode, owner, group, "socket", **more),))


@pytest.mark.parametrize(("mode", "group"), [("0600", "root"), ("0600", "users"), ("0660", "root"), ("0640", "docker")])
def test_stricter_than_demanded_is_no_failure(mode: str, group: str) -> None:
    assert state("file-modes", socket(mode, group=group), file_modes=True) is State.PASS
    own = docker(files=(FileMode(DAEMON_JSON, "0400", "root", "root", "file"),))
    assert state("file-modes", own, file_modes=True) is State.PASS


@pytest.mark.parametrize(
    ("acl", "want"),
    [
        (("user:nobody:rw-",), State.FAIL),
        (("group:users:r--",), State.FAIL),
        (("user:root:rw-", "user:nobody:---"), State.PASS),
        (Unknown("no getfacl"), State.UNKNOWN),
    ],
)
def test_access_control_lists(acl: Any, want: State) -> None:
    reading = socket("0660", acl=acl)
    assert state("file-modes", reading, file_modes=True) is want
    if want is State.FAIL:
        (change,) = plan(reading, file_modes=True)
        assert isinstance(change, Blocked)
        assert "setfacl -b /run/docker.sock" in change.why
    readable = docker(files=(FileMode(DAEMON_JSON, "0644", "root", "root", "file", ("user:nobody:r--",)),))
    assert state("file-modes", readable, file_modes=True) is State.PASS, "everybody may read it"


def test_an_access_control_list_without_getfacl_is_seen_and_unknown() -> None:
    reading = host("debian13-open", acls=None)
    (socket,) = (file for file in reading.files if file.path == "/run/docker.sock")
    assert isinstance(socket.acl, Unknown)
    assert "getfacl" in reason("file-modes", reading, file_modes=True)


def test_sockets_that_are_not_known_are_unknown() -> None:
    assert state("file-modes", socket("0660"), file_modes=True) is State.PASS
    unseen = dataclasses.replace(socket("0660"), sockets=Unknown("ss is not installed"))
    assert state("file-modes", unseen, file_modes=True) is State.UNKNOWN


# ------------------------------------------------------------------------------------------------ sudo


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("dave ALL=(root) NOPASSWD: /usr/bin/docker", State.FAIL),
        ("%devs ALL = (ALL:ALL) NOPASSWD:SETENV: /bin/ls, /usr/bin/docker ps", State.FAIL),
        ("ALL ALL=/usr/bin/docker", State.FAIL),
        ("dave,erin ALL=/usr/local/bin/docker-compose", State.FAIL),
        ("trusty ALL=/usr/bin/docker", State.PASS),
        ("dave ALL=(ALL) ALL, !/usr/bin/docker", State.PASS),
        ("ADMINS ALL=/usr/bin/docker", State.UNKNOWN),
        ("Cmnd_Alias DOCKER = /usr/bin/docker", State.UNKNOWN),
        ("dave ALL=/usr/bin/docker, \\", State.UNKNOWN),
        ("dave ALL=/usr/bin/d*cker.sh docker", State.UNKNOWN),
        ("dave A=/usr/bin/docker : B=/bin/ls", State.UNKNOWN),
        ("@include /etc/sudoers.local", State.UNKNOWN),
        ("docker", State.UNKNOWN),
    ],
)
def test_sudo(text: str, want: State) -> None:
    reading = docker(sudo=(SudoLine("/etc/sudoers", text),))
    assert state("sudo", reading, trusted_users=["trusty"]) is want, reason("sudo", reading, trusted_users=["trusty"])
    assert state("sudo", reading) is State.NOT_APPLICABLE
    assert all(isinstance(change, Blocked) for change in plan(reading, trusted_users=["trusty"]))


def test_which_files_sudo_reads() -> None:
    text = (
        "/etc/sudoers:@includedir /etc/sudoers.d\n/etc/sudoers.d/a.bak:x ALL=/usr/bin/docker\n"
        "/etc/sudoers.d/b~:x ALL=/usr/bin/docker\n/etc/sudoers.d/c:x ALL=/usr/bin/docker\n"
    )
    assert host("debian13-open", sudoers=text).sudo == (SudoLine("/etc/sudoers.d/c", "x ALL=/usr/bin/docker"),)
    assert state("sudo", host("debian13-open", sudoers=None), **NOBODY) is State.UNKNOWN


# ------------------------------------------------------------------------------------------------ relays and daemons


def test_relays() -> None:
    relay, other = Front("app.service", "socat", True, ("*:2375",)), Front("process 7", "agent", False, ("*:9001",))
    assert state("relays", docker(fronts=(relay,)), relays=[]) is State.FAIL
    assert state("relays", docker(fronts=(relay,)), relays=["app.service"]) is State.PASS
    assert state("relays", docker(fronts=(other,)), relays=[]) is State.UNKNOWN
    assert state("relays", docker(fronts=(other,)), relays=["agent"]) is State.PASS
    assert state("relays", docker(fronts=Unknown("no ss")), relays=[]) is State.UNKNOWN
    assert state("relays", docker(fronts=(relay,))) is State.NOT_APPLICABLE


def test_what_names_the_socket_and_does_not_listen_is_no_relay() -> None:
    listening = 'tcp LISTEN 0 5 *:22 *:* users:(("sshd",pid=9,fd=3))\n'
    reading = host("debian13-open", naming="/proc/8/cmdline\n", listeners=listening, fronts=None)
    assert reading.fronts == ()
    assert isinstance(host("debian13-open", naming=None).fronts, Unknown)


def test_a_unit_that_nothing_starts_is_no_relay() -> None:
    text = (
        "Id=app.service\nActiveState=inactive\nUnitFileState=disabled\nExecStart={ path=/usr/bin/socat ; x }\n\n"
        "Id=app.socket\nActiveState=inactive\nUnitFileState=STATE\nListen=127.0.0.1:2375 (Stream)\n"
    )
    unused = host("debian13-open", fronts=text.replace("STATE", "disabled"), naming="")
    assert unused.fronts == ()
    enabled = host("debian13-open", fronts=text.replace("STATE", "enabled"), naming="")
    assert enabled.fronts == (Front("app.service", "socat", True, ("127.0.0.1:2375",)),)


def test_daemons_beside_the_one_that_is_judged() -> None:
    second, rootless = Daemon(7, 0, ("/run/second.sock",)), Daemon(8, 1000, ("/run/user/1000/docker.sock",))
    assert state("other-daemons", docker(others=(second,))) is State.FAIL
    assert state("other-daemons", docker(others=(rootless,))) is State.PASS
    assert "rootless of user 1000" in reason("other-daemons", docker(others=(rootless,)))
    assert state("other-daemons", docker(others=Unknown("no ps"))) is State.UNKNOWN


def test_a_daemon_in_a_container_is_not_one_of_the_host() -> None:
    text = "/proc/7/status:Uid:\t0\t0\t0\t0\n/proc/7/status:NSpid:\t7\t1\n"
    assert host("debian13-open", daemons=text).others == ()


# ------------------------------------------------------------------------------------------------ another place


EVERYTHING: dict[str, Any] = {**NOBODY, "live_restore": True, "iptables": True, "tcp": "tls", "file_modes": True,
                              "relays": [], "log_level": "info", "insecure_registries": []}  # fmt: skip


def test_a_docker_that_is_not_in_the_path_is_unknown_where_something_is_demanded() -> None:
    reading = host("debian13-elsewhere")
    _, found = findings(reading, **EVERYTHING)
    demanded = {"docker.running", "docker.daemon-json", "docker.other-daemons"}
    demanded |= {f"docker.{key.replace('_', '-')}" for key in EVERYTHING} & set(found)
    assert {name for name, finding in found.items() if finding.state is State.UNKNOWN} >= demanded
    assert "no dockerd is in root's PATH (dockerd (process " in reason("no-tcp", reading, tcp="tls")
    assert state("log-driver", reading) is State.NOT_APPLICABLE
    assert plan(reading, **EVERYTHING) == []


def test_a_docker_of_users_alone_is_said_to_be_theirs() -> None:
    daemons = "/proc/9/status:Uid:\t1000\t1000\t1000\t1000\n/proc/9/status:NSpid:\t9\n"
    listening = 'u_str LISTEN 0 9 /run/user/1000/docker.sock 1 * 0 users:(("dockerd",pid=9,fd=3))\n'
    reading = host("debian13-elsewhere", seen="/run/user/1000/docker.sock", daemons=daemons, listeners=listening)
    assert isinstance(reading.installed, Unknown)
    assert "only users run Docker here, without root (dockerd (process 9, rootless of user 1000)" in (
        reading.installed.unknown
    )


def test_where_nothing_of_docker_is_seen_it_is_not_installed() -> None:
    assert host("debian13-elsewhere", seen="", daemons="").installed is False
    assert isinstance(host("debian13-elsewhere", processes=None).installed, Unknown)


# ------------------------------------------------------------------------------------------------ settings elsewhere


def test_keys_are_read_from_the_file_that_dockerd_reads_and_not_changed_there() -> None:
    reading = host("debian13-open")
    assert reading.daemon_json.named == "/srv/d.json"
    assert isinstance(reading.daemon_json.keys, dict)
    assert reading.daemon_json.keys["group"] == "developers"
    (change,) = (change for change in plan(reading, live_restore=True) if "live-restore" in change.what)
    assert isinstance(change, Blocked)
    assert "/srv/d.json (--config-file)" in change.why


def test_a_file_that_the_command_line_names_has_to_be_there() -> None:
    section: Any = read_frame(read(folder(Docker) / "debian13-open.json")["output"])["docker"]
    section.blocks["/srv/d.json"] = dataclasses.replace(section.blocks["/srv/d.json"], status=1, text=(
        "No such file or directory"))  # fmt: skip
    reading = Docker.read(section)
    assert isinstance(reading, DockerReading)
    assert state("daemon-json", reading) is State.FAIL
    assert "/srv/d.json, which dockerd's command line names (--config-file), does not exist" in (
        reason("daemon-json", reading)
    )


def test_a_copy_that_keeps_its_old_time_is_newer_than_the_daemon() -> None:
    """Recorded after `touch -d 2020-01-01 daemon.json`."""
    assert host("debian13-stale").stale is True


def test_a_file_that_an_undo_put_in_place_once_docker_ran_with_it_is_in_force() -> None:
    section: Any = read_frame(read(folder(Docker) / "debian13-stale.json")["output"])["docker"]
    (row,) = (line for line in section.blocks["files"].text.splitlines() if line.endswith("|/etc/docker/daemon.json"))
    section.blocks["settled"] = Block(0, f"{row.split()[3]}\n")
    reading = Docker.read(section)
    assert isinstance(reading, DockerReading)
    assert reading.stale is False
    section.blocks["settled"] = Block(0, "1\n")
    assert isinstance(changed := Docker.read(section), DockerReading)
    assert changed.stale is True, "it was changed once more since"


def test_a_daemon_that_was_started_with_another_file_has_other_settings() -> None:
    section: Any = read_frame(read(folder(Docker) / "debian13-open.json")["output"])["docker"]
    (command,) = (name for name in section.blocks if name.endswith("/cmdline"))
    section.blocks[command] = dataclasses.replace(section.blocks[command], text="/usr/sbin/dockerd\0-H\0fd://\0")
    reading = Docker.read(section)
    assert isinstance(reading, DockerReading)
    assert reading.stale is True


# ------------------------------------------------------------------------------------------------ IPv6


SIX = Network("six", "bridge", "br-six", internal=False, icc=True, subnets=("fd00::/64",), containers=())
WANT: dict[str, Any] = {"ip6tables": True}


def test_ip6tables_by_release() -> None:
    old, new = docker(networks=(SIX,)), docker(version="28.5.2", networks=(SIX,))
    assert state("ip6tables", docker(), **WANT) is State.NOT_APPLICABLE, "Docker 26 without IPv6"
    assert state("ip6tables", old, **WANT) is State.FAIL
    (blocked,) = plan(old, **WANT)
    assert isinstance(blocked, Blocked)
    assert "update" in blocked.why
    assert state("ip6tables", new, **WANT) is State.PASS
    turned_off = docker({"ip6tables": False}, version="28.5.2")
    assert state("ip6tables", turned_off, **WANT) is State.FAIL
    (change,) = plan(turned_off, **WANT)
    assert isinstance(change, MergeJson)
    assert change.put == {"ip6tables": True}
    assert state("ip6tables", docker({"ip6tables": True}), **WANT) is State.FAIL, "26.1 does not start with it"
    trying = docker({"ip6tables": True, "experimental": True}, networks=(SIX,))
    assert state("ip6tables", trying, **WANT) is State.PASS
