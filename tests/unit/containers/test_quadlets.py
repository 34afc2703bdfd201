"""Containers that systemd starts by a file of Podman's: judged before they run, as they would be started."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.containers.rules import ContainersRules
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy
from facts.containers import Container, Containers
from facts.core.reading import Block
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.waiting import Waiting, read_quadlets
from tests.support.hosts import beside, docker, listed, whole

SUBJECT = whole("containers")
AT = "/etc/containers/systemd"


def files(*lines: str) -> tuple[Waiting, ...]:
    return read_quadlets(Block(0, "\n".join(f"{AT}/{line}" for line in lines)))


def found(declared: tuple[Waiting, ...], *running: Container, **rules: Any) -> dict[str, Finding]:
    reading = docker(installed=False, running=False)
    containers = dataclasses.replace(beside(reading, *running, also=("podman",)), declared=declared)
    host = Survey({Containers: containers, Docker: reading})
    policy = Policy("p", {ContainersRules: ContainersRules(**rules)})
    return {f.control.id.partition(".")[2]: f for f in judge(SUBJECT.controls, host, policy)}


def test_what_a_file_asks_for_is_read() -> None:
    (web,) = files(
        "web.container:Image=registry.example/web:2",
        "web.container:PodmanArgs=--privileged --pid host",
        "web.container:Network = host",
        "web.container:AddDevice=-/dev/vda:/dev/vda",
        "web.container:Volume=/etc:/host:ro,z",
        "web.container:Volume=/root:/r",
        "web.container:Volume=data:/data",
    )
    assert web == Waiting(
        "", "systemd-web", f"started by {AT}/web.container", True, ("network", "pid"), ("/dev/vda",),
        (("/etc", False), ("/root", True)), "registry.example/web:2",
    )  # fmt: skip


def test_the_last_value_of_a_key_counts_and_users_files_are_theirs() -> None:
    (web,) = files("web.container:ContainerName=a", "web.container:ContainerName=b", "users/u.container:Image=x")
    assert web.name == "b"


def test_a_drop_in_adds_to_its_file_and_one_that_makes_no_sense_costs_no_other_its_reading() -> None:
    odd, web = files(
        "odd.container:PodmanArgs=--label 'open", "web.container:Image=x",
        "web.container.d/10-more.conf:PodmanArgs=--privileged",
    )  # fmt: skip
    assert (odd.privileged, web.name, web.privileged) == (False, "systemd-web", True)


@pytest.mark.parametrize(
    ("line", "rule", "key"),
    [
        ("PodmanArgs=--privileged", "privileged", "privileged"),
        ("Network=host", "host-namespaces", "host_namespaces"),
        ("AddDevice=/dev/vda", "devices", "devices"),
        ("Volume=/run:/r", "mounts", "mounts"),
    ],
)
def test_one_that_does_not_run_fails_by_what_it_would_start_with(line: str, rule: str, key: str) -> None:
    declared = files(f"web.container:{line}")
    finding = found(declared, **{key: []})[rule]
    assert finding.state is State.FAIL
    assert f"podman:systemd-web is started by {AT}/web.container with" in finding.verdict.reason
    assert found(declared, **{key: ["podman:systemd-web"]})[rule].state.holds


def test_one_that_runs_is_judged_by_its_process() -> None:
    declared = files("web.container:PodmanArgs=--privileged")
    assert found(declared, listed("systemd-web"), privileged=[])["privileged"].state is State.PASS
