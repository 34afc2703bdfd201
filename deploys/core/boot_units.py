"""Controls whose files take effect only by a unit that a boot runs, and how that unit is brought back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deploys.core.change import Blocked, Change, Command, Context
from deploys.core.control import Check, State, Verdict, failed
from deploys.core.policy import Policy
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import System
from facts.core.units import Idle

MASKS = "/etc/systemd/system/"  # where `systemctl mask` puts them


def idle(survey: Survey, *units: str) -> Idle | None:
    """The first of these units that is installed and that the next boot does not run."""
    found = survey[System].idle
    return next((known(found[unit]) for unit in units if unit in found), None)


def standing_on(*units: str, so: str) -> Callable[[Check], Check]:
    """A check that holds only where a boot runs these units. `so`: what follows where it does not."""

    def wrap(check: Check) -> Check:
        def checked(survey: Survey, policy: Policy) -> Verdict:
            verdict = check(survey, policy)
            if verdict.state not in (State.PASS, State.PENDING_REBOOT):
                return verdict
            if (found := idle(survey, *units)) is None:
                return verdict
            reason = f"{found.why}, {so}"
            return failed(reason, declared=verdict.declared, disk=found.cause, live=verdict.live)

        return checked

    return wrap


def plan_units(context: Context, subject: str, *units: str, controls: tuple[str, ...]) -> Iterator[Change]:
    """What brings those back that keep these controls from holding."""
    failing = tuple(id_ for id_ in controls if id_ in context.findings and context.findings[id_].state is State.FAIL)
    for unit in units if failing else ():
        found = context.survey[System].idle.get(unit)
        if isinstance(found, Idle):
            yield _again(subject, found, failing)


def _again(subject: str, found: Idle, controls: tuple[str, ...]) -> Change:
    unit, what = found.unit, f"have a boot run {found.unit} again"
    if found.cause == "masked" and found.file.startswith(MASKS):
        what, undo = f"{what}: unmask it", f"systemctl mask {unit}"
        return Command(subject, what, script=f"systemctl unmask {unit}", undo=undo, controls=controls)
    todo = f"remove {found.line or 'its ExecStart='} from {found.file}, then run systemctl daemon-reload"
    todo = {
        "masked": f"remove {found.file}, then run systemctl daemon-reload",
        "unwanted": f"run systemctl add-wants sysinit.target {unit}",
    }.get(found.cause, todo)
    return Blocked(subject, what, why=found.why, by_hand=todo, controls=controls)
