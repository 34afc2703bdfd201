"""Look at one host and plan: survey, judge, and what is to be changed. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deploys.core.change import Change, Subject
from deploys.core.control import judge
from deploys.run import baseline, only, planning, transport
from deploys.run.session import Reached, Session
from facts.core.fact import SectionFact
from facts.core.frame import survey_script
from facts.core.reading import UnknownReading
from facts.core.record import Record
from facts.core.survey import Survey
from facts.core.system import System

SURVEY_SECONDS = 180


def look(session: Session) -> None:
    """Survey the host (one execution) and judge what it says. A host that does not answer is lost, not judged."""
    if session.refused:
        return
    transport.tune(session.host)
    facts = facts_of(session.subjects)
    try:
        with session.asking():
            lines = session.execute(survey_script(facts), SURVEY_SECONDS)
    except transport.Unreachable as error:
        session.lost = not isinstance(error, transport.Overflow)
        session.errors.append(str(error))
        return
    session.lost = False
    with session.keeping("survey"):
        survey = Survey.parse(facts, lines)
        controls = [control for subject in session.subjects for control in subject.controls]
        findings = judge(controls, survey, session.policy)
        # What this run itself has moved is no drift.
        findings = findings if session.done else baseline.with_drift(findings, survey, session.policy)
        session.findings = only.set_aside(session.only, findings)
        session.survey = survey
        session.reached = max(session.reached, Reached.SURVEY)


def facts_of(subjects: Iterable[Subject]) -> list[type[SectionFact[Any]]]:
    """Every fact that some subject reads, each once; the host itself and our record first."""
    asked = [fact for subject in subjects for fact in subject.facts]
    return list(dict.fromkeys([System, Record, *asked]))


def plan(session: Session) -> None:
    """What to change, from the findings: `changes` to show and `steps` to execute."""
    if session.survey is not None and may_change(session, session.survey):
        context = session.context(session.survey)
        session.wrong |= set(context.which(*context.findings))
        _take(session, planning.make(session.subjects, context, session.only))
    if session.reached < Reached.CHANGE:
        session.reached = Reached.PLAN if session.steps else Reached.END


def begin_with(session: Session, changes: Sequence[Change]) -> None:
    """A plan of these changes alone: the rest can only be planned when they are done."""
    if session.survey is not None and may_change(session, session.survey):
        arrange(session, changes)
        session.reached = Reached.PLAN


def arrange(session: Session, changes: Iterable[Change]) -> None:
    """These changes are the plan from now on."""
    _take(session, planning.arranged(changes, [subject.name for subject in session.subjects]))


def _take(session: Session, made: planning.Plan) -> None:
    session.changes, session.steps = list(made.changes), list(made.steps)
    session.errors += made.errors


def may_change(session: Session, survey: Survey) -> bool:
    """Whether we are root there; else an error says that we are not."""
    try:
        system = survey[System]
    except UnknownReading as error:
        session.errors.append(f"it is not known whether we are root on this host, so nothing is changed: {error}")
        return False
    if system.uid:
        session.errors.append(f"nothing can be changed: we are not root on this host, since {system.sudo}")
    return system.uid == 0
