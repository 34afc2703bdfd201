"""Docker: what running containers were allowed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.core.change import Blocked
from deploys.core.control import State
from deploys.engines.docker.containers import capability_names
from deploys.engines.docker.rules import DEFAULT_CAPABILITIES, DockerRules
from facts.core.reading import Unknown
from facts.engines.docker.docker import Mount, Process
from tests.unit.hosts import DEFAULT_MASK, FREE, container
from tests.unit.test_docker import docker, plan, reason, state


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
    with pytest.raises(ValueError, match="CAP_NET_ADMIN is not a capability"):
        DockerRules(allowed_capabilities=["CAP_NET_ADMIN"])
