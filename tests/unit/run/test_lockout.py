"""What could cut us off is commit-confirmed: all subjects' controls and plans agree on which changes those are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Context, Install
from deploys.core.control import Control, Severity, judge, not_applicable
from deploys.core.policy_file import load_policy
from deploys.run import planning
from deploys.subjects import SUBJECTS
from tests.support import recorded

CONTROLS = {control.id: control for subject in SUBJECTS for control in subject.controls}
EVERYTHING = str(Path(__file__).parents[2] / "fuzz" / "everything.yml")


def disagreement(change: Change) -> str:
    """Why a change and the controls that it mends do not agree; "" where they do."""
    may_cut = [control for id_ in change.controls if (control := CONTROLS[id_]).lockout]
    if change.commit_confirmed and not may_cut:
        return f"{change.what}: commit-confirmed, and no control of it ({change.controls}) says that it may cut us off"
    if not change.commit_confirmed and (bare := [control.id for control in may_cut if not control.unconfirmed]):
        return f"{change.what}: not commit-confirmed, though {bare} may cut us off"
    return ""


@pytest.mark.parametrize("kind", ["stock", "hardened"])
def test_every_planned_change_that_may_cut_us_off_is_commit_confirmed(kind: str) -> None:
    policy = load_policy(EVERYTHING, SUBJECTS)
    confirmed: set[str] = set()
    for name, survey in recorded.hosts(kind):
        if not any(fact in name for fact in ("bridges", "selinux", "networks")):
            continue  # no other fact changes what these subjects plan for the network, the firewall or the LSM
        findings = judge(CONTROLS.values(), survey, policy)
        plan = planning.make(SUBJECTS, Context(survey, policy, {each.control.id: each for each in findings}))
        made = [change for change in plan.changes if not isinstance(change, (Blocked, Install))]
        assert [why for change in made if (why := disagreement(change))] == [], name
        confirmed |= {change.subject for change in made if change.commit_confirmed}
    assert confirmed >= {"bridges"}


def test_who_disagrees_is_named() -> None:
    harmless = Command("audit", "go", script="", undo="", controls=("audit.denials",))
    assert disagreement(harmless) == ""
    assert "no control of it" in disagreement(replace(harmless, commit_confirmed=True))
    assert "not commit-confirmed" in disagreement(replace(harmless, controls=("bridges.filter",)))


def test_a_reason_to_go_unconfirmed_wants_a_control_that_may_cut_us_off() -> None:
    with pytest.raises(ValueError, match=r"boat\.keel: unconfirmed is for a control that may cut us off"):
        Control("boat.keel", "The keel holds", Severity.LOW, "Else it sinks.", check=lambda *_: not_applicable("no"),
                unconfirmed="It floats.")  # fmt: skip


@pytest.mark.parametrize("kind", [Blocked, Install])
def test_what_is_not_done_or_takes_long_is_never_commit_confirmed(kind: Any) -> None:
    more = {"packages": ("x",)} if kind is Install else {"why": "it sinks"}
    with pytest.raises(ValueError, match="cannot be commit-confirmed"):
        kind("boat", "go", commit_confirmed=True, **more)
