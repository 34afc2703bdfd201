"""Control groups: containers of every engine live below one slice, whose limits leave the host its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from pydantic import Field

from deploys.cgroups.plan import DELEGATING, LXCFS_TEXT, Limited, plan_delegation, plan_limits, to_write
from deploys.core.change import Change, Context, Subject, by_hand, mending
from deploys.core.control import (
    Check,
    Control,
    Impact,
    Severity,
    Verdict,
    agree,
    failed,
    naming_key,
    not_applicable,
    only_where,
    passed,
    some,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from facts.cgroups import DEFAULT_WEIGHT, DROP_IN, LIMITS, PROPERTIES, SLICE, Cgroups, CgroupsReading
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines import present


class CgroupsRules(Rules):
    """What the containers and guests of a host may take of it, all of them together."""

    version: Literal["v2"] | None = Field(None, description="The host runs version 2 of control groups alone.")
    delegation: Literal[True] | None = Field(
        None, description="No container lifts the limits of its own control group (nsdelegate)."
    )
    below: list[str] | None = Field(
        None,
        description="The control groups below which every container runs, such as machine.slice, user.slice and "
        "kubepods.slice.",
    )
    memory: int | None = Field(
        None, ge=1, le=95, description=f"{SLICE} may take at most this percentage of the host's memory (MemoryMax)."
    )
    pids: int | None = Field(
        None, ge=1, le=95, description=f"{SLICE} may have at most this percentage of the host's tasks (TasksMax)."
    )
    cpu: int | None = Field(
        None, ge=1, le=100, description=f"The CPU weight of {SLICE}; the host's own services have 100 (CPUWeight)."
    )
    io: int | None = Field(
        None, ge=1, le=100, description=f"The I/O weight of {SLICE}; the host's own services have 100 (IOWeight)."
    )


def without_containers(survey: Survey, policy: Policy) -> str | None:
    """A host without an engine pays nothing."""
    return None if present.installed(survey) else "no container engine is installed"


def most(reading: CgroupsReading, limit: str, declared: int) -> int:
    """The most that a limit may be: bytes, tasks or a weight."""
    if limit == "memory":
        return known(reading.memory) * declared // 100
    return known(reading.tasks) * declared // 100 if limit == "pids" else declared


def _limit(limit: str, survey: Survey, policy: Policy) -> Verdict:
    verdict = _of_slice(limit, survey, policy)
    return _heeded(survey[Cgroups], verdict) if limit == "io" and verdict.state.holds else verdict


def _of_slice(limit: str, survey: Survey, policy: Policy) -> Verdict:
    """The limit by itself, whether the disks heed it or not."""
    declared, reading = getattr(policy[CgroupsRules], limit), survey[Cgroups]
    if reading.version != "v2":
        return failed("the host runs version 1 of control groups, in which no slice holds all of it", declared=declared)
    found, least = known(reading.slice), most(reading, limit, declared)
    disk = found.declared.get(limit)
    live = found.live.get(limit) if found.live else disk  # while nothing is in it, what is declared is what will be

    def holds(value: int | None) -> bool:
        return (DEFAULT_WEIGHT if value is None and limit in ("cpu", "io") else value or 1 << 64) <= least

    what = f"{PROPERTIES[limit]} of {SLICE}"
    return agree(declared=least, disk=disk, live=live, impact=Impact.NONE, holds=holds, what=what)


def _heeded(reading: CgroupsReading, verdict: Verdict) -> Verdict:
    """A weight counts on a disk alone whose scheduler heeds it."""
    if not (disks := known(reading.weightless)):
        return verdict
    where = some(f"{disk} ({scheduler})" for disk, scheduler in disks.items())
    return failed(
        f"{verdict.reason}, but counts for nothing on {where}: only the scheduler bfq and io.cost heed weights",
        declared=verdict.declared, disk=verdict.disk, live=disks,
    )  # fmt: skip


def on_cgroups(key: str, wanted: str = "") -> Callable[[Check], Check]:
    name = f"cgroups.{key}"
    where = only_where(without_containers, undeclared(CgroupsRules, name))
    return lambda check: where(naming_key(name, wanted)(check))


@on_cgroups("version")
def _version(survey: Survey, policy: Policy) -> Verdict:
    version = survey[Cgroups].version
    if version == "v2":
        return passed("the host runs version 2 of control groups", declared="v2", disk=None, live=version)
    return failed(f"the host runs version {version} of control groups", declared="v2", disk=None, live=version)


@on_cgroups("delegation", "that no container lifts its own limits")
def _delegation(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[Cgroups]
    if reading.version != "v2":
        return not_applicable("only version 2 of control groups can be mounted so")
    read = {"declared": list(DELEGATING), "live": list(reading.options)}
    missing = [option for option in DELEGATING if option not in reading.options]
    if missing:
        return failed(f"the tree of control groups is mounted without {some(missing)}", **read)
    if reading.lxcfs and known(reading.lxcfs_drop_in) != LXCFS_TEXT:
        return failed(
            f"the tree is mounted with {some(DELEGATING)} now, but lxcfs takes them away when it starts", **read
        )
    return passed("no container lifts its own limits", **read)


@on_cgroups("below")
def _below(survey: Survey, policy: Policy) -> Verdict:
    declared = policy[CgroupsRules].below or []
    outside, unread = {}, [*present.unseen(survey)]
    for each in present.running(survey):
        if isinstance(each.process, Unknown):
            unread.append(f"{each.shown}: {each.process.unknown}")
        elif not any(each.process.cgroup.startswith(f"/{slice_}/") for slice_ in declared):
            outside[each.shown] = each.process.cgroup
    if outside:
        rows = [f"{name} runs in {group}" for name, group in outside.items()]
        return failed(some(rows, 8), declared=declared, disk=None, live=outside)
    if unread:
        raise UnknownReading(some(unread))
    return passed("every container runs below one of them", declared=declared, disk=None, live={})


_WHY = {
    "memory": "All containers together take the memory of the host's own services: sshd, journald, the engine.",
    "pids": "A fork bomb takes the last process number, and nobody logs in any more to stop it.",
    "cpu": "Under load the host's own services get no more time than one container.",
    "io": "Under load the host's own services get no more of its disks than one container.",
}
_TITLES = {
    "memory": "Containers leave the host memory of its own",
    "pids": "Containers leave the host processes of its own",
    "cpu": "The host's own services come before containers on its processors",
    "io": "The host's own services come before containers on its disks",
}
_BY_HAND = {
    "io": "give these disks the scheduler bfq where their load allows it (a udev rule with ATTR{queue/scheduler}), "
    "or have io.cost hold them (io.cost.qos), or leave cgroups.io out of the policy",
}
CONTROLS = (
    Control(
        id="cgroups.version",
        title="The host runs version 2 of control groups",
        severity=Severity.LOW,
        why="Version 1 has no one tree in which a limit holds for all of it, and no container may manage its own part.",
        check=_version,
        by_hand="take systemd.unified_cgroup_hierarchy=0 out of the kernel's command line, and reboot",
        impact=Impact.REBOOT,
    ),
    Control(
        id="cgroups.delegation",
        title="No container lifts the limits of its own control group",
        severity=Severity.MEDIUM,
        why="Without nsdelegate, root in a container writes max into its own limit.",
        check=_delegation,
        by_hand="mount -o remount,nsdelegate,memory_recursiveprot /sys/fs/cgroup",
    ),
    Control(
        id="cgroups.below",
        title="Every container runs below a slice that the policy names",
        severity=Severity.MEDIUM,
        why="What runs beside the slice takes from the host what its limits are to keep.",
        check=_below,
        by_hand=f"set the engine's parent group to {SLICE} (Docker: cgroup-parent; LXC: lxc.cgroup.dir), and have the "
        "containers made again, or started again where that is enough",
        references=("NIST-800-190-4.4.3",),
    ),
    *(
        Control(
            id=f"cgroups.{limit}",
            title=_TITLES[limit],
            severity=Severity.MEDIUM,
            why=_WHY[limit],
            check=on_cgroups(limit)(partial(_limit, limit)),
            by_hand=_BY_HAND.get(limit, f"set it in a drop-in of {SLICE}"),
            references=("NIST-800-190-4.4.3",),
            files=(DROP_IN,),
        )
        for limit in LIMITS
    ),
)


def plan(context: Context) -> Iterator[Change]:
    for control in context.which("cgroups.version", "cgroups.below"):
        yield by_hand(context.findings[control])
    if context.failing("cgroups.delegation"):
        yield from mending(["cgroups.delegation"], plan_delegation(context))
    failing = context.which(*(f"cgroups.{limit}" for limit in LIMITS))
    if "cgroups.io" in failing and _of_slice("io", context.survey, context.policy).state.holds:
        yield by_hand(context.findings["cgroups.io"])
        failing = tuple(control for control in failing if control != "cgroups.io")
    if failing:
        rules = context.policy[CgroupsRules]
        wanted = {limit: getattr(rules, limit) for limit in LIMITS if getattr(rules, limit) is not None}
        ours = known(context.survey[Cgroups].drop_in)
        wanted = to_write(wanted, [control.removeprefix("cgroups.") for control in failing], ours)
        within = {limit: most(context.survey[Cgroups], limit, percent) for limit, percent in wanted.items()}
        yield from mending(failing, [plan_limits(_limited(context.survey[Cgroups]), wanted, within)])


def _limited(reading: CgroupsReading) -> Limited:
    return Limited(
        subject="cgroups", slice=SLICE, shown=SLICE, who="containers and guests",
        head="what all containers and guests of this host may take of it together.",
        reading=known(reading.slice), path=DROP_IN, before=known(reading.drop_in),
    )  # fmt: skip


SUBJECT = Subject(
    name="cgroups",
    rules=CgroupsRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Cgroups, *present.FACTS),
    unproved="an attempt would have to take the memory and the processes of the host's own services; tests/lab does",
)
