"""Docker: controls, plan and the merge into daemon.json, from readings alone."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from deploys.docker import SUBJECT
from deploys.docker_containers import capability_names
from deploys.docker_daemon import configured, daemon_json
from deploys.docker_host import without_tcp
from deploys.docker_rules import DEFAULT_CAPABILITIES, DockerRules
from deploys.engine.arrange import merge_text
from deploys.engine.change import Activate, Blocked, Change, Command, Context, MergeJson, WriteFile
from deploys.engine.control import Finding, State, judge
from deploys.engine.policy import Policy
from facts.docker import (
    Container,
    Docker,
    DockerReading,
    FileMode,
    Mount,
    Process,
    Stored,
    Unit,
    read_daemon_json,
    read_flags,
)
from facts.docker_options import known_keys, read_release
from facts.reading import Unknown
from facts.survey import Survey

FILE = "/etc/docker/daemon.json"
START = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS"
DEFAULT_MASK = 0xA80425FB
FREE = Process(((0, 0, 4294967295),), 2, True, DEFAULT_MASK, "docker-default (enforce)", ())
INFO: dict[str, Any] = {
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"],
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
    "LiveRestoreEnabled": False,
    "LoggingDriver": "json-file",
    "ExperimentalBuild": False,
    "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {"docker.io": {"Secure": True}}},
    "Swarm": {"LocalNodeState": "inactive"},
}


def container(name: str = "web", **more: Any) -> Container:
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Container)}
    values |= {"id": f"id-{name}", "name": name, "pid": 7, "privileged": False, "process": FREE}
    values |= {"security_opt": (), "cap_add": (), "devices": (), "mounts": (), "networks": ("bridge",)}
    return Container(**{**values, **more})


def docker(text: Any = None, info: dict[str, Any] | None = None, **more: Any) -> DockerReading:
    values: dict[str, Any] = {
        "installed": True,
        "package": "docker.io",
        "package_version": "26.1.5",
        "running": True,
        "version": "26.1.5",
        "daemon_json": read_daemon_json(FILE, json.dumps(text) if isinstance(text, dict) else text),
        "keys_known": known_keys((26, 1)),
        "can_validate": True,
        "flags": {"host": "fd://"},
        "info": {**INFO, **(info or {})},
        "networks": (),
        "containers": (),
        "stored": Stored((), 0, (), ()),
        "files": (FileMode("/run/docker.sock", "0660", "root", "docker", "socket"),),
        "group_members": (),
        "listeners": (),
        "proxies": 0,
        "log": (),
        "unit": Unit(exec_start=START, exec_source="/usr/lib/systemd/system/docker.service", socket_mode="0660"),
    }
    return DockerReading(**{**values, **more})


def survey(reading: DockerReading | Unknown) -> Survey:
    return Survey({Docker: reading})


def findings(reading: DockerReading | Unknown, *accept: str, **rules: Any) -> tuple[Context, dict[str, Finding]]:
    policy = Policy("test", {DockerRules: DockerRules.model_validate(rules)}, (), frozenset(accept))
    found = {finding.control.id: finding for finding in judge(SUBJECT.controls, survey(reading), policy)}
    return Context(survey(reading), policy, found), found


def state(control: str, reading: DockerReading | Unknown, **rules: Any) -> State:
    return findings(reading, **rules)[1][f"docker.{control}"].state


def reason(control: str, reading: DockerReading, **rules: Any) -> str:
    return findings(reading, **rules)[1][f"docker.{control}"].verdict.reason


def plan(reading: DockerReading, *accept: str, **rules: Any) -> list[Change]:
    return list(SUBJECT.plan(findings(reading, *accept, **rules)[0]))


ULIMITS = {"nofile": {"soft": 1024, "hard": 4096}}
ULIMITS_JSON = {"nofile": {"Name": "nofile", "Hard": 4096, "Soft": 1024}}
POOL = {"base": "10.200.0.0/16", "size": 24}
ON = {"SecurityOptions": ["name=no-new-privileges"]}


@pytest.mark.parametrize(
    ("control", "rule", "put", "live"),
    [
        ("live-restore", {"live_restore": True}, {"live-restore": True}, {"info": {"LiveRestoreEnabled": True}}),
        ("no-new-privileges", {"no_new_privileges": True}, {"no-new-privileges": True}, {"info": ON}),
        ("userland-proxy", {"userland_proxy": False}, {"userland-proxy": False}, {}),
        ("log-driver", {"log_driver": "journald"}, {"log-driver": "journald"}, {"info": {"LoggingDriver": "journald"}}),
        ("log-opts", {"log_opts": {"json-file": {"max-size": "10m"}}}, {"log-opts": {"max-size": "10m"}}, {}),
        ("log-level", {"log_level": "warn"}, {"log-level": "warn"}, {}),
        ("default-ulimits", {"default_ulimits": ULIMITS}, {"default-ulimits": ULIMITS_JSON}, {}),
        ("default-address-pools", {"default_address_pools": [POOL]}, {"default-address-pools": [POOL]},
         {"info": {"DefaultAddressPools": [{"Base": "10.200.0.0/16", "Size": 24}]}}),
        ("insecure-registries", {"insecure_registries": ["r.lan"]}, {}, {}),
    ],
)  # fmt: skip
def test_a_key_declared_on_disk_and_live(control: str, rule: Any, put: Any, live: Any) -> None:
    """Not there: fail. Written and not taken up: pending. Written and live: pass. What is written is what is wanted,
    and afterwards nothing is planned any more."""
    assert state(control, docker()) is State.NOT_APPLICABLE, "not declared"
    assert state(control, docker(**live, text=put), **rule) is State.PASS
    assert plan(docker(**live, text=put), **rule) == []
    if not put:
        return
    assert state(control, docker(), **rule) is State.FAIL
    assert state(control, docker(put, stale=True), **rule) is State.PENDING_RESTART
    (change,) = plan(docker(), **rule)
    assert isinstance(change, MergeJson)
    assert change.put == put
    assert change.before is None
    assert change.validate == "dockerd --validate --config-file {}"
    (again,) = plan(docker(put, stale=True), **rule)
    assert isinstance(again, Activate), "right on disk: only a restart is missing"


@pytest.mark.parametrize("control", [control.id.partition(".")[2] for control in SUBJECT.controls])
def test_what_cannot_be_read_is_unknown_and_planned_by_nobody(control: str) -> None:
    everything: dict[str, Any] = {
        "required": True, "live_restore": True, "no_new_privileges": True, "userland_proxy": False,
        "log_driver": "journald", "log_opts": {"journald": {"tag": "x"}}, "log_level": "warn",
        "default_ulimits": ULIMITS, "default_address_pools": [POOL], "iptables": True, "tcp": "none",
        "insecure_registries": [], "experimental": False, "refused_storage_drivers": ["aufs"], "file_modes": True,
        "trusted_users": [], "privileged_containers": [], "host_namespaces": [], "sensitive_mounts": [],
        "allowed_capabilities": [],
    }  # fmt: skip
    nothing = Unknown("no sudo")
    assert state(control, nothing, **everything) is State.UNKNOWN
    context, _ = findings(nothing, **everything)
    assert not any(finding.state is not State.UNKNOWN for finding in context.findings.values())
    absent = docker(installed=False, running=False, info=None, containers=nothing)
    expected = State.FAIL if control == "running" else State.NOT_APPLICABLE
    assert state(control, absent, **everything) is expected
    silent = docker(running=nothing, containers=nothing, listeners=nothing)
    silent = dataclasses.replace(silent, info=nothing)
    if control not in ("daemon-json", "file-modes", "group-members"):
        assert state(control, silent, **everything) is State.UNKNOWN


def test_live_restore_is_not_for_a_swarm() -> None:
    swarm = docker(info={"Swarm": {"LocalNodeState": "active"}})
    assert state("live-restore", swarm, live_restore=True) is State.NOT_APPLICABLE
    assert "swarm" in reason("live-restore", swarm, live_restore=True)


def test_a_key_that_this_dockerd_does_not_have() -> None:
    old = docker(keys_known=("icc",), version="1.13")
    assert state("live-restore", old, live_restore=True) is State.NOT_APPLICABLE


def test_containers_from_before_keep_their_privileges() -> None:
    old = container("old", process=dataclasses.replace(FREE, no_new_privs=False))
    reading = docker({"no-new-privileges": True}, {**ON, "LiveRestoreEnabled": True}, containers=(container(), old))
    assert state("no-new-privileges", reading, no_new_privileges=True) is State.PENDING_RESTART
    assert "old" in reason("no-new-privileges", reading, no_new_privileges=True)
    (change,) = plan(reading, no_new_privileges=True)
    assert isinstance(change, Blocked), "a restart of the daemon does not help them, and they are not ours"
    unread = docker({"no-new-privileges": True}, ON, containers=(container(process=Unknown("gone")),))
    assert state("no-new-privileges", unread, no_new_privileges=True) is State.UNKNOWN


def test_proxy_processes_are_proof() -> None:
    assert state("userland-proxy", docker({"userland-proxy": False}, proxies=2), userland_proxy=False) is (
        State.PENDING_RESTART
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{\n  "icc": false,,\n}', "line 2 column 16"),
        ("[1]", "not an object"),
        (Unknown(f"{FILE} is a directory"), "directory"),
        ('{"icc": true, "icc": false}', "icc more than once"),
    ],
)
def test_a_broken_file_is_told_and_left_alone(text: Any, word: str) -> None:
    reading = docker(text, running=False, log=("unable to configure the Docker daemon",))
    reading = dataclasses.replace(reading, info=Unknown("the Docker daemon does not run"))
    assert state("daemon-json", reading) is State.FAIL
    assert word in reason("daemon-json", reading)
    assert all(isinstance(change, Blocked) for change in plan(reading, live_restore=True, required=True))
    context, _ = findings(reading)
    change = daemon_json(context, "x", "what", {"icc": False})
    assert isinstance(change, Blocked)
    assert word in change.why


@pytest.mark.parametrize("text", ["", " \n", None, "{}"])
def test_an_empty_file_has_no_keys(text: str | None) -> None:
    context, _ = findings(docker(text))
    change = daemon_json(context, "x", "what", {"icc": False})
    assert isinstance(change, MergeJson)
    assert change.before == text
    assert json.loads(merge_text(change.before, dict(change.put))) == {"icc": False}


@pytest.mark.parametrize(
    ("more", "put", "word"),
    [
        ({"flags": {"icc": "true"}}, {"icc": False}, "command line"),
        ({"flags": {"default-ulimit": "nofile=1:1"}}, {"default-ulimits": {}}, "default-ulimits"),
        ({"unit": Unit(exec_start=START, options="--icc=true", options_source="/etc/default/docker")},
         {"icc": False}, "/etc/default/docker"),
        ({"keys_known": ("icc",)}, {"default-network-opts": {}}, "does not know default-network-opts"),
        ({"keys_known": Unknown("too old")}, {"icc": False}, "too old"),
        ({"containers": Unknown("docker inspect: no")}, {"icc": False}, "not known"),
        ({"containers": (container("web"),)}, {"log-level": "info"}, "would stop web"),
        ({"containers": (container("web"),), "info": {"LiveRestoreEnabled": True}},
         {"icc": False}, "no container runs"),
        ({"containers": (container("web"),), "info": {"LiveRestoreEnabled": True}},
         {"userns-remap": "default"}, "must not outlast"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_told_before_anything_is_written(more: Any, put: Any, word: str) -> None:
    context, _ = findings(docker(**more))
    change = daemon_json(context, "x", "what", put)
    assert isinstance(change, Blocked)
    assert word in change.why
    if "containers" in more and isinstance(more["containers"], tuple):
        context, _ = findings(docker(**more), "container-restart")
        allowed = daemon_json(context, "x", "what", put)
        assert isinstance(allowed, MergeJson)
        assert allowed.interrupts == "restarts docker; stops and starts again: web"


def test_what_a_stop_would_delete_is_not_stopped() -> None:
    context, _ = findings(
        docker(containers=(container("job", auto_remove=True), container("web"))), "container-restart"
    )
    change = daemon_json(context, "x", "what", {"icc": False})
    assert isinstance(change, Blocked)
    assert change.why == "started with --rm, so deleted when stopped: job; stop them yourself, then run again"


def test_containers_keep_running_when_live_restore_comes_first() -> None:
    """Not live yet, but this very run turns it on: the service reloads before it restarts."""
    (change,) = plan(docker(containers=(container("a"), container("b"))), live_restore=True)
    assert isinstance(change, MergeJson)
    assert change.interrupts == "restarts docker; running containers (a, b) keep running (live-restore)"
    assert change.service is not None
    assert change.service.activate.startswith("STOP=0\n")
    context, _ = findings(docker(), "container-restart")
    accepted = daemon_json(context, "x", "what", {"icc": False})
    assert isinstance(accepted, MergeJson)
    assert accepted.service is not None
    assert accepted.service.activate.startswith("STOP=1\n")


def test_a_flag_is_configuration_too() -> None:
    reading = docker({"log-level": "info"}, flags={"live-restore": "true", "log-driver": "journald"})
    assert configured(reading, "live-restore") is True
    assert configured(reading, "log-driver") == "journald"
    assert configured(reading, "log-level") == "info"
    assert configured(reading, "icc") is None


def test_others_limits_and_options_stay() -> None:
    there = {"default-ulimits": {"core": {"Name": "core", "Hard": 0, "Soft": 0}}, "log-opts": {"labels": "a"}}
    changes = plan(docker(there), default_ulimits=ULIMITS, log_opts={"json-file": {"max-size": "1m"}})
    put = {name: value for change in changes if isinstance(change, MergeJson) for name, value in change.put.items()}
    assert put["default-ulimits"] == {**there["default-ulimits"], **ULIMITS_JSON}
    assert put["log-opts"] == {"labels": "a", "max-size": "1m"}


def test_the_old_log_drivers_options_go_with_it() -> None:
    (change,) = plan(docker({"log-opts": {"max-size": "1m"}}), log_driver="journald")
    assert isinstance(change, MergeJson)
    assert change.drop == ("log-opts",)
    assert state("log-opts", docker(), log_opts={"json-file": {"max-size": "1m"}}, log_driver="journald") is (
        State.NOT_APPLICABLE
    )


def test_insecure_registries_go_but_for_the_allowed() -> None:
    live = {"RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8", "10.0.0.0/8"],
                               "IndexConfigs": {"bad.lan": {"Secure": False}}}}  # fmt: skip
    reading = docker({"insecure-registries": ["bad.lan", "10.0.0.0/8", "ok.lan"]}, live)
    assert state("insecure-registries", reading, insecure_registries=["ok.lan"]) is State.FAIL
    (change,) = plan(reading, insecure_registries=["ok.lan"])
    assert isinstance(change, MergeJson)
    assert change.put == {"insecure-registries": ["ok.lan"]}
    assert state("insecure-registries", docker({}, live), insecure_registries=[]) is State.PENDING_RESTART
    (change,) = plan(reading, insecure_registries=[])
    assert isinstance(change, MergeJson)
    assert change.drop == ("insecure-registries",)


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


def test_tcp_that_is_no_api() -> None:
    swarm = {"Swarm": {"LocalNodeState": "active"}}
    reading = docker({"metrics-addr": "127.0.0.1:9323"}, swarm, listeners=("127.0.0.1:9323", "*:2377", "*:7946"))
    assert state("no-tcp", reading, tcp="none") is State.PASS


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
    reading = docker(group_members=("alice", "mal lory"))
    assert state("group-members", reading) is State.NOT_APPLICABLE
    assert state("group-members", reading, trusted_users=["alice", "mal lory"]) is State.PASS
    (change,) = plan(reading, trusted_users=["alice"])
    assert isinstance(change, Command)
    assert change.script == "gpasswd -d 'mal lory' docker"
    assert change.undo == "gpasswd -a 'mal lory' docker"


def spaces(*names: str) -> Process:
    return dataclasses.replace(FREE, host_namespaces=names)


SOCKET_MOUNT = Mount("bind", "/var/run/../run/docker.sock", "/s", False)


@pytest.mark.parametrize(
    ("control", "rule", "fields", "word"),
    [
        ("privileged-containers", "privileged_containers", {"privileged": True}, "is privileged"),
        ("host-namespaces", "host_namespaces", {"process": spaces("pid", "net", "user")}, "pid, net namespaces"),
        ("sensitive-mounts", "sensitive_mounts", {"mounts": (SOCKET_MOUNT,)}, "docker.sock"),
        ("sensitive-mounts", "sensitive_mounts", {"mounts": (Mount("bind", "/etc/", "/e", True),)}, "/etc/ (writable)"),
        ("sensitive-mounts", "sensitive_mounts", {"mounts": (Mount("bind", "/", "/h", True),)}, "/ (writable)"),
    ],
)
def test_containers_are_named_and_left_to_their_owners(control: str, rule: str, fields: Any, word: str) -> None:
    reading = docker(containers=(container("good"), container("bad", **fields)))
    assert state(control, reading) is State.NOT_APPLICABLE
    assert state(control, reading, **{rule: []}) is State.FAIL
    assert reason(control, reading, **{rule: []}).startswith("bad: ")
    assert word in reason(control, reading, **{rule: []})
    assert state(control, reading, **{rule: ["bad"]}) is State.PASS
    (change,) = plan(reading, **{rule: []})
    assert isinstance(change, Blocked)
    assert rule in change.why


@pytest.mark.parametrize(
    "mounts",
    [(Mount("bind", "/etc", "/e", False),), (Mount("volume", "/var/lib/docker/volumes/x/_data", "/e", True),),
     (Mount("bind", "/etc/localtime", "/e", True),), (Mount("bind", "/srv/data", "/e", True),)],
)  # fmt: skip
def test_mounts_that_are_nobodys_business(mounts: Any) -> None:
    assert state("sensitive-mounts", docker(containers=(container(mounts=mounts),)), sensitive_mounts=[]) is State.PASS


def test_a_remapped_daemon_makes_the_hosts_user_namespace_count() -> None:
    reading = docker(info={"SecurityOptions": ["name=userns"]}, containers=(container(process=spaces("user")),))
    assert state("host-namespaces", reading, host_namespaces=[]) is State.FAIL
    plain = docker(containers=(container(process=spaces("user", "cgroup")),))
    assert state("host-namespaces", plain, host_namespaces=[]) is State.PASS


def test_capabilities_beyond_the_default() -> None:
    assert capability_names(DEFAULT_MASK) == DEFAULT_CAPABILITIES
    assert capability_names(1 << 50) == {"50"}
    more = dataclasses.replace(FREE, cap_eff=DEFAULT_MASK | 1 << 12)
    reading = docker(containers=(container(process=more),))
    assert state("capabilities", reading, allowed_capabilities=[]) is State.FAIL
    assert "NET_ADMIN" in reason("capabilities", reading, allowed_capabilities=[])
    assert state("capabilities", reading, allowed_capabilities=["NET_ADMIN"]) is State.PASS
    unread = docker(containers=(container(process=Unknown("gone")),))
    assert state("capabilities", unread, allowed_capabilities=[]) is State.UNKNOWN
    with pytest.raises(ValueError, match="CAP_NET_ADMIN is no capability"):
        DockerRules(allowed_capabilities=["CAP_NET_ADMIN"])


def test_a_daemon_that_does_not_run() -> None:
    dead = dataclasses.replace(
        docker(running=False, log=("failed to start daemon: x", "docker.service: Failed")), info=Unknown("not running")
    )
    assert state("running", dead) is State.FAIL
    assert "failed to start daemon: x" in reason("running", dead)
    assert isinstance(plan(dead)[0], Blocked)
    (start,) = plan(dead, required=True)
    assert isinstance(start, Command)
    assert state("running", docker(installed=False)) is State.NOT_APPLICABLE
    assert isinstance(plan(docker(installed=False), required=True)[0], Blocked)


def test_storage_driver() -> None:
    assert state("storage-driver", docker(), refused_storage_drivers=["aufs"]) is State.PASS
    aufs = docker(info={"Driver": "aufs"})
    assert state("storage-driver", aufs, refused_storage_drivers=["aufs"]) is State.FAIL
    assert isinstance(plan(aufs, refused_storage_drivers=["aufs"])[0], Blocked)


def test_releases() -> None:
    assert read_release("20.10.24+dfsg1-1+b6") == (20, 10)
    assert read_release("5:27.3.1-1~ubuntu.24.04~noble") == (27, 3)
    assert read_release("git-abc") is None
    assert isinstance(known_keys(None), Unknown)
    older, newer = known_keys((20, 10)), known_keys((26, 1))
    assert isinstance(older, tuple)
    assert isinstance(newer, tuple)
    assert "default-network-opts" in newer
    assert "default-network-opts" not in older
    assert {"icc", "userns-remap", "seccomp-profile", "no-new-privileges", "default-ulimits", "hosts"} <= set(older)
