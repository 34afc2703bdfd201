"""The controls of subjects that stand on a unit: they fail where no boot runs it, and the plan names them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked, Context, Subject
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.networks.isolation import NetworksRules
from deploys.networks.tables import rules_text
from facts.core.survey import Survey
from facts.core.system import System
from facts.core.units import Idle
from facts.networks.networks import RULES_FILE
from tests.support import apparmor, networks
from tests.support.hosts import whole
from tests.support.networks import DOCKER0


def _without(where: Context, subject: Subject, unit: str) -> Context:
    """The same host, on which a drop-in keeps the unit from starting."""
    idle = {unit: Idle(unit, "condition", f"/etc/systemd/system/{unit}.d/x.conf", "ConditionPathExists=/no")}
    readings: dict[Any, Any] = {**where.survey.readings, System: replace(where.survey[System], idle=idle)}
    survey, policy = Survey(readings), Policy("test", dict(where.policy.rules), accept=where.policy.accept)
    return Context(survey, policy, {found.control.id: found for found in judge(subject.controls, survey, policy)})


@pytest.mark.parametrize(("control", "unit"), [("apparmor.installed", "apparmor.service")])
def test_apparmor(control: str, unit: str) -> None:
    before = apparmor.context(apparmor.apparmor())
    assert before.findings[control].state is State.PASS
    after = _without(before, whole("apparmor"), unit)
    assert after.findings[control].state is State.FAIL
    assert f"{unit} does not start at boot" in after.findings[control].verdict.reason
    assert control in [id_ for change in whole("apparmor").plan(after) for id_ in change.controls]


def test_networks() -> None:
    unit, subject = "hullproof-networks.service", whole("networks")
    files = {**networks.NONE, RULES_FILE: rules_text(NetworksRules(icc=False, cover="all"), DOCKER0, DOCKER0)}
    own = networks.reading(dropped=("docker0",), files=files, unit_enabled=True)
    before = networks.context(own, networks.docker({}))  # where no setting of Docker's restores it
    assert before.findings["networks.icc"].state is State.PASS
    after = _without(before, subject, unit)
    assert after.findings["networks.icc"].state is State.FAIL
    assert f"{unit} does not start at boot" in after.findings["networks.icc"].verdict.reason
    first = next(iter(subject.plan(after)))
    assert isinstance(first, Blocked)
    assert first.controls == ("networks.icc",)
    assert "remove ConditionPathExists=/no" in first.next
