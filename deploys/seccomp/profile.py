"""Seccomp profiles as data: whether one has errors, and which system calls it allows. Pure.

A profile is what Docker reads (with conditions under `includes` and `excludes`), or what runc was given (without).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from deploys.core import templates
from deploys.core.control import some
from facts.capabilities import CAPABILITIES
from facts.core.json_text import load
from facts.core.shared import of_text

TEXT = templates.text("seccomp/hullproof.json")
OURS: Mapping[str, Any] = json.loads(TEXT)
CALLS = frozenset(templates.text("seccomp/syscalls.txt").split())


def words(text: str, prefix: str = "") -> tuple[str, ...]:
    return tuple(prefix + word for word in text.split())


ACTIONS = words("KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY", "SCMP_ACT_")
OPEN = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")  # LOG allows the call, and logs it
OPERATORS = words("NE LT LE EQ GE GT MASKED_EQ", "SCMP_CMP_")
# uname -m to the name that `includes.arches` takes, and to libseccomp's
MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}
KEYS = words(
    "defaultAction defaultErrnoRet defaultErrno architectures archMap syscalls flags listenerPath listenerMetadata "
    "comment"
)
RULE_KEYS = words("name names action errnoRet errno args comment includes excludes")
CONDITIONS = words("caps arches minKernel")

# What Docker gives a container that asks for nothing (moby oci/caps/defaults.go).
DEFAULT_CAPS = frozenset(
    words(
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
        "AUDIT_WRITE",
        "CAP_",
    )
)
# Calls that Docker's own profile denies to such a container: they reach the kernel's internals or the host.
GUARDED = words("""
    acct add_key bpf clock_settime clone delete_module finit_module fsconfig fsmount fsopen init_module ioperm iopl
    kexec_file_load kexec_load keyctl mount mount_setattr move_mount open_by_handle_at open_tree perf_event_open
    pivot_root quotactl reboot request_key setns settimeofday swapoff swapon umount2 unshare userfaultfd
""")
# Those of them that Podman's own profile denies too (containers-common's seccomp.json).
GUARDED_BY_ALL = words("""
    acct bpf clock_settime delete_module finit_module init_module ioperm iopl kexec_file_load kexec_load
    open_by_handle_at perf_event_open quotactl settimeofday swapoff swapon
""")
# And calls that hullproof's profile denies too.
HARDENED = (*GUARDED, "io_uring_enter", "io_uring_register", "io_uring_setup", "modify_ldt", "socket", "socketcall")


def is_open(profile: Mapping[str, Any], machine: str, release: str, caps: Iterable[str]) -> Callable[[str], bool]:
    """Whether a call is allowed with any arguments, in a container with `caps` on this host."""
    if not profile.get("defaultAction") and not profile.get("syscalls"):
        return lambda _: True  # Docker sets no filter for an empty profile
    held, kernel = frozenset(caps), version(release)
    arch = MACHINES.get(machine, (machine, ""))[0]
    rules = [rule for rule in profile.get("syscalls") or () if _applies(rule, arch, kernel, held)]
    whole = [(name, rule.get("action") in OPEN) for rule in rules if not rule.get("args") for name in names(rule)]
    opened, closed = {name for name, ok in whole if ok}, {name for name, ok in whole if not ok}
    default = profile.get("defaultAction") in OPEN
    return lambda name: name in opened or (default and name not in closed)


def weaknesses(
    profile: Mapping[str, Any] | None,
    machine: str,
    release: str,
    calls: Iterable[str] = GUARDED,
    extra: Iterable[str] = (),
) -> tuple[str, ...]:
    """Which of `calls` the profile allows a container with the default capabilities and `extra` ones, beyond what those
    capabilities are for. None: no filter at all."""
    caps = DEFAULT_CAPS | {_cap(name) for name in extra}
    if "CAP_ALL" in caps:
        caps = frozenset(words(" ".join(CAPABILITIES), "CAP_"))
    ours = _ours_opens(machine, release, caps)
    theirs = is_open(profile or {}, machine, release, caps)
    return tuple(sorted(name for name in calls if theirs(name) and not ours(name)))


@lru_cache(maxsize=100)
def _ours_opens(machine: str, release: str, caps: frozenset[str]) -> Callable[[str], bool]:
    return is_open(OURS, machine, release, caps)


def _cap(name: str) -> str:
    return f"CAP_{name.upper().removeprefix('CAP_')}"


def names(rule: Mapping[str, Any]) -> list[str]:
    return list(rule.get("names") or ()) or ([rule["name"]] if rule.get("name") else [])


def version(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _applies(rule: Mapping[str, Any], arch: str, kernel: tuple[int, int], caps: frozenset[str]) -> bool:
    """As Docker evaluates conditions: all of `includes` must be met, and none of `excludes`, of which any one
    architecture or capability excludes."""
    wants, bars = rule.get("includes") or {}, rule.get("excludes") or {}
    if wants.get("arches") and arch not in wants["arches"]:
        return False
    if not caps.issuperset(wants.get("caps") or ()) or kernel < version(wants.get("minKernel") or "0.0"):
        return False
    barred = arch in (bars.get("arches") or ()) or not caps.isdisjoint(bars.get("caps") or ())
    return not barred and not (bars.get("minKernel") and kernel >= version(bars["minKernel"]))


@of_text
def lint(text: str, machine: str, release: str) -> tuple[str, ...]:
    """The errors of a profile for Docker on this architecture and kernel."""
    try:
        profile = load(text)
    except ValueError as error:
        return (f"it is not JSON: {error}",)
    if not isinstance(profile, dict):
        return ("it is not a JSON object",)
    problems = list(_lint(profile, machine))
    if not problems and (open_calls := weaknesses(profile, machine, release)):
        problems.append(f"it allows what Docker's own profile denies: {some(open_calls)}")
    return tuple(problems)


def _lint(profile: Mapping[str, Any], machine: str) -> Iterator[str]:
    if strange := sorted(profile.keys() - set(KEYS)):
        yield f"unknown key {some(strange)}"
    if profile.get("defaultAction") not in ACTIONS:
        yield f"defaultAction {profile.get('defaultAction')!r} is not an action"
    yield from _lint_architectures(profile, machine)
    rules = profile.get("syscalls")
    if not isinstance(rules, list):
        yield "syscalls is not a list"
        return
    for number, rule in enumerate(rules, 1):
        if isinstance(rule, dict):
            yield from (f"rule {number}: {problem}" for problem in _lint_rule(rule))
        else:
            yield f"rule {number}: not an object"


def _lint_architectures(profile: Mapping[str, Any], machine: str) -> Iterator[str]:
    plain, mapped = profile.get("architectures"), profile.get("archMap")
    if plain and mapped:
        yield "it has both architectures and archMap, which Docker rejects"
    rows = [*(plain or ()), *((row or {}).get("architecture") for row in mapped or ())]
    mine = MACHINES.get(machine, ("", ""))[1]
    if not mine:
        yield f"hullproof does not know this host's architecture ({machine})"
    elif rows and mine not in rows:
        yield f"it does not cover this host's architecture ({machine})"


def _lint_rule(rule: Mapping[str, Any]) -> Iterator[str]:
    if strange := sorted(rule.keys() - set(RULE_KEYS)):
        yield f"unknown key {some(strange)}"
    if rule.get("name") and rule.get("names"):
        yield "it has both name and names, which Docker rejects"
    called = names(rule)
    if not called:
        yield "it names no system call"
    if unknown := [str(name) for name in called if name not in CALLS]:
        yield f"no such system call: {some(unknown)}"
    if rule.get("action") not in ACTIONS:
        yield f"action {rule.get('action')!r} is not an action"
    if not isinstance(rule.get("errnoRet", 1), int):
        yield "errnoRet is not a number"
    yield from _lint_args(rule.get("args") or ())
    for side in ("includes", "excludes"):
        yield from _lint_conditions(side, rule.get(side) or {})


def _lint_args(args: Any) -> Iterator[str]:
    if not isinstance(args, (list, tuple)) or not all(isinstance(arg, dict) for arg in args):
        yield "args is not a list of objects"
        return
    for arg in args:
        if arg.get("index") not in range(6) or arg.get("op") not in OPERATORS:
            yield f"args: no such argument or comparison: {arg.get('index')!r} {arg.get('op')!r}"
        if not all(isinstance(arg.get(key, 0), int) and 0 <= arg.get(key, 0) < 2**64 for key in ("value", "valueTwo")):
            yield "args: a value is not a number of 64 bits"
    if len({arg.get("index") for arg in args}) < len(args):
        yield "args: two comparisons of one argument, of which runc demands only one"


def _lint_conditions(side: str, conditions: Any) -> Iterator[str]:
    if not isinstance(conditions, dict) or conditions.keys() - set(CONDITIONS):
        yield f"{side}: unknown condition"
        return
    if bad := [str(cap) for cap in conditions.get("caps") or () if not re.fullmatch(r"CAP_[A-Z_]+", str(cap))]:
        yield f"{side}: no such capability: {some(bad)}"
    if not re.fullmatch(r"\d{1,3}\.\d{1,3}", str(conditions.get("minKernel") or "0.0")):
        yield f"{side}: minKernel {conditions['minKernel']!r} is not like 4.8"
