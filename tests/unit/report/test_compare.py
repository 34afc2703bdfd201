"""What moved between two reports, and what of that is worse."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.control import Finding, State
from deploys.report.compare import ABSENT, Difference, Move, compare, got_worse, notes
from deploys.report.report import HostReport, Run, build
from tests.support.report import finding

P, F, U, W, N = State.PASS, State.FAIL, State.UNKNOWN, State.WAIVED, State.NOT_APPLICABLE
RESTART = State.PENDING_RESTART
RUN = Run("b", "drift", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "x")


def made(*findings: Finding, host: str = "web1", **more: Any) -> dict[str, Any]:
    given = {"policy": "baseline", "started": "2026-01-02T03:04:05Z", "finished": "2026-01-02T03:04:09Z"} | more
    return build(Run(id="a", kind="drift", **given), [HostReport(host, "ok", findings=findings)])


@pytest.mark.parametrize(
    ("before", "after", "move"),
    [
        (P, F, Move.WORSE),
        (N, F, Move.WORSE),
        (W, F, Move.WORSE),
        (P, RESTART, Move.WORSE),
        (RESTART, F, Move.WORSE),
        (P, U, Move.WORSE),
        (U, F, Move.WORSE),
        (F, P, Move.MENDED),
        (U, P, Move.MENDED),
        (RESTART, P, Move.MENDED),
        (F, F, Move.STILL),
        (U, U, Move.STILL),
        (F, RESTART, Move.MOVED),
        (F, U, Move.MOVED),
        (F, W, Move.MOVED),
        (F, N, Move.MOVED),
        (W, P, Move.MOVED),
        (P, N, Move.MOVED),
    ],
)
def test_how_a_state_moves(before: State, after: State, move: Move) -> None:
    (found,) = compare(made(finding(before)), made(finding(after)), {})
    assert (found.move, found.before, found.after) == (move, before, after)
    assert got_worse([found]) is (move is Move.WORSE)


@pytest.mark.parametrize("state", [P, W, N])
def test_what_holds_still_is_no_difference(state: State) -> None:
    assert compare(made(finding(state)), made(finding(state)), {}) == []


def test_the_cause_is_the_runs_own_or_the_policys() -> None:
    drift = {"held": "monday", "moved": ["disk"], "cause": "package x at noon"}
    drifted = Finding(finding(F).control, finding(F).verdict, drift=drift)
    assert compare(made(finding(P)), made(drifted), {})[0].cause == "package x at noon"
    (demanded,) = compare(made(finding(P, declared=1)), made(finding(F, declared=2)), {})
    assert demanded.cause == "the policy demands 2 now, and 1 before"
    assert compare(made(finding(P)), made(finding(F)), {})[0].cause == ""


def test_what_is_missing_has_not_been_mended() -> None:
    assert compare(made(finding(F)), made(finding(P, "boat.b")), {}) == [
        Difference("web1", "boat.icc", "fail", ABSENT, "the newer report says nothing of it")
    ]
    (gone,) = compare(made(finding(P)), made(finding(P), host="web2"), {})[:1]
    assert (gone.host, gone.control, gone.after, gone.move) == ("web1", "", ABSENT, Move.WORSE)
    lost = build(RUN, [HostReport("web1", "unreachable", "no")])
    assert compare(made(finding(P)), lost, {}) == [Difference("web1", "", "ok", "unreachable", "no")]
    assert compare(lost, made(finding(P)), {})[0].move is Move.MENDED
    assert compare(lost, lost, {})[0].move is Move.STILL


def test_a_new_hosts_failures_are_new() -> None:
    found = compare(build(RUN, []), made(finding(F), finding(P, "boat.b")), {})
    assert [(each.control, each.before, each.move) for each in found] == [
        ("", ABSENT, Move.MOVED),
        ("boat.icc", ABSENT, Move.WORSE),
    ]


def test_a_control_with_another_name_now_is_the_same() -> None:
    (found,) = compare(made(finding(F, "boat.old")), made(finding(F)), {"boat.old": "boat.icc"})
    assert (found.control, found.move) == ("boat.icc", Move.STILL)


def test_a_part_of_the_controls_is_compared_with_that_part() -> None:
    only = {"asked": ["boat.icc"], "controls": 1, "of": 2}
    assert compare(made(finding(P), finding(F, "boat.b")), made(finding(P), only=only), {}) == []


def test_what_a_reader_should_know_before() -> None:
    assert list(notes(made(), made())) == []
    later = made(policy="strict", finished="2026-01-03T00:00:00+02:00")
    assert list(notes(later, made())) == [
        "The policies are not the same: strict before, baseline now.",
        "The first report is the newer of the two: were they meant the other way round?",
    ]
