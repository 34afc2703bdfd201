"""Execute the steps of a plan on one host: each a journalled script, confirmed where it could cut us off."""

from __future__ import annotations

from deploys.core.change import Blocked, Change, Install, Reboot, Service
from deploys.report.report import change_json
from deploys.run import journal, transport
from deploys.run.confirm import await_revert, confirmed
from deploys.run.logins import logins
from deploys.run.look import arrange
from deploys.run.reboot import wait
from deploys.run.session import Reached, Session
from deploys.run.steps import PACKAGES, Step

STEP_SECONDS = 1800  # an installation on a slow host
CONFIRM_SECONDS = 180
FOLLOWS = (journal.NOT_REACHED, journal.PUT_BACK)  # from what failed in the same step


def execute(session: Session, step: Step) -> bool:
    """Execute one step; whether all of it was done. What failed is kept in `errors`, other subjects may go on."""
    session.reached = Reached.CHANGE
    session.begun.append(step)
    try:
        made = _made(session, step)
    except journal.Refused as error:  # nor would the host let any other step change it
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
    """A subject ends where one of its changes failed: what it wants of a service could stand on that one."""
    needed = {change.subject for change in session.changes if isinstance(change, Install)}
    ended = needed if step.name == PACKAGES else {step.name}
    left = [each for each in session.changes if each.subject not in ended or isinstance(each, Blocked)]
    arrange(session, left)
    if step.name == PACKAGES:
        session.errors.append(f"{', '.join(sorted(ended))}: nothing was changed, for want of packages")


def _made(session: Session, step: Step) -> bool:
    """Whether all of the step was made, to last."""
    compiled = journal.compile_step(step, session.run, session.entries + 1)
    session.entries += len(compiled.entries)
    before, sessions = len(session.done), logins(session.host) if step.armed else frozenset()
    try:
        lines = session.execute(compiled.script, STEP_SECONDS)
    except transport.Unreachable as error:
        session.errors.append(f"{step.name}: {error}; what was begun on the host goes on there, run again to see")
        if step.armed:
            await_revert(session, session.run["id"], step.name)
        return False
    outcomes = compiled.outcomes(lines)
    told_first = sorted(outcomes, key=lambda entry: outcomes[entry].error in FOLLOWS)
    made = all([_note(session, step, entry, compiled.entries[entry], outcomes[entry].error) for entry in told_first])
    if not step.armed:
        return made
    if not made:
        session.errors.append(f"{step.name}: what it had changed until then was taken back")
    if made and _made_to_last(session, step, sessions):
        return True
    del session.done[before:]
    return False


def _made_to_last(session: Session, step: Step, sessions: frozenset[str]) -> bool:
    """Confirm an armed step over a fresh connection; where there is none, wait until the host took it back."""
    run = session.run["id"]
    return bool(confirmed(session, step.name, run, journal.confirm_script(run), sessions, CONFIRM_SECONDS))


def _note(session: Session, step: Step, entry: str, change: Change | Service, error: str) -> bool:
    what = f"{change.name} takes up its settings" if isinstance(change, Service) else change.what
    if error in FOLLOWS and any(each.startswith(f"{step.name}: ") for each in session.errors):
        return False  # what stopped the step has been told
    if error:
        session.errors.append(f"{step.name}: {what}: {error}")
        session.host.log_styled(f"failed: {what}: {error}", fg="red")
        return False
    session.host.log(f"done: {what}")
    entry = f"{session.run['id']}/{entry}"
    if isinstance(change, Service):
        session.done.append({"subject": step.name, "what": what, "journal": entry})
    else:
        session.done.append(change_json(change, entry))
    return True


def reboot(session: Session, step: Step) -> bool:
    """Reboot the host and wait until it has come to rest; whether it came back well. Not where something failed."""
    if session.errors:
        session.errors.append("not rebooted, since something failed before")
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
