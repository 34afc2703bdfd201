"""SELinux: it enforces now and after a boot. How containers are labelled is the part of each container engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from pydantic import Field

from deploys.core.change import Change, Context, Subject, mending
from deploys.core.control import (
    Check,
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    in_container,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.kernel.boot_parameters import given, next_words
from deploys.lsm import controls as lsm
from deploys.selinux import stages as selinux_plan
from deploys.selinux.stages import (
    ACCEPT_DENIALS,
    ACCEPT_RETRY,
    Stage,
    Step,
    next_stage,
)
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import System
from facts.denials import Denials
from facts.kernel.kernel import Kernel
from facts.lsm import Lsm
from facts.selinux import SELinux, SELinuxReading


class SELinuxRules(Rules):
    """Mandatory access control by SELinux, where lsm.module wants it."""

    enforcing: Literal[True] | None = Field(
        None, description="SELinux enforces. harden gets there by way of permissive, one stage per run."
    )
    observe_hours: int | None = Field(
        None, ge=0, description="How many hours denials are observed in permissive before SELinux enforces; default 24."
    )
    containers: Literal[True] | None = Field(
        None, description="Docker labels its containers: each gets a container domain and a category of its own."
    )


def on_selinux(key: str) -> Callable[[Check], Check]:
    """Only where the policy declares `key` and wants SELinux on this host."""
    return only_where(undeclared(SELinuxRules, f"selinux.{key}"), _not_wanted, in_container)


def _not_wanted(survey: Survey, policy: Policy) -> str | None:
    wanted = lsm.wanted_module(survey, policy) == "selinux"
    return None if wanted else "the policy does not want SELinux on this host (lsm.module)"


def stage(survey: Survey, policy: Policy) -> Stage:
    hours = policy[SELinuxRules].observe_hours
    obstacle = lsm.boot_obstacle("selinux", next_words(survey[Kernel]), survey[System].family)
    clock = survey[System].clock
    return next_stage(survey[SELinux], obstacle, survey[Denials], clock, 24 if hours is None else hours)


@on_selinux("enforcing")
def enforcing(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[SELinux]
    words = next_words(survey[Kernel])
    mode, config = known(reading.mode), known(reading.config_mode)
    live = {"mode": mode, "policy": known(reading.policy_loaded), "type": known(reading.type)}
    disk = {"config": config, "command line": " ".join(_about_selinux(words)) or "nothing"}
    off = disagreements(reading, lsm.boot_obstacle("selinux", words, survey[System].family))
    if not off:
        return passed("SELinux enforces, and does after the next boot", declared="enforcing", disk=disk, live=live)
    now = stage(survey, policy)
    reason = f"{'; '.join(off)}; the policy wants enforcing (selinux.enforcing). {now.say()}"
    state = State.PENDING_REBOOT if now.step is Step.REBOOT else State.FAIL
    return Verdict(state, reason, declared="enforcing", disk=disk, live=live)


def _about_selinux(words: Sequence[str]) -> list[str]:
    names = ("selinux", "enforcing", "security", "lsm")
    return [word for name in names if (word := given(words, name))]


def disagreements(reading: SELinuxReading, obstacle: lsm.BootObstacle | None) -> list[str]:
    """Which readings keep SELinux from enforcing, now or after the next boot."""
    found = []
    mode = known(reading.mode)
    if mode != "enforcing":
        found.append(f"SELinux is {mode} in the kernel")
    elif not known(reading.policy_loaded):
        found.append("the kernel has no SELinux policy loaded")
    if known(reading.config_mode) != "enforcing":
        set_ = f"has SELINUX={reading.config_mode}" if reading.config_mode else "sets no mode"
        found.append(f"/etc/selinux/config {set_}")
    elif (kind := known(reading.type)) not in known(reading.policies):
        found.append(f"/etc/selinux/config names the policy {kind}, which is not installed")
    if obstacle:
        found.append(f"the next boot's command line has {obstacle}")
    if not known(reading.labelled):
        found.append("the files of this host have no SELinux labels")
    if reading.relabel_pending:
        found.append("/.autorelabel has the next boot label all files")
    return found


def plan(context: Context) -> Iterator[Change]:
    survey = context.survey
    if context.failing("selinux.enforcing"):
        now = stage(survey, context.policy)
        controls = context.which("selinux.enforcing", "lsm.module")
        yield from mending(controls, selinux_plan.step(context, survey[SELinux], survey[Kernel].boot, now))


CONTROLS = (
    Control(
        id="selinux.enforcing",
        title="SELinux enforces, now and after the next boot",
        severity=Severity.HIGH,
        why="In permissive or disabled, SELinux stops nothing: a process that escapes from its container reaches "
        "whatever its user may reach.",
        check=enforcing,
        references=("STIG-RHEL9-431010", "STIG-RHEL9-431015", "NIST-800-190-4.4.3"),
        impact=Impact.REBOOT,
        lockout=True,
        unconfirmed="What takes effect at a boot boots into permissive, or goes back to it unless sshd answers.",
        by_hand="correct what the finding names (/etc/selinux/config, the command line, the labels of the files with "
        "touch /.autorelabel) and reboot the host",
    ),
)

SUBJECT = Subject(
    name="selinux",
    rules=SELinuxRules,
    controls=CONTROLS,
    plan=plan,
    facts=(SELinux, Denials, Lsm, Kernel, System),
    accepts=(ACCEPT_DENIALS, ACCEPT_RETRY),
    unproved="what it does for containers is attacked as containers.confined and containers.own-category",
)
