"""What the kernel holds a process to, read from outside: /proc/PID, namespaces, control groups, mounts (proc(5)).

The script wants $pids and prints a block per kind of reading, for all of them at once. A process that is gone by then
is missing; one of which a part could not be read is missing too, so that nothing counts as harmless by absence. Whoever
runs in a container gives names to its mounts and control groups: lines end with a line feed, and with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from facts import profiles
from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown

SCRIPT = profiles.SCRIPT + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")  # of every kernel that there is; see namespaces(7)
TIME = "time"  # and of those since Linux 5.6
INIT = 1  # whose namespaces and mounts are the host's
_STATUS = {"Seccomp": "[0-9]", "NoNewPrivs": "[01]", "CapEff": "[0-9a-f]{1,16}", "CapBnd": "[0-9a-f]{1,16}"}
_IDS = re.compile(r" *([0-9]{1,10}) +([0-9]{1,10}) +([0-9]{1,10})")
_LINE = re.compile(r"/proc/([0-9]{1,10})/([a-z/_]+)[: ](.*)", re.DOTALL)
_INODE = re.compile(r"[a-z]+:\[([0-9]{1,12})\]")
_MOUNT_IDS = re.compile("[0-9]+ [0-9]+ ")
_MOUNT = re.compile(
    r"(?P<device>[0-9]+:[0-9]+) (?P<root>[^ ]+) (?P<point>[^ ]+) (?P<options>[^ ]+) (?:[^- ][^ ]* )*"
    r"- (?P<type>[^ ]+) [^ ]* [^ ]*"
)
MOST_MOUNTS = 400  # of one process; see the script
CUT_OFF = (124, 137)  # statuses of timeout(1)


@dataclass(frozen=True)
class Mount(Jsonable):
    """A row of mountinfo: what of which device is mounted where."""

    device: str  # major:minor
    root: str  # which part of the device's own tree
    point: str  # where it is, for the process
    writable: bool
    type: str


@dataclass(frozen=True)
class Limits(Jsonable):
    """The narrowest of the process's control group and those above it, but for what others share; None: no limit, or it
    could not be read."""

    memory: int | None = None  # bytes
    pids: int | None = None
    cpu: int | None = None  # microseconds per 100,000


@dataclass(frozen=True)
class Process(Jsonable):
    """A process as the kernel sees it: /proc/PID/{uid_map,status,attr,ns,cgroup,mountinfo}."""

    name: str
    uid_map: tuple[tuple[int, int, int], ...]  # (inside, outside, count)
    seccomp: int  # 0 none, 1 strict, 2 filter
    no_new_privs: bool
    cap_eff: int
    cap_bnd: int
    cap_amb: int
    # LSM label, of a mixed stack the one that holds the process: "docker-default (enforce)", "unconfined",
    # "system_u:system_r:container_t:s0:c1,c2", ""
    label: str
    namespaces: dict[str, int]  # kind -> inode
    cgroup: str  # its path; of version 1, the memory hierarchy's
    limits: Limits
    mounts: tuple[Mount, ...]
    nodes: tuple[str, ...] | Unknown  # device nodes in its /dev, as it sees them
    may_write: tuple[str, ...] | Unknown = ()  # what its AppArmor profile lets it, of what is the host's root's alone

    @property
    def on_host_ids(self) -> bool:
        """Whether somebody in it is the host's root."""
        return any(outside == 0 for _, outside, _ in self.uid_map)


def lines_of(section: Section, name: str) -> Iterator[tuple[int, str, str]]:
    """(pid, file, text) of lines such as `/proc/812/status:Seccomp: 2` or `/proc/812/ns/pid pid:[4026531836]`."""
    block = section.blocks.get(name, Block(0, ""))
    for line in block.text.split("\n"):
        if match := _LINE.match(line):
            yield int(match[1]), match[2], match[3]


def read_spaces(section: Section) -> dict[int, dict[str, int]]:
    """By process: the inode of each kind of namespace."""
    return section.remember("spaces", lambda: _read_spaces(section))


def _read_spaces(section: Section) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for pid, file, text in lines_of(section, "processes.spaces"):
        if inode := _INODE.fullmatch(text):
            found.setdefault(pid, {})[file.removeprefix("ns/")] = int(inode[1])
    return found


def read_mounts(section: Section, block: str = "processes.mounts") -> dict[int, tuple[Mount, ...]]:
    """By process. One with a row that makes no sense, or with more than can be read, is left out."""
    found: dict[int, list[Mount]] = {}
    strange: set[int] = set()
    rows: dict[str, Mount | None] = {}  # but for the ids of a mount, containers' rows are much the same
    for pid, _, text in lines_of(section, block):
        ids = _MOUNT_IDS.match(text)
        said = text[ids.end() :] if ids else ""
        if said not in rows:
            rows[said] = _mount(said)
        if mount := rows[said]:
            found.setdefault(pid, []).append(mount)
        else:
            strange.add(pid)
    return {
        pid: tuple(rows)
        for pid, rows in found.items()
        if pid not in strange and (pid == INIT or len(rows) < MOST_MOUNTS)
    }


def _mount(text: str) -> Mount | None:
    row = _MOUNT.fullmatch(text)
    if row is None:
        return None
    writable = "rw" in row["options"].split(",")
    return Mount(row["device"], _plain(row["root"]), _plain(row["point"]), writable, row["type"])


def _plain(path: str) -> str:
    """mountinfo writes blanks, tabs, line ends and backslashes in octal."""
    if "\\" not in path:
        return path
    return re.sub(r"\\(0[0-7]{2}|1[0-7]{2})", lambda code: chr(int(code[1], 8)), path)


def read_processes(section: Section) -> dict[int, Process]:
    """Those of which all could be read, by pid."""
    status, maps = _status(section)
    labels: dict[int, str] = {}
    modes = dict(
        re.findall(r"^(.+) \((\w+)\)$", section.blocks.get("processes.modes", Block(0, "")).text, re.MULTILINE)
    )
    for pid, _, text in lines_of(section, "processes.label"):
        labels.setdefault(pid, _held(text.strip("\0 "), modes))
    spaces, mounts, groups = read_spaces(section), read_mounts(section), _groups(section)
    nodes, limits = _nodes(section), _limit_files(section)
    allowed = profiles.read_allowed(section.blocks.get("processes.allowed"))
    return {
        pid: Process(
            name=values.get("Name", ""),
            uid_map=tuple(maps[pid]),
            seccomp=int(values["Seccomp"]),
            no_new_privs=values["NoNewPrivs"] == "1",
            cap_eff=int(values["CapEff"], 16),
            cap_bnd=int(values["CapBnd"], 16),
            cap_amb=int(values.get("CapAmb", "0"), 16),
            label=labels.get(pid, ""),
            namespaces=spaces[pid],
            cgroup=groups[pid].get("memory") or groups[pid].get("", ""),
            limits=_limits(groups[pid], limits),
            mounts=mounts[pid],
            nodes=nodes(pid),
            may_write=_may_write(labels.get(pid, ""), allowed),
        )
        for pid, values in status.items()
        if all(re.fullmatch(pattern, values.get(name, "")) for name, pattern in _STATUS.items())
        and re.fullmatch("[0-9a-f]{1,16}", values.get("CapAmb", "0"))
        and set(NAMESPACES) <= set(spaces.get(pid, ()))
        and pid in maps and pid in mounts and pid in groups
    }  # fmt: skip


def _status(section: Section) -> tuple[dict[int, dict[str, str]], dict[int, list[tuple[int, int, int]]]]:
    status: dict[int, dict[str, str]] = {}
    maps: dict[int, list[tuple[int, int, int]]] = {}
    for pid, file, text in lines_of(section, "processes.status"):
        if file == "uid_map":
            if row := _IDS.fullmatch(text):
                maps.setdefault(pid, []).append((int(row[1]), int(row[2]), int(row[3])))
        else:
            name, _, value = text.partition(":")
            status.setdefault(pid, {})[name] = value.strip()
    return status, maps


def _groups(section: Section) -> dict[int, dict[str, str]]:
    """By process: the path of each hierarchy; "" is version 2's, else the name of its controller."""
    found: dict[int, dict[str, str]] = {}
    for pid, _, text in lines_of(section, "processes.cgroup"):
        if row := re.fullmatch(r"[0-9]+:([a-z0-9_,=]*):(/.*)", text, re.DOTALL):
            for controller in row[1].split(","):
                found.setdefault(pid, {}).setdefault(controller, row[2])
    return found


CONFINING = re.compile(r"(.+) \((?:enforce|kill)\)")  # an AppArmor label that holds its process to the profile


def _held(label: str, modes: dict[str, str]) -> str:
    """Of a stack in which one profile holds the process to its rules, that one: `containers-default//&crun (mixed)`."""
    mixed = re.fullmatch(r"(.+) \(mixed\)", label)
    parts = mixed[1].split("//&") if mixed else []
    return next((f"{part} ({mode})" for part in parts if (mode := modes.get(part)) in ("enforce", "kill")), label)


def _may_write(label: str, allowed: dict[str, tuple[str, ...]]) -> tuple[str, ...] | Unknown:
    confined = CONFINING.fullmatch(label)
    if not confined:
        return ()
    if confined[1] not in allowed:
        return Unknown(f"the kernel did not say what the AppArmor profile {confined[1]} allows")
    return allowed[confined[1]]


def _nodes(section: Section) -> Callable[[int], tuple[str, ...] | Unknown]:
    """By process. Those in users' containers are listed apart: what never answers there hides no other's."""
    found = {name: _node_rows(section.blocks.get(f"processes.nodes{name}")) for name in ("", ".users")}
    theirs = set(section.blocks.get("processes.users", Block(0, "")).text.split())

    def of(pid: int) -> tuple[str, ...] | Unknown:
        rows = found[".users" if str(pid) in theirs else ""]
        return rows if isinstance(rows, Unknown) else tuple(sorted(rows.get(pid, ())))

    return of


def _node_rows(block: Block | None) -> dict[int, set[str]] | Unknown:
    if block is None or block.status > 1:  # 1: one of the containers is gone
        late = block is not None and block.status in CUT_OFF
        return Unknown("the device nodes in containers could not be listed" + " in time" * late)
    found: dict[int, set[str]] = {}
    for line in block.text.split("\n"):
        if row := re.fullmatch(r"/proc/([0-9]{1,10})/root(/dev/.+) ([bc])", line):
            found.setdefault(int(row[1]), set()).add(row[2])
    return found


_LIMIT = re.compile(r"(?P<path>/.*/(?:(?:memory|pids|cpu)\.max|memory\.limit_in_bytes|cpu\.cfs_quota_us)) (?P<text>.*)")
_Values = dict[str, int | None]  # a file below /sys/fs/cgroup -> its number; None: no limit


def _limit_files(section: Section) -> _Values:
    block = section.blocks.get("processes.limits", Block(0, ""))
    found: _Values = {}
    for line in block.text.split("\n"):
        row = _LIMIT.fullmatch(line)
        if row is None:
            continue
        path, text = row["path"], row["text"]
        if path.endswith("/cpu.max"):
            quota, _, period = text.partition(" ")
            per, share = whole_number(period), whole_number(quota)
            found[path] = share * 100_000 // per if share is not None and per else None
        else:
            found[path] = whole_number(text)
    return found


# Groups that hold many containers: what limits them all together is no limit of one. A pod's slice is none of them.
# See systemd.slice(5); without systemd, engines' own groups.
_SHARED = re.compile(
    r"(?!.*[-_]pod[-_]?[0-9a-f]{8}).+\.slice|user@[0-9]+\.service"
    r"|docker|kubelet|kubepods|burstable|besteffort|guaranteed|machine|libpod_parent|lxc"
)
_VERSION_1_NONE = 1 << 62  # memory.limit_in_bytes without a limit is the largest page count


def _limits(groups: dict[str, str], files: _Values) -> Limits:
    def least(controller: str, new: str, old: str) -> int | None:
        mount, at, name = "/sys/fs/cgroup", groups.get(""), new
        if controller in groups:  # version 1
            mount, at, name = f"{mount}/{controller}", groups[controller], old
        found = []
        common = takewhile(_SHARED.fullmatch, (at or "").strip("/").split("/"))
        shared = f"/{'/'.join(common)}"
        while at and at not in ("/", shared):
            found.append(files.get(f"{mount}{at}/{name}"))
            at = at.rpartition("/")[0]
        return min((value for value in found if value is not None and value < _VERSION_1_NONE), default=None)

    return Limits(
        memory=least("memory", "memory.max", "memory.limit_in_bytes"),
        pids=least("pids", "pids.max", "pids.max"),
        cpu=least("cpu", "cpu.max", "cpu.cfs_quota_us"),
    )
