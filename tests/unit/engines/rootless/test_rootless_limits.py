"""What each user who may run containers without root takes of the host at most."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.engines.rootless.controls import SUBJECT
from deploys.engines.rootless.rules import RootlessRules
from facts.cgroups import Cgroups, CgroupsReading, SliceReading
from facts.containers import Containers
from facts.core.reading import Block, Section, Unknown
from facts.core.record import Record
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.engines.rootless.rootless import Rootless, RootlessReading
from facts.engines.rootless.slices import LIMITS, UserSlice, read_slices
from facts.userns import Userns
from tests.support import userns
from tests.support.hosts import beside, docker
from tests.support.rootless import NOTHING

GIB = 1 << 30
NONE: dict[str, int | None] = dict.fromkeys(LIMITS)
RIGHT: dict[str, int | None] = {"memory": 2 * GIB, "pids": 2000, "cpu": 50}
WANTED: dict[str, Any] = {"memory": 25, "pids": 20, "cpu": 50}
HOST = CgroupsReading("v2", (), (), (), 8 * GIB, 10_000, Unknown("not asked"), None, False, None)


def of(
    uid: int, declared: Any = NONE, live: Any = None, used: Any = None, tasks: Any = None, text: Any = None
) -> UserSlice:
    return UserSlice(uid, SliceReading(NONE | declared, declared if live is None else live, used, tasks), text)


def context(*slices: UserSlice, cgroups: CgroupsReading = HOST, **rules: Any) -> Context:
    engine = docker({})
    people = userns.reading("", "", passwd={"root": 0, "alice": 1000, "bob": 1001}, group={"root": 0})
    reading = RootlessReading(True, (), (), (), (), slices)
    survey = Survey(
        {
            Rootless: reading,
            Containers: beside(engine),
            Docker: engine,
            Cgroups: cgroups,
            Userns: people,
            Record: NOTHING,
        }
    )
    policy = Policy("p", {RootlessRules: RootlessRules(**({"users": ["alice"]} | rules))})
    return Context(survey, policy, {f.control.id: f for f in judge(SUBJECT.controls, survey, policy)})


def found(limit: str, *slices: UserSlice, **more: Any) -> tuple[State, str]:
    finding = context(*slices, **{limit: WANTED[limit]} | more).findings[f"rootless.{limit}"]
    return finding.state, finding.verdict.reason


def planned(*slices: UserSlice, **more: Any) -> list[Change]:
    return list(SUBJECT.plan(context(*slices, **WANTED | more)))


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_holds_where_it_is_declared_and_the_kernel_has_it(limit: str) -> None:
    assert found(limit, of(1000, RIGHT))[0] is State.PASS
    assert found(limit, of(1000, RIGHT, {}))[0] is State.PASS, "the user is not there now"
    state, reason = found(limit, of(1000), of(1001, RIGHT))
    assert (state, reason.startswith("of alice, ")) == (State.FAIL, True)
    assert found(limit, of(1000, RIGHT, NONE))[0] is State.FAIL
    assert found(limit, of(1000, RIGHT), of(1001), users=["alice", "bob"])[0] is State.FAIL
    assert found(limit, of(1001, RIGHT))[0] is State.UNKNOWN
    assert found(limit, of(1000, RIGHT), users=[])[0] is State.NOT_APPLICABLE
    assert found(limit, of(1000, RIGHT), **{limit: None})[0] is State.NOT_APPLICABLE
    state, reason = found(limit, of(1000, RIGHT), users=["alice", "zoe"])
    assert (state, "zoe is not listed by getent passwd" in reason) == (State.UNKNOWN, True)
    older = dataclasses.replace(HOST, version="v1")
    assert found(limit, of(1000, RIGHT), cgroups=older)[0] is State.FAIL


def test_each_named_user_gets_one_file_that_the_kernel_takes_up_at_once() -> None:
    (change,) = planned(of(1000), of(1001))
    assert isinstance(change, WriteFile)
    assert change.path == "/etc/systemd/system/user-1000.slice.d/zz-hullproof.conf"
    assert change.text.endswith("[Slice]\nMemoryMax=25%\nTasksMax=20%\nCPUWeight=50\n")
    assert "--slice=user-1000.slice" in change.activate
    assert set(change.controls) == {f"rootless.{limit}" for limit in LIMITS}
    assert planned(of(1000, RIGHT, text=change.text)) == []
    assert [type(each) for each in planned(of(1000, RIGHT, NONE, text=change.text))] == [Command]
    assert len(planned(of(1000), of(1001), users=["alice", "bob"])) == 2


def test_a_limit_that_somebody_else_has_set_lower_is_not_raised() -> None:
    (change,) = planned(of(1000, {"memory": GIB}))
    assert isinstance(change, WriteFile)
    assert "MemoryMax" not in change.text
    assert "TasksMax=20%" in change.text


@pytest.mark.parametrize(("used", "tasks", "word"), [(3 * GIB, 5, "bytes"), (GIB, 2500, "tasks")])
def test_a_limit_below_what_a_user_takes_now_is_not_set(used: int, tasks: int, word: str) -> None:
    (blocked,) = planned(of(1000, used=used, tasks=tasks))
    assert isinstance(blocked, Blocked)
    assert word in blocked.why


def test_slices_are_read_as_systemd_and_the_kernel_say_them() -> None:
    said = ("Id=user-1000.slice\nCPUWeight=[not set]\nMemoryMax=infinity\nTasksMax=5162\n\n"
            "Id=user-1001.slice\nCPUWeight=50\nMemoryMax=1024\nTasksMax=7")  # fmt: skip
    at = "/sys/fs/cgroup/user.slice/user-1000.slice"
    live = (
        f"{at}/memory.max:max\n{at}/cpu.weight:100\n{at}/pids.max:5162\n{at}/memory.current:4096\n{at}/pids.current:3"
    )
    path = "/etc/systemd/system/user-1001.slice.d/zz-hullproof.conf"
    blocks = {"slices": Block(0, said), "slices.live": Block(0, live), path: Block(0, "x")}
    alice, bob = read_slices(Section(blocks))  # type: ignore[misc]
    assert alice.limits.declared | {"io": 0} == {"memory": None, "pids": 5162, "cpu": None, "io": 0}
    assert alice.limits.live == {"memory": None, "pids": 5162, "cpu": 100}
    assert (alice.limits.memory, alice.limits.tasks, alice.drop_in) == (4096, 3, None)
    assert (bob.uid, bob.limits.declared["memory"], bob.limits.live, bob.drop_in) == (1001, 1024, {}, "x")
    assert isinstance(read_slices(Section({"slices": Block(1, "no")})), Unknown)
