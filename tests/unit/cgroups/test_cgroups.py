"""What all containers of a host may take of it: judged on disk and live, and what harden writes for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from deploys.cgroups.controls import CgroupsRules
from deploys.cgroups.plan import LXCFS_TEXT
from deploys.core.change import Blocked, Command, Context, MergeJson, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from facts.cgroups import DROP_IN, LIMITS, LXCFS, Cgroups, CgroupsReading, SliceReading
from facts.containers import Container, Containers
from facts.core.reading import Unknown
from facts.core.survey import Survey
from facts.core.system import System
from facts.engines.docker.docker import Docker, DockerReading
from facts.networks.networks import Networks
from tests.support.cases import folder, read, replaced
from tests.support.hosts import SYSTEM, beside, docker, listed, networks, whole
from tests.support.script import put, run_script

SUBJECT = whole("cgroups")
GIB = 1 << 30
NONE: dict[str, int | None] = dict.fromkeys(LIMITS)
RIGHT: dict[str, int | None] = {"memory": 6 * GIB, "pids": 5000, "cpu": 50, "io": 50}
WANTED: dict[str, Any] = {"memory": 80, "pids": 50, "cpu": 50, "io": 50}


def reading(declared: dict[str, Any] = NONE, live: dict[str, Any] | None = None, **more: Any) -> CgroupsReading:
    used = {key: more.pop(key, None) for key in ("used", "running")}
    kept = SliceReading(NONE | declared, declared if live is None else live, used["used"], used["running"])
    values: dict[str, Any] = {
        "version": "v2", "controllers": (), "delegated": (), "options": ("rw", "nsdelegate", "memory_recursiveprot"),
        "memory": 8 * GIB, "tasks": 10_000, "slice": kept, "drop_in": None, "lxcfs": False, "lxcfs_drop_in": None,
    }  # fmt: skip
    return CgroupsReading(**(values | more))


def context(
    host: CgroupsReading, *running: Container, engine: DockerReading | None = None, accept: str = "", **rules: Any
) -> Context:
    engine = engine or docker({}, info={"CgroupDriver": "systemd"})
    survey = Survey({Cgroups: host, Containers: beside(engine, *running), Docker: engine, Networks: networks(),
                     System: SYSTEM})  # fmt: skip
    policy = Policy("p", {CgroupsRules: CgroupsRules(**rules)}, accept=frozenset(accept.split()))
    return Context(survey, policy, {f.control.id: f for f in judge(SUBJECT.controls, survey, policy)})


def found(host: CgroupsReading, name: str, *running: Container, **more: Any) -> tuple[State, str]:
    finding = context(host, *running, **more).findings[f"cgroups.{name}"]
    return finding.state, finding.verdict.reason


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_holds_where_it_is_declared_and_the_kernel_has_it(limit: str) -> None:
    asked = {limit: WANTED[limit]}
    assert found(reading(RIGHT), limit, **asked)[0] is State.PASS
    assert found(reading(RIGHT, {}), limit, **asked)[0] is State.PASS, "nothing is in the slice yet"
    others = {key: value for key, value in RIGHT.items() if key != limit}
    assert found(reading(RIGHT, others), limit, **asked)[0] is State.FAIL, "the kernel has no such file there"
    assert found(reading(), limit, **asked)[0] is State.FAIL
    late = found(reading(RIGHT, NONE), limit, **asked)
    assert (late[0], "is right on disk, but live it is not set" in late[1]) == (State.FAIL, True)
    assert found(reading(NONE, RIGHT), limit, **asked)[0] is State.FAIL, "a boot loses it"
    stricter = {key: value and value // 2 for key, value in RIGHT.items()}
    assert found(reading(stricter), limit, **asked)[0] is State.PASS
    assert found(reading(RIGHT, version="hybrid"), limit, **asked)[0] is State.FAIL
    assert found(reading(slice=Unknown("no systemd")), limit, **asked)[0] is State.UNKNOWN
    assert found(reading(), limit)[0] is State.NOT_APPLICABLE


def test_a_weight_that_no_disk_heeds_does_not_hold_and_is_set_by_nobody() -> None:
    plain = reading(RIGHT, weightless={"vda": "mq-deadline"})
    state, reason = found(plain, "io", io=50)
    assert (state, "counts for nothing on vda (mq-deadline)" in reason) == (State.FAIL, True)
    assert found(plain, "cpu", cpu=50)[0] is State.PASS
    (blocked,) = SUBJECT.plan(context(plain, **WANTED))
    assert isinstance(blocked, Blocked)
    assert "bfq" in blocked.by_hand
    later = dataclasses.replace(plain, slice=reading().slice)
    assert [type(each) for each in SUBJECT.plan(context(later, **WANTED))] == [WriteFile], "the weight itself first"
    assert found(reading(RIGHT, weightless=Unknown("no")), "io", io=50)[0] is State.UNKNOWN


def test_weights_are_heeded_by_bfq_and_by_what_io_cost_holds() -> None:
    rows = ["/sys/block/sda/dev:8:0", "/sys/block/sda/queue/scheduler:none [mq-deadline] bfq",
            "/sys/block/sdb/dev:8:16", "/sys/block/sdb/queue/scheduler:none mq-deadline [bfq]",
            "/sys/block/nvme0n1/dev:259:0", "/sys/block/nvme0n1/queue/scheduler:[none] mq-deadline",
            "/sys/block/vda/dev:254:0", "/sys/block/vda/queue/scheduler:none",
            "/sys/block/vdb/dev:254:16", "/sys/block/vdb/queue/scheduler:none [multiq_2] bfq",
            "/sys/block/nvme1n1/dev:259:3", "/sys/block/nvme1n1/removable:0", "/sys/block/nvme1n1/size:2048",
            "/sys/block/sr0/dev:11:0", "/sys/block/sr0/removable:1", "/sys/block/sr0/queue/scheduler:[mq-deadline]",
            "/sys/block/sdc/dev:8:32", "/sys/block/sdc/size:0", "/sys/block/sdc/queue/scheduler:[none]",
            "/sys/fs/cgroup/io.cost.qos:259:0 enable=1 ctrl=auto rpct=0.00"]  # fmt: skip
    host = read(folder(Cgroups) / "debian13.json")["output"]
    asked = Cgroups().process([*replaced(host, {"io": [*rows, "", "@n status 0"]})])
    assert isinstance(asked, CgroupsReading)
    assert asked.weightless == {"sda": "mq-deadline", "vda": "none", "vdb": "multiq_2", "nvme1n1": "none"}


def test_a_disk_whose_scheduler_is_hidden_costs_the_others_nothing(tmp_path: Path) -> None:
    put(tmp_path, "/sys/fs/cgroup/io.cost.qos")
    for disk, files in {"nvme0n1": ("dev", "size"), "sda": ("dev", "queue/scheduler"), "loop0": ("dev",)}.items():
        for file in files:
            put(tmp_path, f"/sys/block/{disk}/{file}", {"dev": "8:0", "size": "9"}.get(file, "[mq-deadline] bfq"))
        if disk != "loop0":
            put(tmp_path, f"/sys/block/{disk}/device/model")
    reading = Cgroups.parse(run_script(Cgroups.script, tmp_path))
    assert reading.weightless == {"nvme0n1": "none", "sda": "mq-deadline"}


def test_without_an_engine_nothing_applies() -> None:
    none = docker(installed=False, running=False)
    survey = context(reading(), engine=none, **WANTED, below=["machine.slice"], version="v2", delegation=True)
    assert {f.state for f in survey.findings.values()} == {State.NOT_APPLICABLE}


def test_all_limits_are_one_file_that_the_kernel_takes_up_at_once() -> None:
    (change,) = SUBJECT.plan(context(reading(), **WANTED))
    assert isinstance(change, WriteFile)
    assert change.path == DROP_IN
    assert change.text.endswith("[Slice]\nMemoryMax=80%\nTasksMax=50%\nCPUWeight=50\nIOWeight=50\n")
    assert "--slice=machine.slice" in change.activate
    assert change.controls == tuple(f"cgroups.{limit}" for limit in LIMITS)
    (again,) = SUBJECT.plan(context(reading(RIGHT, NONE, drop_in=change.text), **WANTED))
    assert isinstance(again, Command)


def test_a_limit_that_somebody_else_has_set_lower_is_not_raised() -> None:
    lower = reading({"memory": GIB})
    (change,) = SUBJECT.plan(context(lower, **WANTED))
    assert isinstance(change, WriteFile)
    assert "MemoryMax" not in change.text
    ours = dataclasses.replace(lower, drop_in="[Slice]\nMemoryMax=80%\n")
    (again,) = SUBJECT.plan(context(ours, **WANTED))
    assert isinstance(again, WriteFile)
    assert "MemoryMax=80%" in again.text, "what hullproof has set stays in its file"


@pytest.mark.parametrize(("used", "running", "word"), [(7 * GIB, 10, "bytes"), (GIB, 6000, "tasks")])
def test_a_limit_below_what_runs_now_would_stop_it_and_is_not_set(used: int, running: int, word: str) -> None:
    (blocked,) = SUBJECT.plan(context(reading(used=used, running=running), **WANTED))
    assert isinstance(blocked, Blocked)
    assert word in blocked.why


def test_the_tree_is_mounted_so_that_no_container_lifts_its_own_limits() -> None:
    plain = reading(options=("rw", "nosuid"), lxcfs=True)
    assert found(plain, "delegation", delegation=True)[0] is State.FAIL
    remount, drop_in = SUBJECT.plan(context(plain, delegation=True))
    assert isinstance(remount, Command)
    assert remount.undo == "mount -o remount,rw,nosuid /sys/fs/cgroup"
    assert isinstance(drop_in, WriteFile)
    assert drop_in.path == LXCFS
    undone = found(reading(lxcfs=True), "delegation", delegation=True)
    assert (undone[0], "lxcfs takes them away" in undone[1]) == (State.FAIL, True)
    assert found(reading(lxcfs=True, lxcfs_drop_in=LXCFS_TEXT), "delegation", delegation=True)[0] is State.PASS
    assert found(reading(version="v1"), "delegation", delegation=True)[0] is State.NOT_APPLICABLE


def test_a_container_beside_the_slices_is_named() -> None:
    inside = listed("in", cgroup="/machine.slice/libpod-1.scope")
    beside_it = listed("out", cgroup="/lxc.payload.web")
    assert found(reading(), "below", inside, below=["machine.slice"])[0] is State.PASS
    state, reason = found(reading(), "below", inside, beside_it, below=["machine.slice"])
    assert state is State.FAIL
    assert "podman:out runs in /lxc.payload.web" in reason
    assert "podman:in" not in reason
    gone = dataclasses.replace(inside, process=Unknown("it is gone"))
    assert found(reading(), "below", gone, below=["machine.slice"])[0] is State.UNKNOWN


@pytest.mark.parametrize(
    ("keys", "driver", "stale", "state"),
    [
        ({}, "systemd", False, State.FAIL),
        ({"cgroup-parent": "machine.slice"}, "systemd", False, State.PASS),
        ({"cgroup-parent": "machine.slice"}, "systemd", True, State.PENDING_RESTART),
        ({"cgroup-parent": "system.slice"}, "systemd", False, State.FAIL),
        ({}, "cgroupfs", False, State.NOT_APPLICABLE),
    ],
)
def test_docker_starts_its_containers_there(keys: dict[str, Any], driver: str, stale: bool, state: State) -> None:
    engine = docker(keys, info={"CgroupDriver": driver}, stale=stale, keys_known=("cgroup-parent",))
    said, reason = found(reading(), "docker-parent", engine=engine, below=["machine.slice"])
    assert (said, "not known to be in force" in reason) == (state, state is State.PENDING_RESTART)
    assert found(reading(), "docker-parent", engine=engine, below=["x.slice"])[0] is State.NOT_APPLICABLE
    changes = list(SUBJECT.plan(context(reading(), engine=engine, below=["machine.slice"])))
    if state is State.FAIL:
        (merge,) = changes
        assert isinstance(merge, MergeJson)
        assert merge.put == {"cgroup-parent": "machine.slice"}
