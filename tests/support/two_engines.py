"""A recorded host on which Docker and Podman run containers, and what is found of them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from deploys.containers.controls import RULES
from deploys.containers.rules import ContainersRules
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy
from deploys.seccomp.controls import SeccompRules
from facts.containers import Container, Containers, ContainersReading
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.lsm import Lsm, LsmReading
from facts.processes import Process
from facts.seccomp import Seccomp, SeccompReading
from tests.support.cases import folder
from tests.support.hosts import container, docker, whole

SUBJECT = whole("containers")
NONE: dict[str, Any] = {key: [] for key in ContainersRules.model_fields if key not in ("limits", "unlimited")}


def recorded(case: str) -> ContainersReading:
    lines = json.loads((folder(Containers) / f"{case}.json").read_text())["output"]
    reading = Survey.parse([Containers], lines).readings[Containers]
    assert isinstance(reading, ContainersReading)
    return reading


ON_APPARMOR = [rule.name for rule in RULES if rule.module != "selinux" and not rule.engines]
KERNEL = SeccompReading((), (), (), "x86_64", "6.12.1", profiles={}, daemon_started=None)
HOST = recorded("debian13-docker-podman")
NAMES = {
    "067f": "lim", "edd9": "sidecar", "d1da": "allowall", "ee49": "priv", "d080": "web", "20b1": "user1",
    "c50b": "alias",
}  # fmt: skip
assert isinstance(HOST.containers, tuple)
BY_NAME = {NAMES.get(each.id[:4], each.name): each for each in HOST.containers}


def survey(reading: ContainersReading = HOST, module: str = "apparmor", **of_docker: Any) -> Survey:
    """The host with its Docker, which says no more of its containers than their names."""
    listed = reading.containers if isinstance(reading.containers, tuple) else ()
    known = tuple(docker_row(each) for each in listed if each.engine == "docker")
    lsm = LsmReading((module,), None, None, True, True)
    return Survey(
        {Containers: reading, Docker: docker(**{"containers": known, **of_docker}), Lsm: lsm, Seccomp: KERNEL}
    )


def docker_row(of: Container) -> Any:
    name = NAMES.get(of.id[:4], of.name)
    return container(name, id=of.id, pid=of.pid, privileged=name == "priv")


def finding(name: str, host: Survey, **rules: Any) -> Finding:
    policy = Policy("test", {ContainersRules: ContainersRules(**rules), SeccompRules: SeccompRules()})
    return next(f for f in judge(SUBJECT.controls, host, policy) if f.control.id == f"containers.{name}")


def wrong(name: str, reading: ContainersReading = HOST, **rules: Any) -> dict[str, str]:
    found = finding(name, survey(reading), **(NONE | rules))
    return (
        found.verdict.live
        if found.state in (State.FAIL, State.PENDING_RESTART)
        else {found.state.value: found.verdict.reason}
    )


def only(**more: Any) -> ContainersReading:
    """The host with one container: Docker's `web`, whose process is given otherwise."""
    web = BY_NAME["web"]
    assert isinstance(web.process, Process)
    return dataclasses.replace(
        HOST, containers=(dataclasses.replace(web, process=dataclasses.replace(web.process, **more)),), unlisted=()
    )
