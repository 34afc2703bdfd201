"""Seccomp: the kernel can filter system calls. What a filter denies is the part of each container engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from pydantic import Field

from deploys.core.change import Change, Context, Subject
from deploys.core.control import (
    Check,
    Control,
    Severity,
    Verdict,
    failed,
    naming_key,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.seccomp import Seccomp


class SeccompRules(Rules):
    """Which system calls containers may make."""

    profile: Literal["builtin", "hullproof"] | None = Field(
        default=None,
        description="Docker's default profile: `builtin` is Docker's own, or one that allows no more; `hullproof` is "
        "hullproof's, which allows less.",
    )


def on_seccomp(key: str, wanted: str = "") -> Callable[[Check], Check]:
    """Only where the policy declares `key`. `wanted`: what the key wants."""
    name = f"seccomp.{key}"
    where, naming = only_where(undeclared(SeccompRules, name)), naming_key(name, wanted)
    return lambda check: where(naming(check))


@on_seccomp("profile", "a profile, which needs that")
def kernel(survey: Survey, policy: Policy) -> Verdict:
    actions = list(known(survey[Seccomp].actions))
    if "errno" not in actions:
        reason = "the kernel was built without CONFIG_SECCOMP_FILTER, so it cannot filter system calls"
        return failed(reason, declared=True, disk=None, live=False)
    return passed("the kernel can filter system calls", declared=True, disk=None, live=True)


CONTROLS = (
    Control(
        id="seccomp.kernel",
        title="The kernel can filter system calls (CONFIG_SECCOMP_FILTER)",
        severity=Severity.HIGH,
        why="Without CONFIG_SECCOMP_FILTER no container can have a filter; Docker starts them all the same, and "
        "at most writes a line to its log.",
        check=kernel,
        references=("NIST-800-190-4.4.3",),
        by_hand="boot a kernel that was built with CONFIG_SECCOMP_FILTER, such as the distribution's own",
    ),
)


def plan(context: Context) -> Iterable[Change]:
    """Nothing: a kernel gets its filter when it is built."""
    return ()


SUBJECT = Subject(
    name="seccomp",
    rules=SeccompRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Seccomp,),
    unproved="what a filter does for containers is attacked as containers.seccomp",
)
