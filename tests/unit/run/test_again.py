"""What a run changed in vain: said at its end, kept on the host, and not done a second time without a word."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from deploys.core.change import ACCEPT_RETRY, Activate, Blocked, Change, Command, Context, MergeJson, Service, Subject
from deploys.core.control import Control, Finding, Severity, State, Verdict
from deploys.core.policy import Policy, Rules
from deploys.run import again, ending, execute, look, session, step_script, transport
from facts.core.record import Journal, Record, RecordReading
from facts.core.survey import Survey
from facts.core.system import System
from tests.support.journal import RUN

MOTOR = Service("motor", activate="restart it", healthy="true", explain="", interrupts="restarts motor")
FLOATS, FAST, DRY = (
    Control(
        f"boat.{name}", f"It is {name}", Severity.HIGH, "Else it sinks.", lambda survey, policy: Verdict(State.PASS, "")
    )
    for name in ("floats", "fast", "dry")
)
PUMP = Command("boat", "pump it out", script="pump", undo="", controls=("boat.dry",))
PAINT = Command("boat", "paint it", script="paint", undo="", controls=("boat.fast",))


class World:
    """A host, its record, and the runs on it. `states` of its controls; `effects`: what a change does to them."""

    name = "h"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: Callable[[Context], Iterable[Change]]) -> None:
        self.states = {"boat.floats": State.PASS, "boat.fast": State.PASS, "boat.dry": State.PASS}
        self.effects: dict[str, dict[str, State]] = {}
        self.broken: set[str] = set()
        self.kept: Any = None
        self.said: list[str] = []
        self.compiled: Any = None
        self.subject = Subject("boat", Rules, (FLOATS, FAST, DRY), plan, ())
        compile_step = step_script.compile_step
        monkeypatch.setattr(execute, "compile_step", lambda *a: self._compile(compile_step(*a)))
        monkeypatch.setattr(transport, "execute", lambda host, script, seconds: list(self._answer(script)))
        monkeypatch.setattr(look, "look", self._look)
        monkeypatch.setattr(ending, "look", self._look)

    def _compile(self, compiled: Any) -> Any:
        self.compiled = compiled
        return compiled

    def log(self, text: str) -> None: ...

    def log_styled(self, text: str, **_: Any) -> None:
        self.said.append(text)

    def _look(self, one: session.Session) -> None:
        past = (Journal("20260101T000000Z-abcdef", "harden", "2026-01-01T00:00:00Z", ()),)
        record = RecordReading(self.kept, journals=past, spent=(), unread=(), watched=(), packages=())
        system = type("Root", (), {"uid": 0})()
        one.survey = Survey({Record: record, System: system})
        one.findings = [Finding(control, Verdict(self.states[control.id], f"it is {self.states[control.id]}"))
                        for control in self.subject.controls]  # fmt: skip

    def _answer(self, script: str) -> Iterable[str]:
        if found := re.search(r"printf %s (\S+) \| base64 -d >\S+baseline", script):
            self.kept = json.loads(base64.b64decode(found[1]))
            return
        for entry, change in self.compiled.entries.items():
            what = getattr(change, "what", "")
            yield f"@{self.compiled.script.nonce} {'fail' if what in self.broken else 'ok'} {entry} no"
            if what in self.broken:
                return
            self.states |= self.effects.get(what, {})

    def run(self, *accept: str, kind: str = "harden") -> session.Session:
        """One harden: looked at, planned, done, looked at again."""
        policy = Policy("test", {Rules: Rules()}, accept=frozenset(accept))
        host: Any = self
        one = session.Session(host, policy, [self.subject], {**RUN, "kind": kind, "policy": "test"})
        look.look(one)
        look.plan(one)
        for step in list(one.steps):
            execute.execute(one, step)
        if one.steps or one.entries or again.outlived(one.survey, one.findings):
            ending.survey_again(one)
        return one


Make = Callable[[Callable[[Context], Iterable[Change]]], World]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda plan: World(monkeypatch, plan)


def done(one: session.Session) -> list[str]:
    return [row["what"] for row in one.done]


def blocked(one: session.Session) -> dict[str, str]:
    return {change.what: change.reason for change in one.changes if isinstance(change, Blocked)}


def reason(one: session.Session, control: str) -> str:
    return next(finding.verdict.reason for finding in one.findings if finding.control.id == control)


def remedies(*changes: Change) -> Callable[[Context], list[Change]]:
    """A plan with each change whose controls do not hold; one that names none is for all of the subject's."""
    every = tuple(control.id for control in (FLOATS, FAST, DRY))
    return lambda context: [change for change in changes if context.failing(*(change.controls or every))]


def test_what_did_not_help_is_said_and_not_done_again(make: Make) -> None:
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    first = world.run()
    assert done(first) == ["pump it out"]
    assert reason(first, "boat.dry") == "harden made a change for it (pump it out), and it still fails: it is fail"
    assert any("boat.dry: harden made a change for it" in line for line in world.said)
    assert first.errors == [], "it is the finding that does not hold; the run went well"
    second = world.run()
    assert done(second) == []
    assert second.steps == []
    why = blocked(second)["pump it out"]
    assert RUN["id"] in why
    assert "boat.dry: it is fail" in why
    assert f"accept={ACCEPT_RETRY}" in why
    assert blocked(world.run()) == blocked(second), "nor the third time"


def test_once_more_where_that_is_accepted(make: Make) -> None:
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    world.run()
    assert done(world.run(ACCEPT_RETRY)) == ["pump it out"]
    assert done(world.run()) == [], "in vain again"
    world.effects = {"pump it out": {"boat.dry": State.PASS}}
    assert done(world.run(ACCEPT_RETRY)) == ["pump it out"]
    world.states["boat.dry"] = State.FAIL
    assert done(world.run()) == ["pump it out"], "it has helped since: what moved later is another matter"


def test_what_helped_is_not_in_vain(make: Make) -> None:
    world = make(remedies(PUMP, PAINT))
    world.states |= {"boat.dry": State.FAIL, "boat.fast": State.FAIL, "boat.floats": State.FAIL}
    world.effects = {"pump it out": {"boat.dry": State.PASS}, "paint it": {"boat.fast": State.PENDING_REBOOT}}
    first = world.run()
    assert reason(first, "boat.floats") == "it is fail", "nothing was done for that one"
    assert [row["what"] for row in world.kept[again.BASELINE_KEY]] == ["paint it"]
    world.effects = {"pump it out": {"boat.dry": State.PASS}, "paint it": {"boat.fast": State.PASS}}
    world.kept[again.BASELINE_KEY] = []
    world.states |= {"boat.dry": State.FAIL, "boat.fast": State.FAIL}
    world.run()
    assert world.kept[again.BASELINE_KEY] == []


def test_a_restart_in_vain_is_not_made_again(make: Make) -> None:
    """Right on disk and wrong live: what would come next is a restart alone, which was made just now."""
    merge = MergeJson("boat", "set gear", path="/etc/boat.json", before=None, put={"gear": 1}, service=MOTOR)
    activate = Activate("boat", "have motor take up: set gear", service=MOTOR)

    def plan(context: Context) -> list[Change]:
        return [merge] if context.failing("boat.fast") and world.states["boat.fast"] is State.FAIL else [
            activate] if context.failing("boat.fast") else []  # fmt: skip

    world = make(plan)
    world.states["boat.fast"] = State.FAIL
    world.effects = {"write /etc/boat.json: set gear": {"boat.fast": State.PENDING_RESTART}}
    first = world.run()
    assert "restart motor with the new settings" in done(first)
    assert "and it still does not hold" in reason(first, "boat.fast")
    second = world.run()
    assert second.steps == []
    assert list(blocked(second)) == ["have motor take up: set gear"]


def test_a_change_that_names_no_control_is_for_all_of_its_subjects(make: Make) -> None:
    scrub = Command("boat", "scrub it", script="scrub", undo="")
    world = make(remedies(scrub))
    world.states["boat.floats"] = State.FAIL
    assert "harden made a change for it (scrub it)" in reason(world.run(), "boat.floats")
    assert list(blocked(world.run())) == ["scrub it"]


def test_what_is_left_of_a_remedy_is_held_back_with_it(make: Make) -> None:
    """A new change for nothing but what was in vain would be half of what belongs together."""
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    world.run()
    drain = Command("boat", "open the drain", script="drain", undo="", controls=("boat.dry",))
    both = Command("boat", "turn it over", script="turn", undo="", controls=("boat.dry", "boat.fast"))
    world.states["boat.fast"] = State.FAIL
    world.subject = Subject("boat", Rules, (FLOATS, FAST, DRY), remedies(PUMP, drain, both, PAINT), ())
    second = world.run()
    assert set(blocked(second)) == {"pump it out", "open the drain"}
    assert done(second) == ["turn it over", "paint it"], "what has another purpose too goes on"
    assert "pump it out" in [row["what"] for row in world.kept[again.BASELINE_KEY]], "still held back the next time"


def test_another_remedy_for_it_is_made(make: Make) -> None:
    """A newer hullproof knows another one, or the policy asks for another value."""
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    world.run()
    drain = Command("boat", "open the drain", script="drain", undo="", controls=("boat.dry",))
    world.subject = Subject("boat", Rules, (FLOATS, FAST, DRY), remedies(drain), ())
    second = world.run()
    assert (done(second), blocked(second)) == (["open the drain"], {})


def test_half_of_a_remedy_is_not_said_to_have_been_made(make: Make) -> None:
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    world.run()
    drain = Command("boat", "open the drain", script="drain", undo="", controls=("boat.dry",))
    world.subject = Subject("boat", Rules, (FLOATS, FAST, DRY), remedies(PUMP, drain), ())
    why = blocked(world.run())["open the drain"]
    assert "made this change" not in why
    assert f"belongs to 'pump it out', which run {RUN['id']} made and which did not help" in why


def test_what_held_in_between_is_another_matter(make: Make) -> None:
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    world.run()
    world.states["boat.dry"] = State.PASS  # by hand, and a run finds nothing to do
    assert done(world.run()) == []
    assert world.kept[again.BASELINE_KEY] == []
    world.states["boat.dry"] = State.FAIL
    assert done(world.run()) == ["pump it out"]


def test_what_was_in_vain_for_another_control_that_holds_now(make: Make) -> None:
    scrub = Command("boat", "scrub it", script="scrub", undo="")
    world = make(remedies(scrub))
    world.states["boat.floats"] = State.FAIL
    world.run()
    world.states |= {"boat.floats": State.WAIVED, "boat.fast": State.FAIL}
    assert done(world.run()) == ["scrub it"]
    assert [row["controls"] for row in world.kept[again.BASELINE_KEY]] == [["boat.fast"]]


def test_the_next_stage_is_not_the_same_once_more(make: Make) -> None:
    bail = Command("boat", "bail it out", script="bail", undo="", controls=("boat.dry",))

    def plan(context: Context) -> list[Change]:
        afloat = context.findings["boat.floats"].state is State.WAIVED
        return ([bail] if afloat else [PUMP]) if context.failing("boat.dry") else []

    world = make(plan)
    world.states["boat.dry"] = State.FAIL
    world.effects = {"pump it out": {"boat.floats": State.WAIVED}, "bail it out": {"boat.dry": State.PASS}}
    first = world.run()
    assert reason(first, "boat.dry") == "it is fail", "another change is to come"
    assert done(world.run()) == ["bail it out"]


def test_what_is_blocked_beside_what_was_done_is_said(make: Make) -> None:
    """Something was done for it, it fails, and there is nothing left that could be done."""
    world = make(lambda context: [PUMP] if context.findings["boat.floats"].state is State.PASS else [])
    world.states["boat.dry"] = State.FAIL
    world.effects = {"pump it out": {"boat.floats": State.WAIVED}}
    assert "harden made a change for it (pump it out)" in reason(world.run(), "boat.dry")
    assert world.kept[again.BASELINE_KEY] == []


def test_what_failed_is_tried_again(make: Make) -> None:
    """A full disk, a mirror that is out of reach: that was no vain change, it was none."""
    world = make(remedies(PUMP, PAINT))
    world.states |= {"boat.dry": State.FAIL, "boat.fast": State.FAIL}
    world.broken = {"paint it"}
    first = world.run()
    assert first.errors == ["boat: paint it: no"]
    assert world.kept[again.BASELINE_KEY] == [], "of a subject that did not come to its end nothing is known"
    world.broken, world.effects = (
        set(),
        {"pump it out": {"boat.dry": State.PASS}, "paint it": {"boat.fast": State.PASS}},
    )
    assert done(world.run()) == ["pump it out", "paint it"]


def test_a_run_that_fails_elsewhere_does_not_forget(make: Make) -> None:
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    world.run()
    world.states["boat.fast"], world.broken = State.FAIL, {"paint it"}
    world.subject = Subject("boat", Rules, (FLOATS, FAST, DRY), remedies(PUMP, PAINT), ())
    assert world.run().errors == ["boat: paint it: no"]
    assert [row["what"] for row in world.kept[again.BASELINE_KEY]] == ["pump it out"]


@pytest.mark.parametrize("state", [State.PASS, State.UNKNOWN, State.NOT_APPLICABLE, State.WAIVED])
def test_only_what_is_known_not_to_hold(make: Make, state: State) -> None:
    world = make(lambda context: [PUMP])
    world.states |= {"boat.dry": State.FAIL}
    world.effects = {"pump it out": {"boat.dry": state}}
    assert reason(world.run(), "boat.dry") == f"it is {state}"
    assert world.kept[again.BASELINE_KEY] == []


@pytest.mark.parametrize(
    "rows",
    [
        None,
        7,
        "x",
        [7, None, []],
        [{}],
        [{"subject": "boat", "what": 7, "controls": {}}],
        [{"subject": ["boat"], "what": None, "controls": [7, None], "run": {}, "why": 1}],
    ],
)
def test_a_record_that_makes_no_sense(make: Make, rows: Any) -> None:
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    world.kept = {again.BASELINE_KEY: rows}
    world.effects = {"pump it out": {"boat.dry": State.PASS}}
    assert done(world.run()) == ["pump it out"]


def test_what_the_record_says_cannot_reach_the_terminal(make: Make) -> None:
    world = make(remedies(PUMP))
    world.states["boat.dry"] = State.FAIL
    row = {"subject": "boat", "what": "pump it out", "controls": [], "run": "\x1b[2Jrun", "why": "\x1b]0;owned\x07"}
    world.kept = {again.BASELINE_KEY: [row]}
    assert "\x1b" not in blocked(world.run())["pump it out"]
