"""Which of the modules that label processes confines this host: AppArmor or SELinux. A kernel runs one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """The security module that confines this host's processes."""

    module: Literal["auto", "selinux", "apparmor"] | None = Field(
        None,
        description="The one that confines the host; `auto`: the one that does already, or its distribution's own.",
    )


def confining(survey: Survey) -> str | None:
    """The module that labels this host's processes now: apparmor, selinux, smack. SELinux without a policy labels
    nothing: it is what apparmor=0 leaves of a Debian kernel, and what RHEL 9 runs with where it is disabled."""
    major = known(survey[Lsm].major)
    return None if major == "selinux" and not known(survey[SELinux].policy_loaded) else major


def wanted(survey: Survey, policy: Policy) -> str | None:
    """`selinux` or `apparmor`; None where the policy asks for neither."""
    module = policy[LsmRules].module
    if module != "auto":
        return module
    live = confining(survey)
    return live if live in ("apparmor", "selinux") else "selinux" if survey[System].family == "rhel" else "apparmor"


def barred(module: str, words: Sequence[str], family: str) -> str | None:
    """What on a command line keeps a module off, or SELinux permissive. Debian's kernels take AppArmor where none is
    named."""
    off = ("selinux=0", "enforcing=0") if module == "selinux" else ("apparmor=0",)
    for word in off:
        if given(words, word.partition("=")[0]) == word:
            return word
    if listed := given(words, "lsm"):  # with lsm= the kernel does not look at security=
        return None if module in listed.removeprefix("lsm=").split(",") else listed
    chosen = given(words, "security")
    if chosen in (None, "security="):
        return "no security=selinux" if (module, family) == ("selinux", "debian") else None
    return None if chosen == f"security={module}" else chosen


def comes(survey: Survey, module: str) -> bool:
    """Whether the next boot has this module confine the host."""
    if barred(module, next_words(survey[Kernel]), survey[System].family):
        return False
    if module == "apparmor":
        return known(survey[AppArmor].enabled) is not None  # None: the kernel was built without
    reading = survey[SELinux]
    return known(reading.config_mode) in ("permissive", "enforcing") and bool(known(reading.policies))


@only_where(in_container)
def module(survey: Survey, policy: Policy) -> Verdict:
    want = wanted(survey, policy)
    if want is None:
        return not_applicable("the policy does not declare lsm.module")
    live = confining(survey)
    if live == want:
        return passed(f"the kernel runs with {live}", want, None, live)
    said = f"the kernel runs with {live}" if live else "no module that labels processes is in force"
    if comes(survey, want):
        return Verdict(State.PENDING_REBOOT, f"{said}, {want} comes with the next boot", want, want, live)
    return failed(f"{said}, {want} is wanted: see the findings of {want} for the way there", want, None, live)


def plan(context: Context) -> Iterable[Change]:
    """The subjects apparmor and selinux bring themselves in force."""
    return ()


CONTROLS = (
    Control("lsm.module", "The host is confined by the security module that the policy wants", Severity.HIGH,
            "A host without one lets every escape from a container be root; the other one has other rules.", module,
            ("NIST-800-190-4.4.3",), Impact.REBOOT,
            by_hand="see the findings of the wanted module: harden brings it in force where the policy declares "
            "apparmor.enabled or selinux.enforcing"),
)  # fmt: skip

SUBJECT = Subject("lsm", LsmRules, CONTROLS, plan, (AppArmor, Kernel, Lsm, SELinux, System))
