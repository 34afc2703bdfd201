"""The plan is complete on every host that was ever recorded: what does not hold is in it as a change or as blocked."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import Context
from deploys.core.control import judge
from deploys.core.policy import Policy
from deploys.core.policy_file import load_policy
from deploys.run import planning
from deploys.subjects import SUBJECTS
from hullproof.knowledge.accepts import waits
from tests.support import recorded

CONTROLS = [control for subject in SUBJECTS for control in subject.controls]
EVERYTHING = tuple(dict.fromkeys(name for subject in SUBJECTS for name in subject.accepts))


def contexts(policy: Policy, kind: str) -> Any:
    for name, survey in recorded.hosts(kind):
        yield name, Context(survey, policy, {f.control.id: f for f in judge(CONTROLS, survey, policy)})


@pytest.mark.parametrize(
    ("name", "kind", "accept"),
    [("baseline", "stock", ()), ("strict", "hardened", ()), ("strict", "stock", EVERYTHING)],
)
def test_every_finding_that_fails_is_in_the_plan_of_every_recorded_host(
    name: str, kind: str, accept: tuple[str, ...]
) -> None:
    for host, context in contexts(load_policy(name, SUBJECTS, extra_accept=accept), kind):
        plan = planning.make(SUBJECTS, context)
        failing = {*context.which(*context.findings)}
        assert {control for change in plan.changes for control in change.controls} == failing, host
        assert not [change for change in plan.changes if not change.controls], f"{host}: for which control?"
        assert {accepted for change in plan.blocked for accepted in change.accepts} <= {*EVERYTHING}, host
        for change in plan.blocked:  # what `hullproof explain` and the reference say of a name
            assert all(name in dict(waits(control)) for control in change.controls for name in change.accepts), host
        steps = planning.next_steps(plan, context)
        assert {c for c, todo in steps.items() if todo} == {c for c, f in context.findings.items()
                                                           if not f.state.holds}, host  # fmt: skip
        assert all(todo.isprintable() for todo in steps.values()), host
