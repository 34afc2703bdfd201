"""Docker: controls, plan and the merge into daemon.json, from readings alone."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, Command, MergeJson
from deploys.core.control import State
from deploys.core.json_merge import merge_text
from deploys.engines.docker.controls import SUBJECT
from deploys.engines.docker.daemon import configured, daemon_json
from facts.core.reading import Unknown
from facts.engines.docker.docker import Malformed, Unit
from facts.engines.docker.options import known_keys, read_release
from tests.support.docker import FILE, POOL, START, ULIMITS, docker, findings, plan, reason, state
from tests.support.hosts import container

ULIMITS_JSON = {"nofile": {"Name": "nofile", "Hard": 4096, "Soft": 1024}}
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
        "default_ulimits": ULIMITS, "default_address_pools": [POOL], "iptables": True, "ip6tables": True,
        "tcp": "none", "relays": [],
        "insecure_registries": [], "experimental": False, "refused_storage_drivers": ["aufs"], "file_modes": True,
        "trusted_users": [],
    }  # fmt: skip
    nothing = Unknown("no sudo")
    assert state(control, nothing, **everything) is State.UNKNOWN
    context, _ = findings(nothing, **everything)
    assert not any(finding.state is not State.UNKNOWN for finding in context.findings.values())
    absent = docker(installed=False, running=False, info=None, containers=nothing)
    expected = State.FAIL if control == "running" else State.NOT_APPLICABLE
    assert state(control, absent, **everything) is expected
    silent = docker(running=nothing, containers=nothing, listeners=nothing, networks=nothing)
    silent = dataclasses.replace(silent, info=nothing)
    if control not in ("daemon-json", "file-modes", "group-members", "sudo", "relays", "other-daemons"):
        assert state(control, silent, **everything) is State.UNKNOWN


def test_live_restore_is_not_for_a_swarm() -> None:
    swarm = docker(info={"Swarm": {"LocalNodeState": "active"}})
    assert state("live-restore", swarm, live_restore=True) is State.NOT_APPLICABLE
    assert "swarm" in reason("live-restore", swarm, live_restore=True)


def test_a_key_that_this_dockerd_does_not_have() -> None:
    old = docker(keys_known=("icc",), version="1.13")
    assert state("live-restore", old, live_restore=True) is State.NOT_APPLICABLE


def test_proxy_processes_are_proof() -> None:
    assert state("userland-proxy", docker({"userland-proxy": False}, proxies=2), userland_proxy=False) is (
        State.PENDING_RESTART
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{\n  "icc": false,,\n}', "line 2 column 16"),
        ("[1]", "not an object"),
        (Malformed(f"{FILE} is a directory"), "directory"),
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
    change = daemon_json(context, "x", "what", put={"icc": False})
    assert isinstance(change, Blocked)
    assert word in change.why


@pytest.mark.parametrize("text", ["", " \n", None, "{}"])
def test_an_empty_file_has_no_keys(text: str | None) -> None:
    context, _ = findings(docker(text))
    change = daemon_json(context, "x", "what", put={"icc": False})
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
        ({"keys_known": ("icc",)}, {"default-network-opts": {}}, "does not support default-network-opts"),
        ({"keys_known": Unknown("too old")}, {"icc": False}, "too old"),
        ({"containers": Unknown("docker inspect: no")}, {"icc": False}, "cannot determine which"),
        ({"containers": (container("web"),)}, {"log-level": "info"}, "would stop web"),
        ({"containers": (container("web"),), "info": {"LiveRestoreEnabled": True}},
         {"icc": False}, "starts without running containers"),
        ({"containers": (container("web"),), "info": {"LiveRestoreEnabled": True}},
         {"userns-remap": "default"}, "changes the user namespace"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_told_before_anything_is_written(more: Any, put: Any, word: str) -> None:
    context, _ = findings(docker(**more))
    change = daemon_json(context, "x", "what", put=put)
    assert isinstance(change, Blocked)
    assert word in change.why
    if "containers" in more and isinstance(more["containers"], tuple):
        context, _ = findings(docker(**more), "container-restart")
        allowed = daemon_json(context, "x", "what", put=put)
        assert isinstance(allowed, MergeJson)
        assert allowed.interrupts == "restarts docker; stops and starts web"


def test_what_a_stop_would_delete_is_not_stopped() -> None:
    context, _ = findings(
        docker(containers=(container("job", auto_remove=True), container("web"))), "container-restart"
    )
    change = daemon_json(context, "x", "what", put={"icc": False})
    assert isinstance(change, Blocked)
    assert change.reason == "stopping would delete job (started with --rm). Stop them yourself, then run again"


def test_containers_keep_running_when_live_restore_comes_first() -> None:
    """Not live yet, but this very run turns it on: the service reloads before it restarts."""
    (change,) = plan(docker(containers=(container("a"), container("b"))), live_restore=True)
    assert isinstance(change, MergeJson)
    assert change.interrupts == "restarts docker; running containers keep running (live-restore): a, b"
    assert change.service is not None
    assert change.service.activate.startswith("STOP=0\n")
    context, _ = findings(docker(), "container-restart")
    accepted = daemon_json(context, "x", "what", put={"icc": False})
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
    there: dict[str, dict[str, Any]] = {
        "default-ulimits": {"core": {"Name": "core", "Hard": 0, "Soft": 0}},
        "log-opts": {"labels": "a"},
    }
    changes = plan(docker(there), default_ulimits=ULIMITS, log_opts={"json-file": {"max-size": "1m"}})
    put = {name: value for change in changes if isinstance(change, MergeJson) for name, value in change.put.items()}
    assert put["default-ulimits"] == {**there["default-ulimits"], **ULIMITS_JSON}
    assert put["log-opts"] == {"labels": "a", "max-size": "1m"}


def test_options_that_the_new_log_driver_is_to_have_do_not_go_with_the_old_one() -> None:
    there = {"log-driver": "journald", "log-opts": {"max-size": "1m"}}
    planned = plan(docker(there, {**ON, "LoggingDriver": "local"}), log_driver="local",
                   log_opts={"local": {"max-size": "1m"}})  # fmt: skip
    (merge,) = [change for change in planned if isinstance(change, MergeJson)]
    assert (merge.put, merge.drop) == ({"log-driver": "local"}, ())


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


def test_mirrors_without_tls_count_as_registries_without() -> None:
    mirrors = ["http://mirror.lan/", "https://good.lan", "http://127.0.0.1:5000"]
    live = {"RegistryConfig": {"Mirrors": mirrors}}
    reading = docker({"registry-mirrors": mirrors}, live)
    assert state("insecure-registries", reading, insecure_registries=[]) is State.FAIL
    assert "mirror.lan" in reason("insecure-registries", reading, insecure_registries=[])
    assert state("insecure-registries", reading, insecure_registries=["mirror.lan"]) is State.PASS
    (change,) = plan(reading, insecure_registries=[])
    assert isinstance(change, MergeJson)
    assert (change.put, change.drop) == ({"registry-mirrors": mirrors[1:]}, ())
    assert state("insecure-registries", docker({}, live), insecure_registries=[]) is State.PENDING_RESTART


def test_debug_wins_over_the_level_of_the_log() -> None:
    noisy = docker({"debug": True, "log-level": "info"}, {"Debug": True})
    assert state("log-level", noisy, log_level="info") is State.FAIL
    (change,) = plan(noisy, log_level="info")
    assert isinstance(change, MergeJson)
    assert (change.put, change.drop) == ({"log-level": "info"}, ("debug",))
    assert state("log-level", docker({}, {"Debug": True}), log_level="info") is State.PENDING_RESTART
    assert state("log-level", docker({}, {"Debug": False}), log_level="info") is State.PASS
    flag = docker({}, {"Debug": True}, flags={"debug": "true"})
    assert state("log-level", flag, log_level="debug") is State.PASS
    (change,) = plan(flag, log_level="info")
    assert isinstance(change, Blocked)
    assert "remove that option" in change.why


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
    assert {"data-root", "fixed-cidr", "max-concurrent-uploads", "node-generic-resources"} <= set(older)
    assert not [name for name in older if name.endswith("-")]
