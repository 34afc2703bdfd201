"""Execute the steps of a plan on one host: each a journalled script, confirmed where it could cut us off."""

from __future__ import annotations

from collections.abc import Iterable

from deploys.core.change import Blocked, Change, Install, Reboot, Service
from deploys.report.report import change_json
from deploys.run import transport
from deploys.run.confirm import await_revert, confirmed, trial
from deploys.run.journal import confirm_script
from deploys.run.look import arrange
from deploys.run.reboot import wait
from deploys.run.script import Outcome
from deploys.run.session import Reached, Session
from deploys.run.step_script import Compiled, Refused, compile_step
from deploys.run.steps import PACKAGES, Step

STEP_SECONDS = 1800  # an installation on a slow host
CONFIRM_SECONDS = 180


def execute(session: Session, step: Step) -> bool:
    """Execute one step; whether all of it was done. What failed is kept in `errors`, other subjects may go on."""
    session.reached = Reached.CHANGE
    session.begun.append(step)
    try:
        made = _made(session, step)
    except Refused as error:  # nor would the host let any other step change it
        session.errors.append(str(error))
        session.host.log_styled(f"failed: {error}", fg="red")
        arrange(session, session.blocked)
        return False
    if made:
        session.made += step.makes
    else:
        session.unmade |= {change.subject for change in step.makes}
    if not made and not step.service:
        _leave(session, step)
    return made


def _leave(session: Session, step: Step) -> None:
    """A subject ends where one of its changes failed: what it wants of a service could depend on that change."""
    needed = {change.subject for change in session.changes if isinstance(change, Install)}
    ended = needed if step.name == PACKAGES else {step.name}
    left = [each for each in session.changes if each.subject not in ended or isinstance(each, Blocked)]
    arrange(session, left)
    if step.name == PACKAGES:
        session.errors.append(
            f"{', '.join(sorted(ended))}: nothing was changed, since its packages could not be installed"
        )


def _made(session: Session, step: Step) -> bool:
    """Whether all of the step was made, to last."""
    compiled = compile_step(step, session.run, session.entries + 1)
    session.entries += len(compiled.entries)
    before, run = len(session.done), session.run["id"]
    on_trial = trial(session, step.name, run) if step.commit_confirmed else None
    try:
        lines = session.execute(compiled.script.text, STEP_SECONDS)
    except transport.Unreachable as error:
        session.errors.append(f"{step.name}: {error}; what was begun goes on there: run again to see how it ended")
        if on_trial:
            await_revert(session, on_trial)
        return False
    made = _note_all(session, step, compiled=compiled, lines=lines)
    if not on_trial:
        return made
    if not made:
        session.errors.append(f"{step.name}: the host took back what this step had changed")
    elif confirmed(session, on_trial, confirm_script(run), seconds=CONFIRM_SECONDS):
        return True
    del session.done[before:]
    return False


def _note_all(session: Session, step: Step, *, compiled: Compiled, lines: Iterable[str]) -> bool:
    """What became of each change of the step; whether all were made. A change that was not
    made only because another one failed is left out where that one says why, and else named once."""
    outcomes = compiled.outcomes(lines).values()
    own = [outcome for outcome in outcomes if not outcome.follows]
    following = [outcome for outcome in outcomes if outcome.follows]
    failed = any(outcome.error for outcome in own)
    for outcome in own if failed else [*own, *following[:1]]:
        _note(session, step.name, compiled.entries[outcome.entry], outcome=outcome)
    return not failed and not following


def _note(session: Session, step: str, change: Change | Service, *, outcome: Outcome) -> None:
    what = change.what
    if outcome.error:
        session.errors.append(f"{step}: {what}: {outcome.error}")
        session.host.log_styled(f"failed: {what}: {outcome.error}", fg="red")
        return
    session.host.log(f"done: {what}")
    entry = f"{session.run['id']}/{outcome.entry}"
    if isinstance(change, Service):
        session.done.append({"subject": step, "what": what, "journal": entry})
    else:
        session.done.append(change_json(change, entry))


def reboot(session: Session, step: Step) -> bool:
    """Reboot the host and wait until it has come to rest; whether it came back well. Not where something failed."""
    if session.errors:
        session.errors.append("not rebooted, since an earlier change failed")
        return True
    if not execute(session, step):
        return False
    well = True
    for change in step.changes:
        if isinstance(change, Reboot):
            well, said = wait(session, change)
            session.host.log_styled(f"{'back' if well else 'failed'}: {said}", fg="green" if well else "red")
            if not well:
                session.unmade.add(change.subject)
                session.errors.append(f"reboot: {said}")
    return well
