"""What is said of a host as a whole, once, where else each of a hundred findings would say it: that we are not root
there, that it is a container itself, that it has no container engine."""

from __future__ import annotations

from deploys.core.change import Subject
from deploys.core.control import Finding, State, in_container
from deploys.run.only import asked_for
from deploys.run.session import Session
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from facts.core.system import ASKS, System, SystemReading

PASSWORD = (
    "add --sudo --use-sudo-password, with which pyinfra asks for it, or give the host _sudo=True and _sudo_password in "
    "its data"
)
LOGIN = "log in as root, or let this user become root by sudo"


def notes(session: Session) -> list[str]:
    """A sentence each."""
    survey = session.survey
    if survey is None:
        return []
    try:
        system = survey[System]
    except UnknownReading:
        return []
    findings = [each for each in asked_for(session.only, session.findings) if each.state is State.NOT_APPLICABLE]
    found = [_not_root(system), _contained(session, survey, findings), _without_engine(session, survey, findings)]
    return [note for note in found if note]


def _not_root(system: SystemReading) -> str:
    if system.uid == 0:
        return ""
    return (
        f"we are not root here (uid {system.uid}), since {system.sudo}: what only root can read is unknown, and "
        f"nothing can be changed; {PASSWORD if system.sudo == ASKS else LOGIN}"
    )


def _contained(session: Session, survey: Survey, findings: list[Finding]) -> str:
    why = in_container(survey, session.policy)
    mine = sum(finding.verdict.reason == why for finding in findings)
    if not why or not mine:
        return ""
    return f"{why}, so {_controls(mine)} not apply here: harden that host too"


def _without_engine(session: Session, survey: Survey, findings: list[Finding]) -> str:
    engines = [subject for subject in session.subjects if subject.installed]
    if not engines or any(_may_be_there(subject, survey) for subject in engines):
        return ""
    names = {subject.name for subject in engines}
    mine = sum(finding.control.subject in names for finding in findings)
    return f"no container engine is on this host, so {_controls(mine)} not apply that are about one" if mine else ""


def _may_be_there(subject: Subject, survey: Survey) -> bool:
    assert subject.installed
    try:
        return subject.installed(survey)
    except UnknownReading:
        return True


def _controls(count: int) -> str:
    return "1 control does" if count == 1 else f"{count} controls do"
