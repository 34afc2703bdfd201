"""Docker as a subject: its host judged and planned for."""

from __future__ import annotations

import json
from typing import Any

from deploys.core.change import Change, Context
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy
from deploys.engines.docker.controls import SUBJECT
from deploys.engines.docker.rules import DockerRules
from deploys.run import planning
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading, FileMode, Unit, read_daemon_json
from facts.engines.docker.options import known_keys
from facts.networks.networks import Networks
from tests.support import hosts
from tests.support.hosts import networks

FILE = "/etc/docker/daemon.json"
START = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS"
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


def docker(text: Any = None, info: dict[str, Any] | None = None, **more: Any) -> DockerReading:
    values: dict[str, Any] = {
        "daemon_json": read_daemon_json(FILE, json.dumps(text) if isinstance(text, dict) else text),
        "keys_known": known_keys((26, 1)),
        "flags": {"host": "fd://"},
        "sockets": ("/run/docker.sock",),
        "info": {**INFO, **(info or {})},
        "files": (FileMode("/run/docker.sock", "0660", "root", "docker", "socket"),),
        "unit": Unit(exec_start=START, exec_source="/usr/lib/systemd/system/docker.service", socket_mode="0660"),
    }
    return hosts.docker(**{**values, **more})


def survey(reading: DockerReading | Unknown) -> Survey:
    return Survey({Docker: reading, Networks: networks()})


def findings(reading: DockerReading | Unknown, *accept: str, **rules: Any) -> tuple[Context, dict[str, Finding]]:
    policy = Policy("test", {DockerRules: DockerRules.model_validate(rules)}, (), frozenset(accept))
    found = {finding.control.id: finding for finding in judge(SUBJECT.controls, survey(reading), policy)}
    return Context(survey(reading), policy, found), found


def state(control: str, reading: DockerReading | Unknown, **rules: Any) -> State:
    return findings(reading, **rules)[1][f"docker.{control}"].state


def reason(control: str, reading: DockerReading, **rules: Any) -> str:
    return findings(reading, **rules)[1][f"docker.{control}"].verdict.reason


def plan(reading: DockerReading, *accept: str, **rules: Any) -> list[Change]:
    return list(planning.make([SUBJECT], findings(reading, *accept, **rules)[0]).changes)


ULIMITS = {"nofile": {"soft": 1024, "hard": 4096}}
POOL = {"base": "10.200.0.0/16", "size": 24}
