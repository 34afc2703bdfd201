"""Control groups: which hierarchy the host runs, its controllers, and the slice that containers share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from facts.core.fact import SectionFact
from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown, known

ROOT = "/sys/fs/cgroup"
SLICE = "machine.slice"  # where systemd, Podman, nspawn and libvirt put containers and guests (systemd.special(7))
DROP_IN = f"/etc/systemd/system/{SLICE}.d/zz-hullproof.conf"
LXCFS = "/etc/systemd/system/lxcfs.service.d/zz-hullproof.conf"  # hullproof's too
LIMITS = ("memory", "pids", "cpu", "io")
# By limit: systemd's name of it (systemd.resource-control(5)), and the kernel's file (cgroup-v2.rst).
PROPERTIES = {"memory": "MemoryMax", "pids": "TasksMax", "cpu": "CPUWeight", "io": "IOWeight"}
FILES = {"memory": "memory.max", "pids": "pids.max", "cpu": "cpu.weight", "io": "io.weight"}
HEEDING = "bfq"  # the one scheduler of disks that heeds weights (block/bfq-iosched.rst); else io.cost.qos does
USED = ("memory.current", "pids.current")
DEFAULT_WEIGHT = 100


@dataclass(frozen=True)
class SliceReading(Jsonable):
    """A slice. A limit that is not set is None: of memory in bytes, of tasks, weights from 1 to 10,000."""

    declared: dict[str, int | None]  # by LIMITS: what systemd has from its files
    live: dict[str, int | None]  # what the kernel has; {} while nothing is in the slice
    memory: int | None  # bytes in use there now
    tasks: int | None  # and tasks


@dataclass(frozen=True)
class CgroupsReading(Jsonable):
    version: Literal["v1", "v2", "hybrid"]  # hybrid: v1 controllers beside a v2 tree that only tracks processes
    controllers: tuple[str, ...]  # those that the kernel offers and nothing has disabled
    delegated: tuple[str, ...] | Unknown  # v2: those enabled below the root (cgroup.subtree_control)
    options: tuple[str, ...]  # how the v2 tree is mounted: nsdelegate, memory_recursiveprot …
    memory: int | Unknown  # bytes that the host has
    tasks: int | Unknown  # the most that the host may have
    slice: SliceReading | Unknown
    drop_in: str | Unknown | None  # hullproof's own file for the slice
    lxcfs: bool  # lxcfs.service is there, which mounts the tree again at each start, without options
    lxcfs_drop_in: str | Unknown | None
    # By disk, the scheduler of those on which weights count for nothing: of another one, and without io.cost.
    weightless: dict[str, str] | Unknown = field(default_factory=dict)


class Cgroups(SectionFact[CgroupsReading]):
    """cgroups(7): the mounted hierarchies and their controllers; systemd.resource-control(5)."""

    key: ClassVar[str] = "cgroups"
    script: ClassVar[str] = f"""
run mounts grep -E ' cgroup2? ' /proc/self/mounts
show /proc/cgroups
[ -e {ROOT}/cgroup.controllers ] && show {ROOT}/cgroup.controllers {ROOT}/cgroup.subtree_control
run totals grep -sHE '^(MemTotal: +)?[0-9]+' /proc/meminfo /proc/sys/kernel/pid_max /proc/sys/kernel/threads-max
if [ -d /run/systemd/system ]; then
  run declared systemctl show -p {",".join(PROPERTIES.values())} {SLICE}
  run live grep -sH '' {" ".join(f"{ROOT}/{SLICE}/{file}" for file in (*FILES.values(), *USED))}
fi
show {DROP_IN} {LXCFS}
disks=; for d in /sys/block/*; do
  [ -e "$d/device" ] || continue
  for f in $d/dev $d/removable $d/size $d/queue/scheduler; do [ ! -r "$f" ] || disks="$disks $f"; done
done
# shellcheck disable=SC2086 # paths without blanks
run io grep -sH '' $disks {ROOT}/io.cost.qos /dev/null
run lxcfs ls /usr/lib/systemd/system/lxcfs.service
:
"""

    @staticmethod
    def parse(section: Section) -> CgroupsReading:
        rows = [words for line in known(section.text("mounts")).splitlines() if len(words := line.split()) > 3]
        kinds = {words[2] for words in rows}
        if not kinds & {"cgroup", "cgroup2"}:
            return known(Unknown("no cgroup file system is mounted"))
        version: Literal["v1", "v2", "hybrid"] = "hybrid" if len(kinds) == 2 else "v1" if "cgroup" in kinds else "v2"
        controllers, delegated = _offered(section) if version == "v2" else _enabled(section)
        return CgroupsReading(
            version=version,
            controllers=controllers,
            delegated=delegated,
            options=_options(rows),
            memory=_memory(section),
            tasks=_tasks(section),
            slice=_slice(section),
            drop_in=section.file(DROP_IN),
            lxcfs=section.blocks.get("lxcfs", Block(1, "")).status == 0,
            lxcfs_drop_in=section.file(LXCFS),
            weightless=_weightless(section),
        )


def _offered(section: Section) -> tuple[tuple[str, ...], tuple[str, ...] | Unknown]:
    delegated = section.text(f"{ROOT}/cgroup.subtree_control")
    controllers = tuple(sorted(known(section.text(f"{ROOT}/cgroup.controllers")).split()))
    return controllers, delegated if isinstance(delegated, Unknown) else tuple(sorted(delegated.split()))


def _options(rows: list[list[str]]) -> tuple[str, ...]:
    said = next((words[3] for words in rows if words[2] == "cgroup2"), "")
    return tuple(option for option in said.split(",") if option)


def _memory(section: Section) -> int | Unknown:
    text = section.blocks.get("totals", Block(0, "")).text
    found = re.search(r"^/proc/meminfo:MemTotal: +([0-9]{1,15}) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else Unknown("/proc/meminfo was not read")


def _tasks(section: Section) -> int | Unknown:
    text = section.blocks.get("totals", Block(0, "")).text
    found = [int(number) for number in re.findall(r"^/proc/sys/kernel/[a-z_-]+:([0-9]{1,10})$", text, re.MULTILINE)]
    return min(found) if len(found) == 2 else Unknown("kernel.pid_max was not read")


def _slice(section: Section) -> SliceReading | Unknown:
    block = section.blocks.get("declared")
    if block is None:
        return Unknown("the host does not run systemd, so that nothing keeps containers in a slice")
    if block.status != 0:
        return Unknown(f"systemctl: {block.complaint}")
    said = dict(line.partition("=")[::2] for line in block.text.splitlines())
    text = section.blocks.get("live", Block(0, "")).text
    return read_slice(said, dict(re.findall(rf"^{ROOT}/{SLICE}/([a-z.]+):(.+)$", text, re.MULTILINE)))


def read_slice(said: Mapping[str, str], text: Mapping[str, str]) -> SliceReading:
    """Of what systemctl says of a slice, and of the text of its control group's files."""
    rows = ((name, re.fullmatch("(?:default )?([a-z0-9]+)", line)) for name, line in text.items())
    files = {name: row[1] for name, row in rows if row}
    return SliceReading(
        declared={limit: _number(said.get(name, "")) for limit, name in PROPERTIES.items()},
        live={limit: whole_number(files[name]) for limit, name in FILES.items() if name in files},
        memory=whole_number(files.get("memory.current", "")),
        tasks=whole_number(files.get("pids.current", "")),
    )


def _weightless(section: Section) -> dict[str, str] | Unknown:
    """cgroup-v2.rst, IO: io.cost.qos has a line `MAJOR:MINOR enable=1 …` for each disk that it holds to weights. A disk
    that shows no scheduler has none; a drive for disks that come and go, or without one, is passed over."""
    block = section.blocks.get("io")
    if block is None or block.status > 1:
        return Unknown("the schedulers of the disks were not read")
    disks = dict(re.findall(r"^/sys/block/([^/:]+)/dev:([0-9:]+)$", block.text, re.MULTILINE))
    costed = re.findall(rf"^{ROOT}/io\.cost\.qos:([0-9:]+) .*\benable=1\b", block.text, re.MULTILINE)
    drives = set(re.findall(r"^/sys/block/([^/:]+)/(?:removable:1|size:0)$", block.text, re.MULTILINE))
    said = dict(re.findall(r"^/sys/block/([^/:]+)/queue/scheduler:(.+)$", block.text, re.MULTILINE))
    chosen = {disk: _chosen(said.get(disk, "none")) for disk, at in disks.items() if at not in costed}
    return {disk: name for disk, name in chosen.items() if name != HEEDING and disk not in drives}


def _chosen(schedulers: str) -> str:
    """The one in brackets; where a disk has one alone, older kernels write no brackets."""
    found = re.search(r"\[([^\]\s]+)\]", schedulers)
    return found[1] if found else schedulers.strip()


def _number(text: str) -> int | None:
    """`infinity` and `[not set]` are none; so is systemd's largest number, by which older ones say the same."""
    number = whole_number(text)
    return None if number is None or number >= (1 << 64) - 1 else number


def _enabled(section: Section) -> tuple[tuple[str, ...], Unknown]:
    """/proc/cgroups: `subsys_name hierarchy num_cgroups enabled`."""
    rows = [line.split() for line in known(section.text("/proc/cgroups")).splitlines() if not line.startswith("#")]
    enabled = tuple(sorted(row[0] for row in rows if len(row) == 4 and row[3] == "1"))
    return enabled, Unknown("only cgroup v2 delegates controllers")
