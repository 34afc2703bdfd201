"""Limits that what starts containers cannot give: no default, and not without a word where they are there already."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import Blocked, MergeJson
from deploys.core.control import State
from facts.core.frame import survey_script
from facts.core.reading import Unknown
from facts.engines.docker.docker import Docker, Starter
from tests.support.docker import docker, plan, reason, state

RULES = {"default_ulimits": {"nofile": {"soft": 1024, "hard": 65536}}}
JSON = {"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 65536, "Soft": 1024}}}


def starter(hard: int = 4096, sys_resource: bool = False, nr_open: int | None = 1048576) -> Starter:
    return Starter("containerd", {"Max open files": hard, "Max locked memory": 8192}, sys_resource, nr_open)


CANNOT = [starter(), starter(sys_resource=True, nr_open=4096), starter(hard=-1, nr_open=4096)]
CAN = [starter(65536), starter(-1), starter(sys_resource=True), starter(65536, nr_open=None), None]


@pytest.mark.parametrize("found", CANNOT)
def test_what_cannot_be_given_is_no_default(found: Starter) -> None:
    (change,) = plan(docker(starter=found), **RULES)
    assert isinstance(change, Blocked)
    assert "no new container starts with nofile=65,536" in change.why
    there = docker(JSON, starter=found)
    assert state("default-ulimits", there, **RULES) is State.FAIL, "on disk and live, and no container starts"
    assert "no new container starts" in reason("default-ulimits", there, **RULES)
    assert all(isinstance(change, Blocked) for change in plan(there, **RULES))


@pytest.mark.parametrize("found", CAN)
def test_what_can_be_given_is(found: Starter | None) -> None:
    (change,) = plan(docker(starter=found), **RULES)
    assert isinstance(change, MergeJson)
    assert state("default-ulimits", docker(JSON, starter=found), **RULES) is State.PASS


def test_no_limit_is_more_than_any() -> None:
    free: dict[str, Any] = {"default_ulimits": {"memlock": {"soft": -1, "hard": -1}}}
    (change,) = plan(docker(starter=starter()), **free)
    assert isinstance(change, Blocked)
    assert "LimitMEMLOCK=" in change.why
    endless: dict[str, Any] = {"default_ulimits": {"nofile": {"soft": 1024, "hard": -1}}}
    (change,) = plan(docker(starter=starter(-1, sys_resource=True)), **endless)
    assert isinstance(change, Blocked)
    assert "fs.nr_open" in change.why


def test_others_limits_count_too() -> None:
    """They stay in daemon.json, and keep containers from starting as well."""
    theirs = {"default-ulimits": {"memlock": {"Name": "memlock", "Hard": -1, "Soft": -1}}}
    (change,) = plan(docker(theirs, starter=starter(65536)), **RULES)
    assert isinstance(change, Blocked)
    assert "memlock" in change.why


def test_limits_that_could_not_be_read() -> None:
    assert state("default-ulimits", docker(JSON, starter=Unknown("no answer")), **RULES) is State.UNKNOWN


STATUS = "Name:\tdockerd\nCapEff:\t{caps}\nLimit Soft Hard Units\nMax open files            1024       {hard}   files"


@pytest.mark.parametrize(
    ("caps", "hard", "ids", "expected"),
    [
        ("000001ffffffffff", "524288", "         0          0 4294967295", (524288, True)),
        ("000001fffeffffff", "unlimited", "         0          0 4294967295", (-1, False)),
        ("000001ffffffffff", "4096", "         0     100000      65536", (4096, False)),
    ],
    ids=["as root", "bounded", "of a user namespace"],
)
def test_reading_the_starter(caps: str, hard: str, ids: str, expected: tuple[int, bool]) -> None:
    text = STATUS.format(caps=caps, hard=hard)
    frame = ["@hullproof n", "@n section docker", "@n block starter", *text.splitlines(), ids, "1048576", "",
             "@n status 0", "@n end docker 0"]  # fmt: skip
    found = Docker().process(frame)
    assert not isinstance(found, Unknown)
    assert isinstance(found.starter, Starter)
    assert (found.starter.hard["Max open files"], found.starter.sys_resource) == expected
    assert found.starter.nr_open == 1048576
    assert "/limits" in survey_script([Docker])
