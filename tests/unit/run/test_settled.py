"""A host's part of the report is made when nothing follows for it; one that cannot be made costs no other host's."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.control import Finding, passed
from deploys.core.policy import Policy
from deploys.run import first_look
from deploys.run.run import Run
from deploys.run.session import Reached, Session
from facts.core.survey import Survey
from tests.support.control import control
from tests.support.journal import RUN


class Host:
    def __init__(self, name: str) -> None:
        self.name = name


def judged(run: Run, name: str) -> Session:
    host: Any = Host(name)
    session = Session(host, Policy("p", {}), (), RUN, survey=Survey({}), reached=Reached.SURVEY)
    session.findings = [Finding(control(lambda survey, policy: passed("it is")), passed("it is"))]
    run.sessions[name] = session
    return session


def part(run: Run, name: str) -> Any:
    host: Any = run.sessions[name].host
    return run._host_report(host, None).part()


@pytest.fixture
def nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    """On host b something is met that nobody foresaw."""
    notes = first_look.notes

    def of(session: Session) -> list[str]:
        if session.host.name == "b":
            raise ValueError("nonsense")
        return notes(session)

    monkeypatch.setattr(first_look, "notes", of)


@pytest.mark.parametrize("settles", [True, False])
@pytest.mark.usefixtures("nonsense")
def test_a_part_that_cannot_be_made_is_that_hosts_error_alone(settles: bool) -> None:
    run = Run("drift")
    sessions = [judged(run, name) for name in ("a", "b")]
    if settles:
        for session in sessions:
            run.settle(session)
        assert [session.survey for session in sessions] == [None, None]
    a, b = part(run, "a"), part(run, "b")
    assert (a["status"], len(a["findings"])) == ("ok", 1)
    assert (b["status"], b["findings"]) == ("error", [])
    assert b["error"] == "its part of the report cannot be made: ValueError: nonsense"


def test_a_host_that_was_lost_is_unreachable_when_it_is_settled() -> None:
    run = Run("drift")
    session = judged(run, "a")
    session.lost, session.survey, session.findings = True, None, []
    session.errors.append("no answer")
    run.settle(session)
    assert (part(run, "a")["status"], part(run, "a")["error"]) == ("unreachable", "no answer")
