"""Waivers are seen: what they waive, which end soon, which are past and which nothing needs."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from deploys.core.control import Finding, State
from deploys.core.policy import Policy, Waiver
from deploys.report import formats, terminal, waivers
from deploys.report.report import HostReport, build
from tests.support.report import a_run, finding

TODAY = datetime.datetime.now(datetime.UTC).date()


def waiver(control: str, days: int, owner: str = "ana") -> Waiver:
    return Waiver(control=control, reason="legacy", owner=owner, until=TODAY + datetime.timedelta(days=days))


def report(given: tuple[Waiver, ...], **hosts: list[Finding]) -> dict[str, Any]:
    policy = Policy("p", {}, given)
    return build(a_run(), [HostReport(name, "ok", findings=found, waivers=waivers.of_host(policy, found))
                           for name, found in hosts.items()])  # fmt: skip


def of(made: dict[str, Any], what: str) -> list[str]:
    return [row["control"] for row in made["summary"]["waivers"][what]]


def test_what_ends_soon_and_what_is_past() -> None:
    names = {"boat.today": 0, "boat.soon": 14, "boat.later": 15, "boat.past": -1}
    found = [finding(State.FAIL if days < 0 else State.WAIVED, name) for name, days in names.items()]
    made = report(tuple(waiver(name, days) for name, days in names.items()), a=found, b=found)
    assert of(made, "expiring") == ["boat.today", "boat.soon"]
    assert of(made, "past") == ["boat.past"]
    assert of(made, "unneeded") == []
    assert made["summary"]["waivers"]["findings"] == 6
    row = made["hosts"]["a"]["waivers"][1]
    assert row == {"control": "boat.soon", "owner": "ana", "reason": "legacy", "days": 14, "needed": True,
                   "only": None, "every": "", "until": (TODAY + datetime.timedelta(days=14)).isoformat()}  # fmt: skip
    said = terminal.render_table(made, False, 200)
    assert "6 findings are waived.\n" in said
    assert f"The waiver of boat.today ends today, on {TODAY} (owner: ana).\n" in said
    assert "The waiver of boat.soon ends in 14 days, on " in said
    assert "The waiver of boat.past ended on " in said
    page = formats.html(made)
    assert "The waiver of boat.soon ends in 14 days, on " in page
    assert page.count("<h2>Waivers</h2>") == 1


@pytest.mark.parametrize(
    ("states", "unneeded"),
    [
        ((State.PASS, State.NOT_APPLICABLE), True),
        ((State.PASS, State.WAIVED), False),
        ((State.PASS, State.UNKNOWN), False),
        ((State.PASS, None), False),
        ((State.PASS, State.FAIL), False),
    ],
)
def test_a_waiver_is_needed_by_nothing_where_every_host_was_judged_and_holds(
    states: tuple[State | None, ...], unneeded: bool
) -> None:
    hosts = {f"h{number}": [finding(state, "boat.a")] if state else [] for number, state in enumerate(states)}
    made = report((waiver("boat.a", 90),), **hosts)
    assert (of(made, "unneeded") == ["boat.a"]) is unneeded
    assert ("is needed by no host of this run" in terminal.render_table(made, False, 80)) is unneeded


def test_when_a_waiver_ends_that_nothing_needs_does_not_matter() -> None:
    made = report((waiver("boat.a", 3), waiver("boat.b", -3)),
                  h=[finding(State.PASS, "boat.a"), finding(State.NOT_APPLICABLE, "boat.b")])  # fmt: skip
    assert [said.partition(" is needed")[0] for said in waivers.sentences(made["summary"]["waivers"])] == [
        "The waiver of boat.a", "The waiver of boat.b",
    ]  # fmt: skip


def test_of_two_for_one_control_the_latest_counts() -> None:
    made = report((waiver("boat.a", -9, "old"), waiver("boat.a", 9)), a=[finding(State.WAIVED, "boat.a")])
    assert (of(made, "past"), of(made, "expiring")) == ([], ["boat.a"])
    assert [row["owner"] for row in made["hosts"]["a"]["waivers"]] == ["ana"]


def test_where_nothing_is_waived_nothing_is_said() -> None:
    made = report((), a=[finding(State.PASS)])
    assert "waive" not in terminal.render_table(made, False, 80)
    assert "<h2>Waivers" not in formats.html(made)


def test_sarif_has_them_as_suppressed_results() -> None:
    made = report((waiver("boat.a", 9),), a=[finding(State.WAIVED, "boat.a"), finding(State.FAIL, "boat.b")])
    [run] = json.loads("".join(formats.sarif(made)))["runs"]
    found = {result["ruleId"]: result.get("suppressions") for result in run["results"]}
    until = (TODAY + datetime.timedelta(days=9)).isoformat()
    why = f"ana, until {until}: legacy"
    assert found == {
        "boat.a": [{"kind": "external", "status": "accepted", "justification": why}],
        "boat.b": None,
    }


def test_what_a_policy_says_is_made_printable() -> None:
    nasty = Waiver(control="boat.a", reason="\x1b[2Jr", owner="<b>\x1b]0;x\x07", until=TODAY)
    made = report((nasty,), a=[finding(State.WAIVED, "boat.a")])
    for text in (terminal.render_table(made, False, 80), formats.html(made), "".join(formats.sarif(made))):
        assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "<b>" not in formats.html(made)
