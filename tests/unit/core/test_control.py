"""Controls and findings: the three-way judgement, unknown, waivers, malformed rows."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from deploys.core.control import Impact, State, agree, judge, passed
from deploys.core.policy import Policy, Waiver
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from tests.support.control import control

EMPTY = Survey({})


@pytest.mark.parametrize(
    ("disk", "live", "impact", "state"),
    [
        (1, 1, Impact.NONE, State.PASS),
        (1, 0, Impact.NONE, State.FAIL),
        (1, 0, Impact.RESTART, State.PENDING_RESTART),
        (1, 0, Impact.REBOOT, State.PENDING_REBOOT),
        (0, 1, Impact.RESTART, State.FAIL),
        (0, 0, Impact.REBOOT, State.FAIL),
        (None, None, Impact.NONE, State.FAIL),
        (1, None, Impact.NONE, State.FAIL),
    ],
)
def test_all_three_readings_must_agree(disk: Any, live: Any, impact: Impact, state: State) -> None:
    verdict = agree(declared=1, disk=disk, live=live, impact=impact)
    assert verdict.state is state
    assert (verdict.declared, verdict.disk, verdict.live) == (1, disk, live)


def test_stricter_than_declared_can_hold() -> None:
    assert (
        agree(
            declared=1, disk=2, live=3, impact=Impact.NONE, holds=lambda value: value is not None and value >= 1
        ).state
        is State.PASS
    )


def test_what_could_not_be_read_is_unknown_and_says_why() -> None:
    def check(survey: Survey, policy: Policy) -> Any:
        raise UnknownReading("docker: no answer in time")

    (finding,) = judge([control(check)], EMPTY, Policy("p", {}))
    assert finding.state is State.UNKNOWN
    assert not finding.state.holds
    assert finding.verdict.reason == "docker: no answer in time"


def waived(days: int, check: Any) -> Any:
    until = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=days)
    waiver = Waiver(control="test.one", reason="legacy", owner="ana", until=until)
    (finding,) = judge([control(check)], EMPTY, Policy("p", {}, (waiver,)))
    return finding


def test_a_waiver_holds_through_its_last_day_and_not_longer() -> None:
    def fails(survey: Survey, policy: Policy) -> Any:
        return agree(declared=1, disk=0, live=0, impact=Impact.NONE)

    assert waived(0, fails).state is State.WAIVED
    assert "ana" in waived(0, fails).verdict.reason
    assert waived(-1, fails).state is State.FAIL
    assert "the waiver has expired" in waived(-1, fails).verdict.reason


def test_a_waiver_does_not_hide_a_pass() -> None:
    assert waived(5, lambda survey, policy: passed("well")).state is State.PASS


@pytest.mark.parametrize(
    "row",
    [
        {"id": "noSubject"},
        {"id": "test."},
        {"title": " "},
        {"title": "it holds"},
        {"title": "It holds."},
        {"why": ""},
        {"why": "Else it fails"},
        {"why": "else it fails."},
        {"references": "CIS-1"},
    ],
)
def test_a_malformed_row_fails_at_import(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="control"):
        control(**row)


def test_the_findings_json_is_the_contract() -> None:
    (finding,) = judge([control()], EMPTY, Policy("p", {}))
    assert set(finding.to_json()) == {
        "control", "subject", "title", "severity", "state", "declared", "disk", "live", "reason", "next",
        "impact", "references", "drift",
    }  # fmt: skip


def test_a_control_that_raises_is_unknown_and_the_others_are_judged() -> None:
    def raises(*_: Any) -> Any:
        raise KeyError("seen on a host")

    first, second = judge([control(raises), control()], EMPTY, Policy("p", {}))
    assert (first.state, second.state) == (State.UNKNOWN, State.PASS)
    assert "KeyError: 'seen on a host'" in first.verdict.reason
