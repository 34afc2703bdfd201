"""How the slice of containers gets its limits, and the tree of control groups its options."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from facts.cgroups import DROP_IN, LXCFS, PROPERTIES, SLICE, Cgroups
from facts.core.reading import known

DELEGATING = ("nsdelegate", "memory_recursiveprot")  # mount options of cgroup2 (cgroup-v2.rst, Mounting)
LXCFS_TEXT = templates.text("cgroups/lxcfs.conf")


def applied(slice_: str) -> str:
    """systemd writes limits into a slice that is there only when a unit starts in it."""
    return f"systemctl daemon-reload && systemd-run -q --wait --collect --slice={slice_} true"


APPLY = applied(SLICE)


def to_write(wanted: Mapping[str, int], failing: Collection[str], ours: str | None) -> dict[str, int]:
    """Of these limits those that do not hold, and those that hullproof's file has already: one that somebody else has
    set lower is not raised by a file that counts later."""
    return {
        limit: value for limit, value in wanted.items() if limit in failing or f"{PROPERTIES[limit]}=" in (ours or "")
    }


def plan_limits(context: Context, wanted: Mapping[str, int], within: Mapping[str, int]) -> Iterator[Change]:
    """The drop-in with all limits. `wanted`: percentages and weights; `within`: what these are on this host."""
    reading = context.survey[Cgroups]
    there, before = known(reading.slice), known(reading.drop_in)
    says = [f"{PROPERTIES[limit]}={value}{'%' * (limit in ('memory', 'pids'))}" for limit, value in wanted.items()]
    what = f"give {SLICE} {', '.join(says)}"
    for limit, used, unit in (("memory", there.memory, "bytes"), ("pids", there.tasks, "tasks")):
        if used is not None and used > within.get(limit, used):
            why = (
                f"containers and guests take {used} {unit} now, and would be stopped by a limit of {within[limit]}: "
                f"have them take less, or raise cgroups.{limit}"
            )
            yield Blocked("cgroups", what, why=why)
            return
    text = templates.render("cgroups/slice.conf.j2", limits=says)
    if text == before:
        yield Command("cgroups", f"have the kernel take up the limits of {SLICE}", script=APPLY, undo="")
        return
    yield WriteFile("cgroups", what, path=DROP_IN, text=text, before=before, activate=APPLY)


def plan_delegation(context: Context) -> Iterator[Change]:
    reading = context.survey[Cgroups]
    if not set(DELEGATING) <= set(reading.options):
        script, undo = (
            f"mount -o remount,{','.join(options)} /sys/fs/cgroup" for options in (DELEGATING, reading.options)
        )
        what = f"mount the tree of control groups with {', '.join(DELEGATING)}"
        yield Command("cgroups", what, script=script, undo=undo)
    if reading.lxcfs and (before := known(reading.lxcfs_drop_in)) != LXCFS_TEXT:
        what = "have lxcfs leave these options when it starts"
        yield WriteFile("cgroups", what, path=LXCFS, text=LXCFS_TEXT, before=before, activate="systemctl daemon-reload")
