"""Ranges of engines that overlap another owner's: moved where nothing is stored with their ids, and else named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, Change, WriteFile
from deploys.core.control import State
from deploys.engines.podman.rules import PodmanRules
from deploys.userns.controls import ANOTHER, UsernsRules
from facts.containers import Containers
from facts.core.reading import Unknown
from facts.engines.docker.docker import Docker, DockerReading, Stored
from facts.engines.podman import Podman
from facts.kernel.kernel import Kernel
from facts.userns import SUBGID, SUBUID, Userns
from tests.support.hosts import beside, judged
from tests.support.podman import podman
from tests.support.userns import LIMITED, RULES, SUBJECT, both, context, docker, kernel, reading

ON = {"userns-remap": "dockremap"}
TAKEN = "alice:100000:65536\n"
DOCKERS = f"{TAKEN}dockremap:131072:65536\n"
PODMANS = f"{TAKEN}containers:100000:65536\n"


def of_docker(rows: str = DOCKERS, engine: DockerReading | None = None, accept: str = "", **more: Any) -> list[Change]:
    host = reading(rows, rows, passwd={"root": 0, "alice": 1000, "dockremap": 99})
    return list(SUBJECT.plan(context(host, engine or docker(ON, live=True, **more), accept=accept)))


def of_podman(rows: str = PODMANS, wanted: bool = True, **more: Any) -> list[Change]:
    engine = docker(installed=False, running=False)
    readings = {Userns: reading(rows, rows), Docker: engine, Kernel: kernel(), Podman: podman(**more),
                Containers: beside(engine, also=("podman",))}  # fmt: skip
    rules = PodmanRules(user_namespace="auto" if wanted else None)
    return list(SUBJECT.plan(judged(SUBJECT, UsernsRules(ranges=True), readings, "", rules)))


def rows(changes: list[Change]) -> dict[str, str]:
    return {change.path: change.text for change in changes if isinstance(change, WriteFile)}


def test_docker_without_anything_gets_other_ids() -> None:
    changes = of_docker()
    moved = f"{TAKEN}dockremap:{0x7800_0000}:65536\n"
    assert rows(changes) == {SUBUID: moved, SUBGID: moved}
    (restart,) = (change for change in changes if isinstance(change, Activate))
    assert {change.service for change in changes if isinstance(change, WriteFile)} == {restart.service}
    assert {change.controls for change in changes} == {("userns.ranges",)}
    assert of_docker(moved) == []


@pytest.mark.parametrize(
    ("stored", "named"),
    [(Stored(("app:1",), 1, (), ("ledger",)), "1 image: app:1; 1 volume: ledger"), (Unknown("denied"), "denied")],
)
@pytest.mark.parametrize("accept", ["", "userns-remap container-restart"])
def test_docker_keeps_its_ids_where_it_holds_anything(stored: Any, named: str, accept: str) -> None:
    (blocked,) = of_docker(stored=stored, accept=accept)
    assert isinstance(blocked, Blocked)
    assert "alice:100000:65536 (/etc/subuid) overlaps dockremap:131072:65536 (/etc/subuid)" in blocked.why
    assert named in blocked.why
    assert (blocked.accepts, blocked.controls) == ((), ("userns.ranges",))


def test_docker_that_begins_to_map_gets_ids_that_nobody_has_at_once() -> None:
    changes = of_docker(engine=docker())
    assert rows(changes)[SUBUID] == f"{TAKEN}dockremap:{0x7800_0000}:65536\n"
    assert {change.controls for change in changes} == {("userns.docker-remap", "userns.ranges")}


def test_a_good_row_whose_ids_a_container_of_lxc_has_is_not_used() -> None:
    row = f"dockremap:{0x7800_0000}:65536\n"
    host = reading(row, row, passwd={"root": 0, "dockremap": 99}, lxc=both(0x7800_0000, 9, "web", "web/config"))
    moved = f"dockremap:{0x7801_0000}:65536\n"
    assert rows(list(SUBJECT.plan(context(host)))) == {SUBUID: moved, SUBGID: moved}


def test_what_docker_maps_to_by_another_user_is_not_moved() -> None:
    host = reading(DOCKERS, DOCKERS)
    for engine, rules in ((docker({"userns-remap": "bob"}, live=True), RULES), (docker(ON, live=True), LIMITED)):
        assert rows(list(SUBJECT.plan(context(host, engine, rules=rules)))) == {}


def test_podman_without_anything_gets_other_ids() -> None:
    changes = of_podman()
    moved = f"{TAKEN}containers:{0x7A00_0000}:{64 * 65536}\n"
    assert rows(changes) == {SUBUID: moved, SUBGID: moved}
    assert {change.controls for change in changes} == {("userns.ranges",)}
    assert of_podman(moved) == []


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"volumes": ("data",)}, "1 volumes (data)"),
        ({"held": ("0123456789abcdef",)}, "1 containers on disk (0123456789ab)"),
        ({"held": Unknown("kept elsewhere")}, "kept elsewhere"),
    ],
)
def test_podman_keeps_its_ids_where_something_may_own_them(more: dict[str, Any], named: str) -> None:
    (blocked,) = of_podman(**more)
    assert isinstance(blocked, Blocked)
    assert "containers:100000:65536 (/etc/subuid)" in blocked.why
    assert named in blocked.why
    assert "another range" in blocked.by_hand


def test_where_no_ids_are_free_that_is_said() -> None:
    (blocked,) = of_podman(f"{PODMANS}big:1879048192:300000000\n")
    assert isinstance(blocked, Blocked)
    assert "no 4194304 ids are free" in blocked.why


def test_ids_of_an_engine_that_is_not_hullproofs_to_set_are_left() -> None:
    assert of_podman(installed=False) == of_podman(wanted=False) == []


def test_an_engine_that_could_not_be_read_costs_its_own_move_at_most() -> None:
    host = reading(PODMANS, PODMANS, max_user_namespaces=5)
    rules = UsernsRules(ranges=True, max_user_namespaces=9)
    made = context(host, docker(installed=False), rules=rules)
    made.survey.readings[Podman] = Unknown("podman was not surveyed")
    *raised, blocked = SUBJECT.plan(made)
    assert "max_user_namespaces" in raised[0].what
    assert isinstance(blocked, Blocked)
    assert "podman was not surveyed" in blocked.why


def test_a_range_of_another_owner_is_left_to_the_operator() -> None:
    host = reading(f"{TAKEN}bob:100000:9\n", passwd={"root": 0, "alice": 1000, "bob": 1001})
    made = context(host, docker(ON, live=True))
    assert made.findings["userns.ranges"].state is State.FAIL
    (left,) = SUBJECT.plan(made)
    assert isinstance(left, Blocked)
    assert left.by_hand == ANOTHER


def test_of_a_user_whom_the_policy_names_rootless_says_what_becomes_of_the_range() -> None:
    host = reading(f"{TAKEN}bob:100000:9\n", passwd={"root": 0, "alice": 1000, "bob": 1001})
    made = context(host, docker(ON, live=True))
    finding = made.findings["userns.ranges"]
    for user, left in (("alice", 0), ("carol", 1)):
        named = replace(finding, verdict=replace(finding.verdict, live={user: "shares ids"}))
        findings = {**made.findings, "rootless.ranges": named}
        assert len(list(SUBJECT.plan(replace(made, findings=findings)))) == left


def test_of_two_overlaps_the_one_that_no_engine_mends_is_left_to_the_operator() -> None:
    changes = of_docker(f"{DOCKERS}bob:3000000:9\ncarol:3000000:9\n")
    (left,) = (change for change in changes if isinstance(change, Blocked))
    assert "bob:3000000:9" in left.why
    assert (left.by_hand, left.controls) == (ANOTHER, ("userns.ranges",))
    assert rows(changes)
