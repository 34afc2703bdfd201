"""The plan is complete: what does not hold is in it as a change or as blocked, whatever the host says."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import (
    Activate,
    Blocked,
    Change,
    Command,
    Context,
    Install,
    MergeJson,
    Service,
    Subject,
    WriteFile,
)
from deploys.core.control import Control, Finding, Severity, State, Verdict, judge
from deploys.core.policy import Policy, Rules
from deploys.run import ending, planning, session
from deploys.run.steps import arrange
from deploys.subjects import SUBJECTS
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from facts.core.system import System
from tests.support import recorded
from tests.support.hosts import judged
from tests.support.journal import RUN

CONTROLS = [control for subject in SUBJECTS for control in subject.controls]


def test_every_control_says_how_it_is_mended_by_hand() -> None:
    for control in CONTROLS:
        assert control.by_hand, f"{control.id}: what if harden may not mend it?"
        assert control.by_hand.isprintable()
        assert not control.by_hand.endswith(".")
        assert control.by_hand[0].islower()


# --- subjects of every kind


class Nothing(Rules):
    """No key at all."""


def control(name: str, state: State) -> Control:
    return Control(f"boat.{name}", f"The {name} is tight", Severity.LOW, "Else it sinks.",
                   check=lambda *_: Verdict(state, "it leaks"),
                   by_hand=f"mend the {name}")  # fmt: skip


def boat(*changes: Change, error: Exception | None = None, **states: State) -> Subject:
    def plan(_: Context) -> Any:
        yield from changes
        if error:
            raise error

    return Subject("boat", Nothing, tuple(control(name, state) for name, state in states.items()), plan, ())


def made(subject: Subject) -> tuple[planning.Plan, dict[str, str]]:
    context = judged(subject, Nothing(), {})
    plan = planning.make([subject], context)
    return plan, dict(planning.next_steps(plan, context))


def command(*controls: str) -> Command:
    return Command("boat", "tar it", script="tar", undo="", controls=controls)


def test_what_no_subject_names_is_the_operators() -> None:
    plan, steps = made(boat(command("boat.keel"), keel=State.FAIL, mast=State.FAIL, sail=State.PENDING_REBOOT,
                            rope=State.PENDING_RESTART, oar=State.PASS, net=State.UNKNOWN))  # fmt: skip
    assert [(change.what, change.reason, change.controls) for change in plan.blocked] == [
        ("The mast is tight", "it leaks. Mend the mast", ("boat.mast",)),
        ("The rope is tight", "it leaks. Mend the rope", ("boat.rope",)),
        ("reboot the host", f"{planning.WHY_NO_REBOOT}. R{planning.REBOOT[1:]}", ("boat.sail",)),
    ]
    assert steps == {
        "boat.keel": "harden does it",
        "boat.mast": "mend the mast",
        "boat.rope": "mend the rope",
        "boat.sail": "reboot the host: the settings on disk take effect at the next boot",
        "boat.net": "harden plans nothing for it until it can be read",
    }


def test_what_has_to_be_accepted_is_said_with_the_words_of_the_command_line() -> None:
    storm = Blocked("boat", "sail", why="it sinks", accepts=("storm", "night"), controls=("boat.keel", "boat.mast"))
    why = Blocked("boat", "sail", why="there is no wind: wait for it", controls=("boat.sail",))
    plan, steps = made(boat(storm, why, command("boat.mast"), keel=State.FAIL, mast=State.FAIL, sail=State.FAIL))
    assert plan.blocked == [storm, why]
    assert steps == {
        "boat.keel": "allow it with --data accept=storm,night",
        "boat.mast": "harden does a part of it; for the rest, allow it with --data accept=storm,night",
        "boat.sail": "there is no wind: wait for it",
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnknownReading("no hull"), "cannot be planned, no hull"),
        (KeyError("hull\x1b[2J"), "cannot be planned (KeyError: 'hull\\x1b[2J')"),
    ],
)
def test_a_plan_that_raises_blocks_what_fails(error: Exception, said: str) -> None:
    plan, steps = made(boat(command("boat.keel"), error=error, keel=State.FAIL, mast=State.PASS))
    assert (plan.errors, plan.steps) == ([f"boat: {said}"], [])
    assert [(change.why, change.controls) for change in plan.blocked] == [(f"it {said}", ("boat.keel",))]
    assert steps == {"boat.keel": f"it {said}"}


DOCKER = Service("docker", activate="a", healthy="h", explain="e")


def merge(value: Any, *controls: str) -> MergeJson:
    return MergeJson("boat", "set icc", path="/d.json", before="{}", put={"icc": value}, service=DOCKER,
                     controls=controls)  # fmt: skip


def test_changes_that_contradict_each_other_are_all_blocked() -> None:
    """They were shown as if they were to be done, and nothing was."""
    changes = [merge(True, "boat.keel"), merge(False, "boat.mast"), command("boat.mast")]
    plan, steps = made(boat(*changes, keel=State.FAIL, mast=State.FAIL))
    assert (list(plan.steps), len(plan.blocked), len(plan.changes)) == ([], 3, 3)
    assert plan.errors == ["cannot be planned: /d.json: icc is wanted as True and as False"]
    assert steps["boat.keel"] == f"it {plan.errors[0]}"


def test_what_is_joined_is_for_the_controls_of_all() -> None:
    installs = [Install("a", "x", packages=("p",), controls=("a.one", "a.two")),
                Install("b", "y", packages=("q",), controls=("a.two", "b.one"))]  # fmt: skip
    activate = Activate("boat", "again", service=DOCKER, controls=("boat.sail",))
    packages, service = arrange([*installs, merge(1, "boat.keel"), activate, merge(1, "boat.mast")], ["boat"])
    assert packages.changes[0].controls == ("a.one", "a.two", "b.one")
    assert [change.controls for change in service.changes] == [("boat.keel", "boat.mast")]
    assert service.controls == ("boat.keel", "boat.sail", "boat.mast")


def test_the_hosts_words_in_a_change_are_made_printable_where_it_is_made() -> None:
    """pyinfra's log takes them as they are."""
    nasty = "\x1b[2J\x1b]0;owned\x07\u202ewash\nit"
    change = Blocked("boat", nasty, why=nasty, by_hand=nasty, interrupts=nasty)
    assert {change.what, change.why, change.by_hand, change.interrupts} == {"]0;ownedwash it"}
    assert WriteFile("boat", nasty, path="/p", text=nasty, before=nasty).text == nasty


# --- a run that only reads


def drift(subject: Subject, uid: int = 0) -> session.Session:
    host: Any = type("Host", (), {"name": "h"})
    one = session.Session(host, Policy("p", {Nothing: Nothing()}), [subject], RUN)
    reading = recorded.readings(System)["debian13"]
    one.survey = Survey({System: reading})
    one.findings = judge(subject.controls, one.survey, one.policy)
    return one


def reported(one: session.Session) -> dict[str, str | None]:
    found: list[Finding] = list(ending.report(one, session.Reached.NOTHING).findings)
    return {finding.control.id: finding.to_json()["next"] for finding in found}


def test_a_drift_run_says_what_comes_next_and_plans_nothing() -> None:
    one = drift(boat(command("boat.keel"), keel=State.FAIL, mast=State.FAIL, oar=State.PASS))
    assert reported(one) == {"boat.keel": "harden does it", "boat.mast": "mend the mast", "boat.oar": None}
    assert (one.changes, one.steps, one.errors) == ([], [], [])


def test_in_a_drift_run_a_plan_that_raises_costs_what_comes_next_alone() -> None:
    one = drift(boat(error=RuntimeError("nonsense"), keel=State.FAIL))
    assert reported(one) == {"boat.keel": "it cannot be planned (RuntimeError: nonsense)"}
    assert ending.report(one, session.Reached.NOTHING).status == "ok"
    assert ending.report(one, session.Reached.NOTHING).error is None


def test_a_host_that_was_not_read_has_no_plan() -> None:
    one = drift(boat(keel=State.FAIL))
    one.survey, one.findings = None, []
    assert reported(one) == {}
