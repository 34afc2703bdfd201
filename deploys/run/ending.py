"""The end of a run on one host: surveyed again, what holds kept there as the baseline, and its part of the report."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from deploys.core.change import Blocked, controls_of
from deploys.core.control import Finding, some
from deploys.core.text import clean
from deploys.report import waivers
from deploys.report.report import HostReport, Settled, Status
from deploys.run import again, baseline, first_look, journal, planning, transport
from deploys.run.look import look
from deploys.run.only import asked_for
from deploys.run.session import Reached, Session
from facts.core.record import Record, RecordReading
from facts.core.system import System, SystemReading
from facts.kernel.kernel import Kernel, KernelReading

KEEP_SECONDS = 180


def survey_again(session: Session) -> bool:
    """Survey again after the changes; keep the baseline. Whether the host answers and nothing failed. Without a new
    survey nothing is known of the host as it is now, and nothing is kept."""
    before = session.survey
    look(session)
    if session.lost:
        with contextlib.suppress(transport.Unreachable):
            session.reconnect()
            look(session)
    if not session.lost:
        read = session.survey is not before
        script = keep_script(session) if read else journal.ended_script(session.run["id"])
        try:
            session.execute(script, KEEP_SECONDS)
        except transport.Unreachable as error:
            session.errors.append(f"the baseline could not be kept: {error}")
        session.reached = Reached.END if read else session.reached
    return not session.errors


def keep_script(session: Session) -> str:
    """sh that ends the run on the host: what holds now is the baseline, while anything that we changed is there."""
    record = session.survey.readings.get(Record) if session.survey else None
    changed = not isinstance(record, RecordReading) or record.journals or record.unread
    rows = baseline.baseline_of(session.run, session.findings, session.policy, _in_vain(session))
    ended = journal.ended_script(session.run["id"])
    if session.only:
        return ended  # a part is no baseline: the one that is there stays
    return ended + (baseline.keep_script(rows) if changed else baseline.DROP)


def _in_vain(session: Session) -> list[again.Vain]:
    """What was changed in this run and would be changed again; the findings that it was for say so."""
    if session.survey is None or session.undoing:
        return []
    context = session.context(session.survey)
    coming = planning.all_changes(session.subjects, context)
    made = [change for change in session.made if change.subject not in session.unmade]
    earlier = again.kept(session.survey)
    vain = again.in_vain(context, made=made, coming=coming, run=session.run["id"], earlier=earlier)
    by_run = again.Made(
        kind=session.run["kind"],
        changes=made,
        in_vain=vain,
        failed=frozenset(session.wrong),
        coming=frozenset(controls_of(change for change in coming if not isinstance(change, Blocked))),
    )
    explained = [by_run.explained(finding) for finding in session.findings]
    for was, now in zip(session.findings, explained, strict=True):
        if now is not was:
            session.host.log_styled(clean(f"{now.control.id}: {now.verdict.reason}"), fg="red")
    session.findings = explained
    return vain


def report(session: Session, goal: Reached) -> HostReport:
    """How this host ended, in a run that was to come as far as `goal`. A survey from before a
    change says nothing of the host after it, so its findings are left out where no other survey followed."""
    unexplained = session.reached is Reached.CHANGE or not session.errors  # else an error says why it went no further
    errors = list(session.errors)
    if session.reached < goal and unexplained and not session.lost:
        errors.append(_cut_off(session))
    status: Status = "unreachable" if session.lost else "error" if errors else "ok"
    system, kernel = _identity(session)
    findings = [] if session.reached is Reached.CHANGE else _with_next(session)
    return HostReport(
        name=session.host.name,
        status=status,
        error="; ".join(errors) or None,
        os=system,
        kernel=kernel,
        findings=asked_for(session.only, findings),
        changes=session.done,
        notes=first_look.notes(session) if findings else [],
        waivers=[row for row in waivers.of_host(session.policy, findings) if _judged(session, row["control"])],
    )


def settled(session: Session, goal: Reached) -> Settled:
    """The host's part of the report, made. Where it cannot be, that is this host's error, and costs no other host's."""
    with session.keeping("its part of the report cannot be made"):
        ended = report(session, goal)
        return Settled(ended.name, ended.part(), ended.controls)
    failed = HostReport(session.host.name, "error", "; ".join(session.errors), changes=session.done)
    return Settled(failed.name, failed.part(), failed.controls)


def _judged(session: Session, control: str) -> bool:
    return session.only is None or control in session.only.controls


def _cut_off(session: Session) -> str:
    """What a run that ended before its time did here, and what it did not."""
    match session.reached:
        case Reached.NOTHING:
            return "the run ended before this host was read"
        case Reached.SURVEY:
            return "the run ended before its plan was made: nothing was changed"
        case Reached.PLAN:
            return "the run ended before its plan was carried out: nothing was changed"
    left = [step for step in session.steps if step not in session.begun]
    changes = sum(len(step.changes) + bool(step.service) for step in left)
    last = session.undoing.past.run if session.undoing else session.begun[-1].name
    names = f" ({some(step.name for step in left)})" if left else ""
    return (
        f"the run was cut off: {len(session.done)} changes are known to be made, {changes} were not begun{names}; "
        f"what was begun last ({last}) may still be running on the host. Run drift to see the host as it is now"
    )


def _with_next(session: Session) -> list[Finding]:
    """The findings, each that does not hold with what is to be done next: by what harden would plan now."""
    if session.survey is None:
        return session.findings
    context = session.context(session.survey)
    steps = planning.next_steps(planning.make(session.subjects, context, session.only), context)
    return [
        replace(finding, next=steps[finding.control.id]) if finding.control.id in steps else finding
        for finding in session.findings
    ]


def _identity(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    """The system and the kernel as the report has them; {} where unknown."""
    readings = session.survey.readings if session.survey else {}
    system, kernel = readings.get(System), readings.get(Kernel)
    return (
        {"id": system.id, "version": system.version_id, "name": system.pretty_name}
        if isinstance(system, SystemReading)
        else {},
        {"release": kernel.release, "build": kernel.build} if isinstance(kernel, KernelReading) else {},
    )
