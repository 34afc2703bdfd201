"""Containers that do not run just now and would be started with what no container may have."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.containers.rules import ContainersRules
from deploys.core.change import Blocked, Context
from deploys.core.control import State, Verdict, judge
from deploys.core.policy import Policy
from deploys.seccomp.controls import SeccompRules
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.engines.docker.containers import read_waiting
from facts.engines.docker.docker import Docker, DockerReading
from tests.support.cases import folder, read
from tests.support.hosts import beside, listed, whole

SUBJECT = whole("containers")


def recorded() -> DockerReading:
    reading = Docker().process(read(folder(Docker) / "debian13-not-running.json")["output"])
    assert isinstance(reading, DockerReading)
    return reading


RECORDED = recorded()


def judged(name: str, rules: dict[str, Any], reading: DockerReading = RECORDED) -> Verdict:
    host = Survey({Containers: beside(reading), Docker: reading})
    policy = Policy("p", {ContainersRules: ContainersRules(**rules), SeccompRules: SeccompRules()})
    findings = {f.control.id: f for f in judge(SUBJECT.controls, host, policy)}
    planned = SUBJECT.plan(Context(host, policy, findings))
    assert all(isinstance(each, Blocked) for each in planned), "nobody starts what does not run"
    return findings[f"containers.{name}"].verdict


@pytest.mark.parametrize(
    ("name", "key", "wrong"),
    [
        ("privileged", "privileged", {
            "backup": "is created with --privileged and would start so",
            "ended": "is stopped with --privileged and would start so",
            "restarting": "is stopped with --privileged and would start so"}),
        ("host-namespaces", "host_namespaces", {
            "mnt": "is created with --network host, --pid host, --ipc host, --uts host and would start so"}),
        ("devices", "devices", {"mnt": "is created with --device /dev/kmsg and would start so"}),
        ("mounts", "mounts", {
            "mnt": "is created with the host's /run/docker.sock mounted and would start so",
            "mnt2": "is created with the host's /run (with /run/docker.sock in it) mounted and would start so"}),
    ],
)  # fmt: skip
def test_what_a_real_host_would_start(name: str, key: str, wrong: dict[str, str]) -> None:
    """`ended2` has ended for good, and mnt2 would have /etc to read."""
    found = judged(name, {key: []})
    assert (found.state, found.live) == (State.FAIL, wrong)
    assert judged(name, {key: list(wrong)}).state is State.PASS
    assert judged("user-namespace", {"host_ids": []}).state is State.PASS, "of other rules only a process can tell"


@pytest.mark.parametrize(
    ("name", "key", "asked", "option"),
    [
        ("seccomp", "unfiltered", {"security": ("seccomp=unconfined",)}, "--security-opt seccomp=unconfined"),
        ("masks", "unmasked", {"security": ("systempaths=unconfined",)}, "--security-opt systempaths=unconfined"),
        ("user-namespace", "host_ids", {"user_namespace": "host"}, "--userns host"),
        ("capabilities", "capabilities", {"capabilities": ("CHOWN", "ALL")}, "--cap-add ALL"),
    ],
)
def test_what_one_that_waits_was_asked_for_counts(name: str, key: str, asked: dict[str, Any], option: str) -> None:
    assert isinstance(RECORDED.waiting, tuple)
    waiting = (dataclasses.replace(RECORDED.waiting[0], name="odd", **asked),)
    found = judged(name, {key: []}, dataclasses.replace(RECORDED, waiting=waiting))
    assert found.live == {"odd": f"is {waiting[0].status} with {option} and would start so"}


def test_what_docker_was_asked_for_is_read() -> None:
    host = {"privileged": False, "devices": [], "security_opt": ["label:disable", "seccomp=unconfined"],
            "cap_add": ["CAP_SYS_ADMIN", "kill"], "userns_mode": "host"}  # fmt: skip
    row = {"id": "1", "name": "/odd", "pid": 0, "status": "created", "host": host}
    (odd,) = read_waiting([row])  # type: ignore[misc]
    assert (odd.security, odd.capabilities, odd.user_namespace) == (
        ("label=disable", "seccomp=unconfined"), ("SYS_ADMIN", "KILL"), "host",
    )  # fmt: skip


def test_where_docker_does_not_say_it_is_not_known() -> None:
    silent = dataclasses.replace(RECORDED, waiting=Unknown("no answer"))
    assert judged("privileged", {"privileged": []}, silent).state is State.UNKNOWN
    stopped = dataclasses.replace(RECORDED, running=False, containers=Unknown("it"), waiting=Unknown("does not run"))
    assert judged("privileged", {"privileged": []}, stopped).state is State.PASS


def test_who_accepts_one_that_runs_does_not_accept_one_that_waits() -> None:
    host = Survey({Containers: beside(RECORDED, listed("web")), Docker: RECORDED})
    policy = Policy("p", {ContainersRules: ContainersRules(privileged=["web"]), SeccompRules: SeccompRules()})
    [found] = [f for f in judge(SUBJECT.controls, host, policy) if f.control.id == "containers.privileged"]
    assert set(found.verdict.live) == {"backup", "ended", "restarting"}
