"""Seccomp profiles: what they leave open, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploys.seccomp.profile import CALLS, GUARDED, HARDENED, OURS, TEXT, is_open, lint, names, weaknesses

HOST = ("x86_64", "6.12.0-amd64")
ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"


def profile(*rules: dict[str, Any], default: str = ERRNO, **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **more}


def rule(*called: str, action: str = ALLOW, **more: Any) -> dict[str, Any]:
    return {"names": list(called), "action": action, **more}


@pytest.mark.parametrize(
    ("given", "open_"),
    [
        (profile(rule("keyctl")), True),
        (profile(rule("keyctl", action="SCMP_ACT_LOG")), True),
        (profile({"name": "keyctl", "action": ALLOW}), True),
        (profile(rule("read")), False),
        (profile(default=ALLOW), True),
        (profile(default="SCMP_ACT_LOG"), True),
        (profile(rule("keyctl", action=ERRNO), default=ALLOW), False),
        (
            profile(rule("keyctl", action=ERRNO, args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]), default=ALLOW),
            True,
        ),
        (profile(rule("keyctl", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}])), False),
        (profile(rule("keyctl", includes={"caps": ["CAP_SYS_ADMIN"]})), False),
        (profile(rule("keyctl", includes={"caps": ["CAP_CHOWN"]})), True),
        (profile(rule("keyctl", excludes={"caps": ["CAP_SYS_ADMIN"]})), True),
        (profile(rule("keyctl", excludes={"caps": ["CAP_CHOWN"]})), False),
        (profile(rule("keyctl", includes={"arches": ["amd64"]})), True),
        (profile(rule("keyctl", includes={"arches": ["arm64"]})), False),
        (profile(rule("keyctl", excludes={"arches": ["amd64"]})), False),
        (profile(rule("keyctl", includes={"minKernel": "4.8"})), True),
        (profile(rule("keyctl", includes={"minKernel": "6.13"})), False),
        (profile(rule("keyctl", excludes={"minKernel": "4.8"})), False),
        ({}, True),
        ({"defaultAction": "", "syscalls": []}, True),
    ],
)
def test_what_gets_through(given: dict[str, Any], open_: bool) -> None:
    assert is_open(given, *HOST, {"CAP_CHOWN"})("keyctl") is open_
    assert ("keyctl" in weaknesses(given, *HOST)) is open_


def test_no_filter_leaves_all_open() -> None:
    assert weaknesses(None, *HOST) == GUARDED


def test_capabilities_open_what_they_are_for() -> None:
    mounting = profile(rule("mount", "keyctl"))
    assert weaknesses(mounting, *HOST) == ("keyctl", "mount")
    assert weaknesses(mounting, *HOST, extra=["SYS_ADMIN"]) == ("keyctl",)
    assert weaknesses(mounting, *HOST, extra=["CAP_SYS_ADMIN"]) == ("keyctl",)
    assert weaknesses(mounting, *HOST, extra=["ALL"]) == ("keyctl",)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("release", ["5.10.0", "6.1.0-49-amd64", "6.12.107+deb13-cloud-amd64"])
def test_ours_is_sound_and_refuses_all_that_it_is_to(machine: str, release: str) -> None:
    assert lint(TEXT, machine, release) == ()
    through = is_open(OURS, machine, release, ())
    assert [name for name in HARDENED if through(name)] == []


def test_ours_reaches_sockets_by_family_only_on_the_bits_that_the_kernel_looks_at() -> None:
    """A comparison of 64 bits would let 38 + 2**32 through, which the kernel takes for 38, AF_ALG."""
    (*args,) = ([*row["args"]] for row in OURS["syscalls"] if names(row) == ["socket"])
    assert {(arg["value"], arg["op"], arg["index"]) for (arg,) in args} == {(0xFFFFFFFF, "SCMP_CMP_MASKED_EQ", 0)}
    assert {arg["valueTwo"] for (arg,) in args} == {1, 2, 10, 16, 17}
    assert OURS["archMap"][0] == {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}


def test_ours_lets_programs_run() -> None:
    through = is_open(OURS, *HOST, ())
    needed = {"execve", "openat", "read", "write", "mmap", "futex", "clone", "wait4", "exit_group", "statx", "rseq"}
    assert [name for name in needed if not through(name)] == ["clone"]  # clone by its flags
    assert needed <= CALLS


def test_ours_is_not_for_other_architectures() -> None:
    assert lint(TEXT, "ppc64le", "6.1") == ("it does not cover this host's architecture (ppc64le)",)
    assert "does not know this host's architecture" in lint(TEXT, "vax", "6.1")[0]


GOOD = profile(rule("read", "write"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "defaultAction None"),
        ({**GOOD, "defaultAction": "ALLOW"}, "'ALLOW' is not an action"),
        ({**GOOD, "syscals": []}, "unknown key syscals"),
        ({**GOOD, "syscalls": {}}, "not a list"),
        ({**GOOD, "syscalls": ["read"]}, "rule 1: not an object"),
        ({**GOOD, "architectures": ["SCMP_ARCH_AARCH64"]}, "not cover this host's architecture"),
        (
            {**GOOD, "architectures": ["SCMP_ARCH_X86_64"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]},
            "which Docker rejects",
        ),
        (profile(rule("raed")), "no such system call: raed"),
        (profile(rule()), "names no system call"),
        (profile(rule("read", name="write")), "which Docker rejects"),
        (profile(rule("read", action="allow")), "'allow' is not an action"),
        (profile(rule("read", errnoRet="EPERM")), "errnoRet"),
        (profile(rule("read", include={})), "unknown key include"),
        (profile(rule("read", includes={"cap": []})), "unknown condition"),
        (profile(rule("read", includes={"caps": ["SYS_ADMIN"]})), "no such capability: SYS_ADMIN"),
        (profile(rule("read", includes={"minKernel": "four"})), "minKernel"),
        (profile(rule("read", args=[{"index": 6, "op": "SCMP_CMP_EQ"}])), "no such argument"),
        (profile(rule("read", args=[{"index": 0, "op": "EQ"}])), "no such argument or comparison"),
        (profile(rule("read", args=[{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}])), "64 bits"),
        (
            profile(rule("socket", args=[{"index": 0, "value": n, "op": "SCMP_CMP_NE"} for n in (38, 40)])),
            "demands",
        ),
        (profile(default=ALLOW), "allows what Docker's own profile denies: acct, add_key"),
        (profile(rule("keyctl")), "denies: keyctl"),
    ],
)
def test_lint_says_what_is_wrong(given: Any, says: str) -> None:
    text = given if isinstance(given, str) else json.dumps(given)
    assert any(says in problem for problem in lint(text, *HOST)), lint(text, *HOST)


def test_lint_is_content_with_what_is_sound() -> None:
    assert lint(json.dumps(GOOD), *HOST) == ()
