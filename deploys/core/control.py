"""Controls and findings: knowledge as rows, judged against a survey and a policy.

A control is pure: (survey, policy) -> Verdict. It never touches a host. What it could not know (UnknownReading)
becomes `unknown`, which is never pass and never fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from deploys.core.alike import alike
from deploys.core.policy import Policy, Rules, Waiver
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from facts.core.system import System


class State(StrEnum):
    """What a finding says. Only PASS, NOT_APPLICABLE and WAIVED hold."""

    PASS = "pass"
    FAIL = "fail"
    PENDING_RESTART = "pending-restart"  # disk is right, a daemon or container still runs with the old setting
    PENDING_REBOOT = "pending-reboot"  # disk is right, the running kernel is not
    NOT_APPLICABLE = "not-applicable"
    WAIVED = "waived"
    UNKNOWN = "unknown"

    @property
    def holds(self) -> bool:
        return self in (State.PASS, State.NOT_APPLICABLE, State.WAIVED)


class Impact(StrEnum):
    """What it costs the host to mend what the control finds."""

    NONE = "none"
    RESTART = "restart"
    REBOOT = "reboot"


class Severity(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


DOES_IT = "harden does it"  # what is to be done next about what a plan changes


@dataclass(frozen=True)
class Verdict:
    """A control's judgement. `declared`, `disk` and `live` are JSON values; None where there is no such reading.
    `waived`: what would be against it, had not a waiver named it, by those names."""

    state: State
    reason: str
    declared: Any = field(default=None, kw_only=True)
    disk: Any = field(default=None, kw_only=True)
    live: Any = field(default=None, kw_only=True)
    waived: tuple[str, ...] = field(default=(), kw_only=True)


Check = Callable[[Survey, Policy], Verdict]
Against = Callable[[Survey, Policy], str | None]  # why a control does not apply; None where it does


def passed(reason: str, *, declared: Any = None, disk: Any = None, live: Any = None) -> Verdict:
    return Verdict(State.PASS, reason, declared=declared, disk=disk, live=live)


def failed(reason: str, *, declared: Any = None, disk: Any = None, live: Any = None) -> Verdict:
    return Verdict(State.FAIL, reason, declared=declared, disk=disk, live=live)


def not_applicable(reason: str) -> Verdict:
    return Verdict(State.NOT_APPLICABLE, reason)


def some(items: Iterable[str], most: int = 5) -> str:
    """The first of them for a reason, and how many more there are."""
    found = list(items)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def only_where(*against: Against) -> Callable[[Check], Check]:
    """A check that runs only where none of `against` has a reason why the control does not apply; the first reason is
    the finding's."""

    def wrap(check: Check) -> Check:
        def checked(survey: Survey, policy: Policy) -> Verdict:
            found = (reason(survey, policy) for reason in against)
            why = next(filter(None, found), None)
            return not_applicable(why) if why else check(survey, policy)

        return checked

    return wrap


def undeclared(rules: type[Rules], name: str) -> Against:
    """The policy leaves `name` (`subject.key`) out."""
    key = name.rpartition(".")[2]
    return lambda survey, policy: f"the policy does not declare {name}" if getattr(policy[rules], key) is None else None


def in_container(survey: Survey, policy: Policy) -> str | None:
    """A container's kernel is judged on its host."""
    container = survey[System].container
    return f"this is a container ({container}): the kernel belongs to its host" if container else None


def name_key(verdict: Verdict, key: str, wanted: str = "") -> Verdict:
    """The verdict, whose reason names the policy's key (`subject.key`) and what it wants, where that does not hold.
    `wanted`: what it wants, where `declared` does not say it well."""
    if verdict.state.holds:
        return verdict
    return replace(verdict, reason=f"{verdict.reason}; the policy wants {wanted or verdict.declared} ({key})")


def naming_key(key: str, wanted: str = "") -> Callable[[Check], Check]:
    """A check whose verdicts name the policy's key."""
    return lambda check: lambda survey, policy: name_key(check(survey, policy), key, wanted)


def agree(
    *, declared: Any, disk: Any, live: Any, impact: Impact, holds: Callable[[Any], bool] | None = None, what: str = "it"
) -> Verdict:
    """The three-way judgement: pass only where disk and live both satisfy what is declared.

    `holds` says whether a reading satisfies the policy (default: equal to `declared`). Disk right and live wrong
    is pending, by the control's impact; live right and disk wrong fails, since it would not outlast a restart.
    """
    ok = holds or (lambda value: bool(value == declared))
    disk_ok, live_ok, now = ok(disk), ok(live), _say(live)
    read = {"declared": declared, "disk": disk, "live": live}
    if disk_ok and live_ok:
        return passed(f"{what} is {now} on disk and live", **read)
    if disk_ok and impact is Impact.REBOOT:
        why = f"{what} is right on disk; the running kernel keeps {now} until a reboot"
        return Verdict(State.PENDING_REBOOT, why, **read)
    if disk_ok and impact is Impact.RESTART:
        why = f"{what} is right on disk; what runs now keeps {now} until it is restarted"
        return Verdict(State.PENDING_RESTART, why, **read)
    if disk_ok:
        return failed(f"{what} is right on disk, but live it is {now}", **read)
    if live_ok:
        kept = "nothing on disk sets it" if disk is None else f"on disk it is {_say(disk)}"
        return failed(f"{what} is right live, but {kept}: a restart would lose it", **read)
    return failed(f"{what} is {now} live and {_say(disk)} on disk", **read)


def _say(value: Any) -> str:
    return "not set" if value is None else str(value)


# Names that are written in lower case at the beginning of a sentence too.
LOWER_CASE = frozenset(
    {"aufs", "auditd", "containerd", "daemon.json", "debugfs", "dockerd", "hullproof", "io_uring", "libvirt"}
)


def _begins_a_sentence(text: str) -> bool:
    first = text.split(" ")[0].removesuffix("'s")
    return first[:1].isupper() or first in LOWER_CASE


ID = re.compile(r"[a-z0-9]+\.[a-z0-9._-]+")


@dataclass(frozen=True)
class Control:
    """One thing that must hold, as a row of knowledge.

    id: `subject.name`; title and why: sentences, the title without its full stop; references: ids such as
    `CIS-Docker-2.2`, `NIST-800-190-4.4.3`, `KSPP`, `STIG-RHEL9-213010`; lockout: whether mending it could cut us off,
    so that its changes are commit-confirmed; unconfirmed: why some of them need not be; by_hand: who mends it, and
    how, where harden may not: a sentence without capital and full stop; formerly: the ids that it had in the release
    before, which waivers and baselines may still use; split_from: those that judged this too in the release before,
    whose waivers cover it; files and packages: what it is set by beside what the journal says was changed for it, so
    that a change of them is the cause of its drift (`*` stands for anything in a package's name); lists: what its
    finding lists by name, where its check heeds waivers that cover some of them alone; unproved: why no proof
    attempts what it forbids, where its subject does not say that. A malformed row raises ValueError at import.
    """

    id: str
    title: str
    severity: Severity
    why: str
    check: Check
    references: tuple[str, ...] = ()
    impact: Impact = Impact.NONE
    lockout: bool = False
    unconfirmed: str = ""
    by_hand: str = ""
    formerly: tuple[str, ...] = ()
    split_from: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    lists: str = ""
    unproved: str = ""

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise ValueError(f"control id {self.id!r}: want subject.name in lower case")
        for name, text in (("title", self.title), ("why", self.why)):
            if not _begins_a_sentence(text):
                raise ValueError(f"control {self.id}: {name}: want a sentence that begins with a capital")
        if self.title.endswith(".") or not self.why.endswith("."):
            raise ValueError(f"control {self.id}: want a title without a full stop, and a why with one")
        if not isinstance(self.references, tuple) or not all(isinstance(ref, str) for ref in self.references):
            raise ValueError(f"control {self.id}: references must be a tuple of ids")
        if self.unconfirmed and not self.lockout:
            raise ValueError(f"control {self.id}: unconfirmed is for a control that may cut us off (lockout)")

    @property
    def subject(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Finding:
    """A control's outcome on one host."""

    control: Control
    verdict: Verdict
    drift: dict[str, Any] | None = field(default=None, compare=False)  # what moved since the baseline, if anything
    next: str | None = field(default=None, compare=False)  # what is to be done about it, where it does not hold

    @property
    def state(self) -> State:
        return self.verdict.state

    def to_json(self) -> dict[str, Any]:
        control, verdict = self.control, self.verdict
        return {
            "control": control.id,
            "subject": control.subject,
            "title": control.title,
            "severity": control.severity.value,
            "state": verdict.state.value,
            "declared": verdict.declared,
            "disk": verdict.disk,
            "live": verdict.live,
            "reason": verdict.reason,
            "next": self.next,
            "impact": control.impact.value,
            "references": list(control.references),
            "drift": self.drift,
        }


def judge(controls: Iterable[Control], survey: Survey, policy: Policy) -> list[Finding]:
    """A finding per control, waivers applied."""
    return [_waive(Finding(control, _check(control, survey, policy)), policy) for control in controls]


def _check(control: Control, survey: Survey, policy: Policy) -> Verdict:
    def check() -> Verdict:
        return survey.budget.spend_at_once(lambda: control.check(survey, policy))

    survey.budget.let_others()
    try:
        return alike(policy, control, survey.same, check)
    except UnknownReading as error:
        return Verdict(State.UNKNOWN, str(error))
    except Exception as error:  # a reading of a form that nothing here foresaw costs this finding, never the run
        said = f"{type(error).__name__}: {error}"[:200]
        return Verdict(State.UNKNOWN, f"hullproof cannot make sense of what the host answered here ({said})")


def _waive(finding: Finding, policy: Policy) -> Finding:
    verdict = finding.verdict
    if finding.state.holds:
        return finding
    for waiver in policy.waivers_for(finding.control.id):
        if waiver.expired:
            reason = f"{verdict.reason} ({by(waiver)}: the waiver has expired)"
            verdict = replace(verdict, reason=reason)
        elif waiver.only is None:
            reason = f"{by(waiver)}: {waiver.reason} (but for that: {verdict.reason})"
            verdict = replace(verdict, state=State.WAIVED, reason=reason)
    return finding if verdict is finding.verdict else replace(finding, verdict=verdict)


def by(waiver: Waiver) -> str:
    """Who waived what until when."""
    what = f" for {some(waiver.only)}" if waiver.only else ""
    return f"waived{what} by {waiver.owner} until {waiver.until}"
