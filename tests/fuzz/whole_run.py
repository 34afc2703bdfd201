"""A run over one survey, as far as it goes without a host: what each of its steps must hold, whatever the host said."""

from __future__ import annotations

import json
import traceback
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from deploys.bridges import picture as bridges_picture
from deploys.bridges.rules import BridgesRules
from deploys.core.change import Context
from deploys.core.control import State, Verdict, judge
from deploys.core.policy import Policy
from deploys.core.policy_file import load_policy
from deploys.report import formats, report, terminal
from deploys.run import baseline, ending, plan_view, step_script
from deploys.run.look import plan
from deploys.run.session import Reached, Session
from deploys.subjects import SUBJECTS
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from tests.fuzz.surveys import CONTROLS

POLICIES = ("baseline", "strict", str(Path(__file__).with_name("everything.yml")))
RUN = {"id": "20260102T030405Z-abcdef", "kind": "harden", "started": "2026-01-02T03:04:05Z", "policy": "fuzz"}
ABOUT = report.Run(RUN["id"], "drift", RUN["started"], "2026-01-02T03:04:09Z", "fuzz")

# Not demanded, so nothing is wrong; that it was once, and what is left of it, is seen only where that can be read.
LEFT_BEHIND = {
    "networks.host-services": (State.FAIL, State.NOT_APPLICABLE),
    "networks.antispoof": (State.FAIL, State.NOT_APPLICABLE),
    # What is wrong with a container is known; only whether a restart mends it is not.
    "containers.confined": (State.PENDING_RESTART, State.FAIL),
    "containers.seccomp": (State.PENDING_RESTART, State.FAIL),
}


class Host:
    """What a session asks of a host while it plans."""

    name = "web1"


@cache
def policy(name: str) -> Policy:
    return load_policy(name, SUBJECTS)


def place_raised(call: Callable[[], Any]) -> str:
    """Where a call raised anything but UnknownReading: `module.function line: what`; "" where it did not."""
    try:
        call()
    except UnknownReading:
        return ""
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/deploys/" in frame.filename or "/facts/" in frame.filename] or frames
        at = f"{Path(ours[-1].filename).stem}.{ours[-1].name} {ours[-1].lineno}"
        return f"{at}: {type(error).__name__}: {error}"[:300]
    return ""


def troubles(survey: Survey, rules: Policy) -> list[str]:
    """Controls, plans and pictures that raise. A run survives them, and says `unknown` where it could say why."""
    context = Context(survey, rules, {f.control.id: f for f in judge(CONTROLS, survey, rules)})
    calls: list[Callable[[], Any]] = [partial(control.check, survey, rules) for control in CONTROLS]
    calls += [partial(_planned, subject.plan, context) for subject in SUBJECTS]
    calls.append(partial(_draw_networks, survey, rules))
    return sorted({said for call in calls if (said := place_raised(call))})


def _planned(plan: Callable[[Context], Any], context: Context) -> None:
    list(plan(context))


def _draw_networks(survey: Survey, rules: Policy) -> None:
    seen = bridges_picture.picture(rules[BridgesRules], survey)
    bridges_picture.render_mermaid(seen).encode()
    assert_printable(bridges_picture.render_text(seen))


def run(survey: Survey, rules: Policy) -> dict[str, Any]:
    """Judge, plan, compile and report; the report."""
    findings = judge(CONTROLS, survey, rules)
    assert all(isinstance(finding.verdict, Verdict) and finding.verdict.reason for finding in findings)
    host: Any = Host()
    session = Session(host, rules, SUBJECTS, RUN)
    session.survey = survey
    session.findings = baseline.with_drift(findings, survey, rules)
    assert [finding.control for finding in session.findings] == CONTROLS, "as many findings as controls, in order"
    baseline.keep_script(baseline.baseline_of(RUN, session.findings, rules)).encode()
    plan(session)
    for number, step in enumerate(session.steps):
        step_script.compile_step(step, RUN, number + 1).script.text.encode()
    view = plan_view.PlanView(color=False, diff=True, width=80)
    assert_printable(view.render("web1", steps=session.steps, blocked=session.blocked, unknown=session.unknown))
    session.errors.clear()  # a host whose plan could not be made is in error: what would its findings alone come to?
    built = report.build(ABOUT, [ending.report(session, Reached.NOTHING)])
    _assert_reported(built)
    _assert_not_green_by_absence(built)
    return built


def _assert_reported(built: dict[str, Any]) -> None:
    """Every form can be written, and none brings the host's control characters along."""
    texts = {"report.json": json.dumps(built, indent=2, ensure_ascii=False, allow_nan=False)}
    texts |= {name: "".join(render(built)) for name, render in formats.FORMATS.items()}
    texts["table"] = terminal.render_table(built, color=False, width=80)
    for text in texts.values():
        text.encode()
        assert_printable(text)
    json.loads(texts["report.sarif"])
    ET.fromstring(texts["junit.xml"])


def assert_printable(text: str) -> None:
    if not text.replace("\n", "").isprintable():
        raise AssertionError({letter for letter in text if not letter.isprintable() and letter != "\n"})


def _assert_not_green_by_absence(built: dict[str, Any]) -> None:
    """Exit code 0 says that something was demanded, that all of it was judged, and that it holds."""
    states = {State(finding["state"]) for host in built["hosts"].values() for finding in host["findings"]}
    if built["exit_code"] == 0:
        assert all(state.holds for state in states), states
        assert states & {State.PASS, State.WAIVED}, states


def became_other_than_unknown(before: Survey, after: Survey, rules: Policy) -> dict[str, tuple[State, State]]:
    """Findings whose state is another one now that a reading is unknown, and not `unknown`: there must be none."""
    pairs = zip(judge(CONTROLS, before, rules), judge(CONTROLS, after, rules), strict=True)
    changed = {new.control.id: (old.state, new.state) for old, new in pairs if new.state is not old.state}
    wrong = {id_: pair for id_, pair in changed.items() if pair[1] is not State.UNKNOWN}
    return {id_: pair for id_, pair in wrong.items() if pair != LEFT_BEHIND.get(id_)}
