"""The rows of the file that lxc-create copies (lxc.container.conf(5)): what new containers of root's get."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from deploys.cgroups.controls import CgroupsRules
from deploys.core import templates
from deploys.core.change import Blocked, Change, Context, WriteFile
from deploys.core.control import Severity, some
from deploys.core.policy import Policy
from deploys.engines.defaults import Put, nothing
from deploys.engines.lxc.settings import Row, said
from deploys.engines.lxc.sharing import shared
from facts.cgroups import SLICE, Cgroups
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.lxc.lxc import DROP_IN, Lxc, LxcReading
from facts.lxc_files import Line

DROP_IN_TEXT = templates.text("engines/lxc/slice.conf")
FREE = ("unconfined", "unchanged", "lxc-container-default-with-mounting")
NESTING = (*FREE, "lxc-container-default-with-nesting")
CONFINED = {"lxc.apparmor.profile": "generated", "lxc.apparmor.allow_incomplete": "0"}  # what is put for what frees


# ------------------------------------------------------------------------------------------------ AppArmor


def _free(lxc: LxcReading, wanted: Any) -> str:
    lines = (*(lxc.last(key) for key in CONFINED), *_raw(lxc))
    return some(said(line, line.key) for line in lines if line and (line.key not in CONFINED or _frees(line)))


def _frees(line: Line) -> bool:
    return line.value in FREE if line.key == "lxc.apparmor.profile" else line.value != "0"


def _raw(lxc: LxcReading) -> list[Line]:
    """Rules that are added to a generated profile, but for those that take something away."""
    return [line for line in lxc.all("lxc.apparmor.raw") if not line.value.startswith("deny ")]


def _no_parser(survey: Survey) -> str:
    lxc = survey[Lxc]
    line = lxc.last("lxc.apparmor.profile")
    if line and line.value == "generated" and not lxc.parser:
        return "no profile can be generated: apparmor_parser is not installed"
    return ""


def _confine(lxc: LxcReading, wanted: Any) -> Put:
    """What was added to a profile goes by hand."""
    wrong = {key: value for key, value in CONFINED.items() if (line := lxc.last(key)) and _frees(line)}
    return wrong if lxc.parser and not _raw(lxc) else {}


def without_apparmor(survey: Survey, policy: Policy) -> str:
    return "" if known(survey[Lxc].apparmor) else "the kernel does not run AppArmor, with which LXC confines containers"


def _nests(lxc: LxcReading, wanted: Any) -> str:
    if profile := _nesting_profile(lxc):
        return said(profile, profile.key)
    line = lxc.last("lxc.apparmor.allow_nesting")
    return said(line, line.key) if line and line.value != "0" else ""


def _nesting_profile(lxc: LxcReading) -> Line | None:
    """A profile that lets containers mount them, whatever allow_nesting says: that counts for generated ones alone."""
    line = lxc.last("lxc.apparmor.profile")
    return line if line and line.value in NESTING else None


def _unnest(lxc: LxcReading, wanted: Any) -> Put:
    put = {"lxc.apparmor.allow_nesting": "0"}
    if not _nesting_profile(lxc):
        return put
    return {**put, "lxc.apparmor.profile": "generated"} if lxc.parser else {}


# ------------------------------------------------------------------------------------------------ limits


SWAP = "lxc.cgroup2.memory.swap.max"


def _bounded(line: Line | None, wanted: int) -> bool:
    own = _amount(line.value) if line else None
    return own is not None and own <= wanted


def _amount(value: str) -> int | None:
    """As the kernel reads it (memparse): 256M; of a weight, the default one too."""
    row = re.fullmatch("(?:default +)?([0-9]{1,18})([kmgt]?)", value, flags=re.IGNORECASE)
    return int(row[1]) << (10 * " kmgt".index(row[2].lower() or " ")) if row else None


def _limit(name: str) -> Any:
    key = f"lxc.cgroup2.{name}"

    def wrong(lxc: LxcReading, wanted: int) -> str:
        line = lxc.last(key)
        if not _bounded(line, wanted):
            return said(line, key)
        swap = lxc.last(SWAP)
        return "" if name != "memory.max" or (swap and swap.value == "0") else "containers swap without a limit"

    return wrong


def _lower(name: str, more: Put) -> Any:
    """A limit that is lower stays, and one that is not understood too: it may be."""
    key = f"lxc.cgroup2.{name}"

    def put(lxc: LxcReading, wanted: int) -> Put:
        line = lxc.last(key)
        if line and line.value != "max" and _amount(line.value) is None:
            return {}
        return more if _bounded(line, wanted) else {key: wanted, **more}

    return put


def _unified(survey: Survey, policy: Policy) -> str:
    version = survey[Cgroups].version
    return "" if version == "v2" else f"the host runs version {version} of control groups, where these keys do nothing"


def _without(controller: str) -> Callable[[Survey, Policy], str]:
    def against(survey: Survey, policy: Policy) -> str:
        there = controller in survey[Cgroups].controllers
        return _unified(survey, policy) or ("" if there else f"this kernel has no controller {controller}")

    return against


def _unheeded(survey: Survey) -> str:
    """A weight counts on a disk alone whose scheduler heeds it."""
    disks = known(survey[Cgroups].weightless)
    where = some(f"{disk} ({scheduler})" for disk, scheduler in disks.items()) if disks else ""
    return f"weights count for nothing on {where}: only the scheduler bfq and io.cost heed them" if disks else ""


def _unseen(name: str) -> Callable[[Context], Iterator[Change]]:
    def first(context: Context) -> Iterator[Change]:
        """LXC starts no container with a limit for which the kernel has no file."""
        if name not in context.survey[Lxc].weights:
            what = f"have LXC give new containers {name}"
            yield Blocked("lxc", what, why=f"no control group of this host has {name}: containers might not start")

    return first


# ------------------------------------------------------------------------------------------------ the slice


def _outside(lxc: LxcReading, wanted: str) -> str:
    line = lxc.last("lxc.cgroup.dir")
    within = line and (line.value == wanted or line.value.startswith(f"{wanted}/"))
    return "" if within else said(line, "lxc.cgroup.dir")


def _elsewhere(survey: Survey, policy: Policy) -> str:
    below = policy[CgroupsRules].below
    return "" if below is None or SLICE in below else f"the policy does not name {SLICE} (cgroups.below)"


def _unstarted(survey: Survey) -> str:
    """LXC makes the folder itself where systemd has not, and then it has no limits."""
    lxc = survey[Lxc]
    there = not lxc.service or known(lxc.drop_in) == DROP_IN_TEXT
    return "" if there else f"nothing starts {SLICE} before lxc.service: it would have no limits"


def _drop_in(context: Context) -> Iterator[Change]:
    lxc = context.survey[Lxc]
    before = known(lxc.drop_in)
    if lxc.service and before != DROP_IN_TEXT:
        activate = f"systemctl daemon-reload && {{ [ ! -e {DROP_IN} ] || systemctl start {SLICE}; }}"
        what = f"have {SLICE} started before lxc.service, and now"
        yield WriteFile("lxc", what, path=DROP_IN, text=DROP_IN_TEXT, before=before, activate=activate)


def _told(key: str, value: str) -> Any:
    """What is wrong where a key simply has to be what is wanted."""

    def wrong(lxc: LxcReading, wanted: Any) -> str:
        line = lxc.last(key)
        return "" if line and line.value == value else said(line, key)

    return wrong


ROWS = (
    Row(
        name="confined",
        title="LXC's containers are confined by AppArmor",
        severity=Severity.HIGH,
        why="What gets past a container's namespaces is stopped by nothing else.",
        references=("NIST-800-190-4.4.3",),
        wrong=_free,
        beside=_no_parser,
        put=_confine,
        against=without_apparmor,
        by_hand="install apparmor, whose apparmor_parser LXC generates profiles with, and remove lxc.apparmor.raw",
    ),
    Row(
        name="nesting",
        title="LXC's containers mount no other proc and sysfs",
        severity=Severity.MEDIUM,
        why="In a proc of its own a container writes what its profile keeps it from in the one that it was given.",
        references=("NIST-800-190-4.4.3",),
        wrong=_nests,
        put=_unnest,
        against=without_apparmor,
        by_hand="set lxc.apparmor.profile to generated, which apparmor_parser has to be installed for, and "
        "lxc.apparmor.allow_nesting to 0 in the file that lxc-create copies",
    ),
    Row(
        name="no-new-privileges",
        title="Processes in LXC's containers gain no privileges by setuid programs",
        severity=Severity.MEDIUM,
        why="A setuid program in an image makes an ordinary user of the container its root.",
        references=("NIST-800-190-4.4.3",),
        wrong=_told("lxc.no_new_privs", "1"),
        put=lambda lxc, wanted: {"lxc.no_new_privs": "1"},
        by_hand="set lxc.no_new_privs to 1 in the file that lxc-create copies",
    ),
    Row(
        name="private",
        title="No default of LXC's gives containers what is the host's",
        severity=Severity.HIGH,
        why="What the file gives every container nobody sees who makes one.",
        references=("NIST-800-190-4.4.3",),
        wrong=shared,
        put=nothing,
        by_hand="remove these lines from the file that the finding names",
    ),
    Row(
        name="pids",
        title="LXC's containers have a limit of processes",
        severity=Severity.MEDIUM,
        why="A fork bomb in one container would take the processes of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_limit("pids.max"),
        put=_lower("pids.max", {}),
        against=_unified,
        by_hand="set lxc.cgroup2.pids.max in the file that lxc-create copies",
    ),
    Row(
        name="memory",
        title="LXC's containers have a limit of memory",
        severity=Severity.MEDIUM,
        why="One container without a limit can take the memory of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_limit("memory.max"),
        put=_lower("memory.max", {SWAP: "0"}),
        against=_unified,
        by_hand="set lxc.cgroup2.memory.max and memory.swap.max in the file that lxc-create copies",
    ),
    Row(
        name="cpu-weight",
        title="LXC's containers have no more weight on the CPU than the policy wants",
        severity=Severity.LOW,
        why="What is outside every slice shares the CPU with all services of the host, each container as one of them.",
        references=("NIST-800-190-4.4.3",),
        wrong=_limit("cpu.weight"),
        put=_lower("cpu.weight", {}),
        first=_unseen("cpu.weight"),
        against=_without("cpu"),
        by_hand="set lxc.cgroup2.cpu.weight in the file that lxc-create copies",
    ),
    Row(
        name="io-weight",
        title="LXC's containers have no more weight on disks than the policy wants",
        severity=Severity.LOW,
        why="What is outside every slice shares disks with all services of the host, each container as one of them.",
        references=("NIST-800-190-4.4.3",),
        wrong=_limit("io.weight"),
        beside=_unheeded,
        put=_lower("io.weight", {}),
        first=_unseen("io.weight"),
        against=_without("io"),
        by_hand="give these disks the scheduler bfq where their load allows it, or have io.cost hold them, and set "
        "lxc.cgroup2.io.weight in the file that lxc-create copies",
    ),
    Row(
        name="slice",
        title="LXC's containers run below the slice that the policy names",
        severity=Severity.MEDIUM,
        why="LXC puts its containers beside all slices, where no limit of all containers together holds for them.",
        references=("NIST-800-190-4.4.3",),
        wrong=_outside,
        beside=_unstarted,
        put=lambda lxc, wanted: {"lxc.cgroup.dir": wanted},
        first=_drop_in,
        against=_elsewhere,
        by_hand="set lxc.cgroup.dir in the file that lxc-create copies",
    ),
)
