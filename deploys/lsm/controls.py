"""Which Linux Security Module confines this host: AppArmor or SELinux. A kernel runs one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from deploys.core.change import Change, Context, Subject
from deploys.core.control import (
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    failed,
    in_container,
    not_applicable,
    only_where,
    passed,
)
from deploys.core.policy import Policy, Rules
from deploys.kernel.boot_parameters import given, next_words
from facts.apparmor import AppArmor
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import System
from facts.kernel.kernel import Kernel
from facts.lsm import Lsm
from facts.selinux import SELinux


class LsmRules(Rules):
    """The Linux Security Module that confines this host's processes."""

    module: Literal["auto", "selinux", "apparmor"] | None = Field(
        None,
        description="The module that confines the host; `auto` is the one that confines it now, or else the "
        "distribution's own.",
    )


def confining(survey: Survey) -> str | None:
    """The module that confines this host's processes now: apparmor, selinux, smack. SELinux without a policy confines
    nothing: a Debian kernel has that with apparmor=0, and RHEL 9 where SELinux is disabled in its configuration."""
    major = known(survey[Lsm].major)
    return None if major == "selinux" and not known(survey[SELinux].policy_loaded) else major


def wanted_module(survey: Survey, policy: Policy) -> str | None:
    """`selinux` or `apparmor`; None where the policy asks for neither."""
    module = policy[LsmRules].module
    if module != "auto":
        return module
    live = confining(survey)
    return live if live in ("apparmor", "selinux") else "selinux" if survey[System].family == "rhel" else "apparmor"


@dataclass(frozen=True)
class BootObstacle:
    """A boot parameter that keeps a module off, or SELinux permissive: one that is given or, where `missing`, one that
    is not. Its text is what a command line has: `apparmor=0`, `no security=selinux`."""

    parameter: str
    missing: bool = False

    @property
    def name(self) -> str:
        return self.parameter.partition("=")[0]

    @property
    def value(self) -> str:
        return self.parameter.partition("=")[2]

    def __str__(self) -> str:
        return f"no {self.parameter}" if self.missing else self.parameter


def boot_obstacle(module: str, words: Sequence[str], family: str) -> BootObstacle | None:
    """What on a command line keeps a module off. Debian's kernels choose AppArmor where no module is named."""
    off = ("selinux=0", "enforcing=0") if module == "selinux" else ("apparmor=0",)
    for word in off:
        if given(words, word.partition("=")[0]) == word:
            return BootObstacle(word)
    if listed := given(words, "lsm"):  # with lsm= the kernel does not look at security=
        return None if module in listed.removeprefix("lsm=").split(",") else BootObstacle(listed)
    chosen = given(words, "security")
    if chosen in (None, "security="):
        needed = (module, family) == ("selinux", "debian")
        return BootObstacle("security=selinux", missing=True) if needed else None
    return None if chosen == f"security={module}" else BootObstacle(chosen)


def is_next(survey: Survey, module: str) -> bool:
    """Whether this module confines the host after the next boot."""
    if boot_obstacle(module, next_words(survey[Kernel]), survey[System].family):
        return False
    if module == "apparmor":
        return known(survey[AppArmor].enabled) is not None  # None: the kernel was built without
    reading = survey[SELinux]
    return known(reading.config_mode) in ("permissive", "enforcing") and bool(known(reading.policies))


@only_where(in_container)
def module(survey: Survey, policy: Policy) -> Verdict:
    want = wanted_module(survey, policy)
    if want is None:
        return not_applicable("the policy does not declare lsm.module")
    live = confining(survey)
    if live == want:
        return passed(f"the kernel runs with {live}", declared=want, disk=None, live=live)
    now = f"the kernel runs with {live}" if live else "no Linux Security Module confines this host's processes"
    if is_next(survey, want):
        return Verdict(
            State.PENDING_REBOOT,
            f"{now}; the next boot runs with {want} (lsm.module)",
            declared=want,
            disk=want,
            live=live,
        )
    reason = f"{now}; the policy wants {want} (lsm.module), and the findings of {want} say what is missing"
    return failed(reason, declared=want, disk=None, live=live)


def plan(context: Context) -> Iterable[Change]:
    """Nothing: the subjects apparmor and selinux bring their modules into force."""
    return ()


CONTROLS = (
    Control(
        id="lsm.module",
        title="The Linux Security Module that the policy wants confines the host",
        severity=Severity.HIGH,
        why="Without a Linux Security Module nothing holds back a process that escapes from a container as root.",
        check=module,
        references=("NIST-800-190-4.4.3",),
        impact=Impact.REBOOT,
        by_hand="declare apparmor.enabled or selinux.enforcing in the policy, so that harden brings the wanted module "
        "into force, and see its findings",
    ),
)

SUBJECT = Subject(
    name="lsm",
    rules=LsmRules,
    controls=CONTROLS,
    plan=plan,
    facts=(AppArmor, Kernel, Lsm, SELinux, System),
    unproved="the kernel itself lists its modules; what they do for containers is attacked as containers.confined",
)
