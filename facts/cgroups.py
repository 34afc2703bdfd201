"""Control groups: which hierarchy the host runs, and the controllers that it offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from facts.core.fact import SectionFact
from facts.core.reading import Jsonable, Section, Unknown, known


@dataclass(frozen=True)
class CgroupsReading(Jsonable):
    version: Literal["v1", "v2", "hybrid"]  # hybrid: v1 controllers beside a v2 tree that only tracks processes
    controllers: tuple[str, ...]  # those that the kernel offers and nothing has disabled
    delegated: tuple[str, ...] | Unknown  # v2: those enabled below the root (cgroup.subtree_control)


class Cgroups(SectionFact[CgroupsReading]):
    """cgroups(7): the mounted hierarchies and their controllers."""

    key: ClassVar[str] = "cgroups"
    script: ClassVar[str] = """
run mounts grep -E ' cgroup2? ' /proc/self/mounts
show /proc/cgroups
[ -e /sys/fs/cgroup/cgroup.controllers ] && show /sys/fs/cgroup/cgroup.controllers /sys/fs/cgroup/cgroup.subtree_control
:
"""

    @staticmethod
    def parse(section: Section) -> CgroupsReading:
        kinds = {words[2] for line in known(section.text("mounts")).splitlines() if len(words := line.split()) > 2}
        if not kinds & {"cgroup", "cgroup2"}:
            return known(Unknown("no cgroup file system is mounted"))
        if kinds >= {"cgroup", "cgroup2"}:
            return CgroupsReading("hybrid", _enabled(section), Unknown("only cgroup v2 delegates controllers"))
        if "cgroup" in kinds:
            return CgroupsReading("v1", _enabled(section), Unknown("only cgroup v2 delegates controllers"))
        delegated = section.text("/sys/fs/cgroup/cgroup.subtree_control")
        return CgroupsReading(
            "v2",
            tuple(sorted(known(section.text("/sys/fs/cgroup/cgroup.controllers")).split())),
            delegated if isinstance(delegated, Unknown) else tuple(sorted(delegated.split())),
        )


def _enabled(section: Section) -> tuple[str, ...]:
    """/proc/cgroups: `subsys_name hierarchy num_cgroups enabled`."""
    rows = [line.split() for line in known(section.text("/proc/cgroups")).splitlines() if not line.startswith("#")]
    return tuple(sorted(row[0] for row in rows if len(row) == 4 and row[3] == "1"))
