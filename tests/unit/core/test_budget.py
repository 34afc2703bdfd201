"""One host's answer may take so much of the controller's time and no more, and the other hosts get their turn."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import gevent
import pytest

from deploys.core.control import State, Verdict, judge, passed
from deploys.core.policy import Policy
from facts.core import budget
from facts.core.budget import SPENT, Budget
from facts.core.fact import SectionFact
from facts.core.reading import Section, Unknown, UnknownReading
from facts.core.survey import Survey
from tests.support.control import control
from tests.support.survey import GOOD, Words


def for_ever() -> None:
    while True:
        pass


def swallowing() -> None:
    while True:
        with contextlib.suppress(Exception):
            for_ever()


def backtracking() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SECONDS", 0.2)


@pytest.mark.parametrize("work", [for_ever, swallowing, backtracking])
def test_what_has_no_end_is_ended_and_nothing_comes_after_it(work: Callable[[], None]) -> None:
    share = Budget()
    with pytest.raises(UnknownReading, match="more than"):
        share.spend(work)
    with pytest.raises(UnknownReading, match="more than"):
        share.spend(lambda: "something quick")


def test_what_ends_in_time_is_as_it_was() -> None:
    share = Budget()
    assert [share.spend(partial(abs, number)) for number in range(1000)] == list(range(1000))
    with pytest.raises(ZeroDivisionError):
        share.spend(lambda: 1 / 0)
    assert share.left > 0


def test_a_fact_and_a_control_that_have_no_end_are_unknown_and_what_was_before_stays() -> None:
    class Endless(SectionFact[Words]):
        key: ClassVar[str] = "endless"
        script: ClassVar[str] = ""

        @staticmethod
        def parse(section: Section) -> Words:
            for_ever()
            return Words("")

    lines = "@hullproof n\n@n section good\n@n block say\nhello\n\n@n status 0\n\n@n end good 0\n@n section endless\n\n"
    survey = Survey.parse([GOOD, Endless], [*lines.splitlines(), "@n end endless 0"])
    assert survey[GOOD] == Words("hello\n")
    assert survey.readings[Endless] == Unknown(f"endless: {SPENT}")

    def endless(survey: Survey, policy: Policy) -> Any:
        for_ever()

    rows = [control(id="test.first"), control(endless, id="test.endless"), control(id="test.last")]
    found = judge(rows, Survey({}), Policy("p", {}))
    assert [(finding.state, finding.verdict.reason) for finding in found] == [
        (State.PASS, "well"), (State.UNKNOWN, SPENT), (State.UNKNOWN, SPENT),
    ]  # fmt: skip


def test_other_hosts_get_their_turn_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SECONDS", 10)
    monkeypatch.setattr(budget, "TURN", 0)
    turns: list[str] = []

    def host(name: str) -> None:
        def check(*_: Any) -> Verdict:
            turns.append(name)
            return passed("well")

        judge([control(check) for _ in range(3)], Survey({}), Policy("p", {}))

    gevent.joinall([gevent.spawn(host, name) for name in "ab"], raise_error=True)
    assert turns == ["a", "b"] * 3
