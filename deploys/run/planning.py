"""The plan of one host: each finding that does not hold is in it, as a change or as blocked.

Pure: nothing is executed, so that a run which only reads can say too what comes next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deploys.core.change import Blocked, Change, Context, Subject, by_hand
from deploys.core.control import DOES_IT, State
from deploys.run import again
from deploys.run.only import Only, within
from deploys.run.steps import Step, arrange
from facts.core.reading import UnknownReading

UNREAD = "harden plans nothing for it until it can be read"
REBOOT = "reboot the host: the settings on disk take effect at the next boot"
WHY_NO_REBOOT = "harden reboots a host only for a newer kernel, and only where the policy says when (kernel.reboot)"


@dataclass(frozen=True)
class Plan:
    """`steps` is what is executed of `changes`, in this order. `errors`: what could not be planned, and why."""

    changes: Sequence[Change]
    steps: Sequence[Step]
    errors: Sequence[str] = ()

    @property
    def blocked(self) -> list[Blocked]:
        return [change for change in self.changes if isinstance(change, Blocked)]


def make(subjects: Sequence[Subject], context: Context, only: Only | None = None) -> Plan:
    """What the subjects plan, and what is left of the findings. `only`: nothing that mends other controls too."""
    planned, errors = _all(subjects, context)
    planned = within(only, planned)
    planned = again.held_back(planned, again.kept(context.survey), context)
    made = arranged([*planned, *_left(planned, context)], [subject.name for subject in subjects])
    return Plan(made.changes, made.steps, [*errors, *made.errors])


def all_changes(subjects: Sequence[Subject], context: Context) -> list[Change]:
    """What would be changed, also where an earlier run changed it in vain."""
    return _all(subjects, context)[0]


def _all(subjects: Sequence[Subject], context: Context) -> tuple[list[Change], list[str]]:
    """What the subjects plan, and why some cannot."""
    planned: list[Change] = []
    errors: list[str] = []
    for subject in subjects:
        failing = context.which(*(control.id for control in subject.controls))
        changes, error = _of(subject, context, failing)
        planned += changes
        if error:
            errors.append(f"{subject.name}: {error}")
    return planned, errors


def arranged(changes: Iterable[Change], subjects: Iterable[str]) -> Plan:
    """The changes in steps; all of them blocked where they do not go together (two values of one key are wanted)."""
    changes = list(changes)
    try:
        return Plan(changes, arrange(changes, ["engine", *subjects]))
    except Exception as error:  # the text of a host's file is in it
        why = f"cannot be planned: {error}"
    return Plan([_blocked(change, f"it {why}") for change in changes], (), [why])


def _blocked(change: Change, why: str) -> Blocked:
    if isinstance(change, Blocked):
        return change
    return Blocked(change.subject, change.what, why=why, controls=change.controls)


def _of(subject: Subject, context: Context, failing: tuple[str, ...]) -> tuple[list[Change], str]:
    """What one subject plans, and why it cannot, which blocks all that fails of it."""
    if not failing:
        return [], ""
    try:
        return context.survey.budget.spend(lambda: list(subject.plan(context))), ""
    except UnknownReading as error:
        why = f"cannot be planned, {error}"
    except Exception as error:  # as in `judge`: one host's nonsense is that host's error
        why = f"cannot be planned ({type(error).__name__}: {error})"[:300]
    return [Blocked(subject.name, "mend the controls that fail", why=f"it {why}", controls=failing)], why


def _left(planned: Iterable[Change], context: Context) -> Iterable[Blocked]:
    """The findings that no subject has a change for: they need a reboot, or the operator."""
    named = {control for change in planned for control in change.controls}
    left = [context.findings[control] for control in context.which(*context.findings) if control not in named]
    yield from (by_hand(finding) for finding in left if finding.state is not State.PENDING_REBOOT)
    if wait := tuple(finding.control.id for finding in left if finding.state is State.PENDING_REBOOT):
        yield Blocked("host", "reboot the host", why=WHY_NO_REBOOT, by_hand=REBOOT, controls=wait)


def next_steps(plan: Plan, context: Context) -> Mapping[str, str]:
    """By control, what is to be done about a finding that does not hold."""
    found = {control: _next(control, plan) for control in context.which(*context.findings)}
    return found | {c: UNREAD for c, finding in context.findings.items() if finding.state is State.UNKNOWN}


def _next(control: str, plan: Plan) -> str:
    mine = [change for change in plan.changes if control in change.controls]
    blocked = [change for change in mine if isinstance(change, Blocked)]
    if not blocked:
        return DOES_IT
    todo = next((change for change in blocked if change.accepts), blocked[0]).next
    return todo if len(blocked) == len(mine) else f"harden does a part of it; for the rest, {todo}"
