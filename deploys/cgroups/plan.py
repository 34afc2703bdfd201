"""How a slice gets its limits, and the tree of control groups its options."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from facts.cgroups import LXCFS, PROPERTIES, Cgroups, SliceReading
from facts.core.reading import known

DELEGATING = ("nsdelegate", "memory_recursiveprot")  # mount options of cgroup2 (cgroup-v2.rst, Mounting)
LXCFS_TEXT = templates.text("cgroups/lxcfs.conf")


def applied(slice_: str) -> str:
    """systemd writes limits into a slice that is there only when a unit starts in it."""
    return f"systemctl daemon-reload && systemd-run -q --wait --collect --slice={slice_} true"


def to_write(wanted: Mapping[str, int], failing: Collection[str], ours: str | None) -> dict[str, int]:
    """Of these limits those that do not hold, and those that hullproof's file has already: one that somebody else has
    set lower is not raised by a file that counts later."""
    return {
        limit: value for limit, value in wanted.items() if limit in failing or f"{PROPERTIES[limit]}=" in (ours or "")
    }


@dataclass(frozen=True)
class Limited:
    """A slice that gets limits from `subject`. `shown`: how it is named; `who` runs in it; `head` says in its file what
    that is for; `before`: hullproof's own file `path`, as it is."""

    subject: str
    slice: str
    shown: str
    who: str
    head: str
    reading: SliceReading
    path: str
    before: str | None


def plan_limits(limited: Limited, wanted: Mapping[str, int], within: Mapping[str, int]) -> Change:
    """The drop-in with all limits. `wanted`: percentages and weights; `within`: what these are on this host."""
    says = [f"{PROPERTIES[limit]}={value}{'%' * (limit in ('memory', 'pids'))}" for limit, value in wanted.items()]
    subject, what = limited.subject, f"give {limited.shown} {', '.join(says)}"
    for limit, used, unit in (("memory", limited.reading.memory, "bytes"), ("pids", limited.reading.tasks, "tasks")):
        if used is not None and used > within.get(limit, used):
            why = f"{limited.who} take {used} {unit} now, and would be stopped by a limit of {within[limit]}"
            return Blocked(subject, what, why=why, by_hand=f"have them take less, or raise {subject}.{limit}")
    text = templates.render("cgroups/slice.conf.j2", head=limited.head, limits=says)
    apply = applied(limited.slice)
    if text == limited.before:
        return Command(subject, f"have the kernel take up the limits of {limited.slice}", script=apply, undo="")
    return WriteFile(subject, what, path=limited.path, text=text, before=limited.before, activate=apply)


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
