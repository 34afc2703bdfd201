"""A run about a part of the controls: which that is, what is planned for it, and what it may say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Context, Subject
from deploys.core.control import Control, Finding, Severity, State, Verdict, failed, passed
from deploys.core.policy import Policy, Rules, Waiver
from deploys.report import report
from deploys.report.formats import html
from deploys.report.terminal import render_table
from deploys.run import again, ending, operations, planning
from deploys.run.only import NothingSoNamed, Only, asked_for, part, set_aside, within
from deploys.run.session import Reached, Session
from facts.core.record import BASELINE
from facts.core.survey import Survey
from tests.support.journal import RUN


def row(name: str, severity: Severity = Severity.HIGH) -> Control:
    return Control(name, "A title", severity, "A reason.", lambda survey, policy: failed("it is not"))


def mends(*controls: str) -> Change:
    return Command(controls[0].partition(".")[0], f"mend {controls[0]}", script=":", undo=":", controls=controls)


class Hull(Rules): ...


class Sail(Rules): ...


HULL = [row("hull.dry"), row("hull.painted", Severity.LOW)]
SAIL = [row("sail.whole"), row("sail.set", Severity.MEDIUM)]


def plan_hull(context: Context) -> Iterable[Change]:
    yield from (mends(control) for control in context.which("hull.dry", "hull.painted"))
    assert "hull.painted" in context.findings, "a plan for one may ask how another stands"


def plan_sail(context: Context) -> Iterable[Change]:
    yield mends("sail.whole", "sail.set")


SUBJECTS = (
    Subject("hull", Hull, tuple(HULL), plan_hull, ()),
    Subject("sail", Sail, tuple(SAIL), plan_sail, ()),
)
ALL = [Finding(control, failed("it is not", live=1)) for control in (*HULL, *SAIL)]


@pytest.mark.parametrize(
    ("words", "controls"),
    [
        (["hull.dry"], {"hull.dry"}),
        (["sail"], {"sail.whole", "sail.set"}),
        (["high"], {"hull.dry", "sail.whole"}),
        (["low", "sail.set"], {"hull.painted", "sail.set"}),
    ],
)
def test_a_word_is_a_control_a_subject_or_a_severity(words: list[str], controls: set[str]) -> None:
    only = part(words, SUBJECTS)
    assert only is not None
    assert only == Only(tuple(words), frozenset(controls), 4)


def test_a_word_that_names_nothing_is_refused() -> None:
    assert part([], SUBJECTS) is None
    with pytest.raises(
        NothingSoNamed, match=r"only=sial: no control or subject .* high, medium, low; did you mean sail\?"
    ):
        part(["hull", "sial"], SUBJECTS)


def test_others_that_do_not_hold_are_set_aside_and_not_said_to_hold() -> None:
    only = part(["hull.dry"], SUBJECTS)
    unknown = Finding(SAIL[1], Verdict(State.UNKNOWN, "not read"))
    good = Finding(HULL[1], passed("it is"))
    found = set_aside(only, [ALL[0], good, ALL[2], unknown])
    assert [each.state for each in found] == [State.FAIL, State.PASS, State.WAIVED, State.UNKNOWN]
    assert asked_for(only, found) == [ALL[0]]
    assert found[2].verdict.live == 1
    assert set_aside(None, ALL) == asked_for(None, ALL) == ALL


def planned(*words: str) -> planning.Plan:
    only = part(words, SUBJECTS)
    context = Context(Survey({}), Policy("p", {}), {f.control.id: f for f in set_aside(only, ALL)})
    return planning.make(SUBJECTS, context, only)


def test_only_what_is_asked_for_is_planned() -> None:
    assert [change.what for step in planned("hull.dry").steps for change in step.changes] == ["mend hull.dry"]
    assert len(planned().steps) == len(planned("hull", "sail").steps) == 2


def test_a_change_that_would_mend_more_is_refused() -> None:
    (blocked,) = planned("sail.set").changes
    assert isinstance(blocked, Blocked)
    assert blocked.reason == (
        "it cannot be done for a part of its controls: it goes with what is for sail.whole, which only= leaves out. "
        "Add them to only=, or leave only= out"
    )
    assert not planned("sail.set").steps
    assert planning.next_steps(planned("sail.set"), Context(Survey({}), Policy("p", {}), {ALL[3].control.id: ALL[3]}))


def test_half_of_what_mends_a_control_is_not_done() -> None:
    only = part(["hull", "sail.set"], SUBJECTS)
    changes = [
        mends("sail.set", "sail.whole"),
        mends("hull.painted", "sail.set"),
        mends("hull.painted"),
        mends("hull.dry"),
    ]
    assert [isinstance(change, Blocked) for change in within(only, changes)] == [True, True, True, False]
    assert within(None, changes) == changes


class Host:
    name = "h"

    def log_styled(self, text: str, **_: Any) -> None: ...


def a_session(*words: str, policy: Policy | None = None) -> Session:
    host: Any = Host()
    session = Session(host, policy or Policy("p", {}), SUBJECTS, RUN, only=part(words, SUBJECTS))
    session.findings, session.survey, session.reached = set_aside(session.only, ALL), Survey({}), Reached.END
    return session


def test_a_part_never_becomes_the_baseline() -> None:
    assert BASELINE in ending.keep_script(a_session())
    assert BASELINE not in ending.keep_script(a_session("hull"))
    assert "ended" in ending.keep_script(a_session("hull"))


def test_the_report_has_the_part_and_says_so() -> None:
    waiver = Waiver(control="sail.set", reason="r", owner="o", until=date.max)
    policy = Policy("p", {}, waivers=(waiver,))
    made = ending.report(a_session("hull", policy=policy), Reached.SURVEY)
    assert [finding.control.id for finding in made.findings] == ["hull.dry", "hull.painted"]
    assert made.waivers == [], "of a waiver for a control that was not judged nothing is known"
    part_of_it = {"asked": ["hull"], "controls": 2, "of": 4}
    about = report.Run("r1", "drift", RUN["started"], RUN["started"], "p", only=part_of_it)
    good = [replace(finding, verdict=passed("it is")) for finding in made.findings]
    said = report.build(about, [replace(made, findings=good)])
    assert said["run"]["only"] == part_of_it
    last = render_table(said, color=False, width=200).strip().splitlines()[-1]
    assert last.endswith("2 pass. Exit code 0: what was judged holds. Judged only 2 of 4 controls (only=hull).")
    assert "What was judged holds.</h1>\n<p>Judged only 2 of 4 controls (only=hull).</p>" in html(said)


def test_a_part_that_changed_nothing_is_not_surveyed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set aside counts as waived, and so as mended: what was once in vain for it stays on the host's record."""
    noops: list[str] = []
    for words in ((), ("hull",)):
        session: Any = a_session(*words)
        monkeypatch.setattr(operations, "host", SimpleNamespace(name="h", noop=noops.append))
        monkeypatch.setattr(operations, "current", lambda session=session: SimpleNamespace(sessions={"h": session}))
        monkeypatch.setattr(again, "outlived", lambda survey, findings: True)
        list(operations.survey_again._inner())
    assert noops == ["nothing was changed"]
