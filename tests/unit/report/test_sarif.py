"""SARIF as OASIS's schema wants it, and what its rules say of why and how."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from deploys.core.control import Impact, State
from deploys.report.report import HostReport, Run, build
from deploys.report.sarif import help_uri, sarif
from deploys.subjects import SUBJECTS
from tests.support.report import a_report, a_run, finding
from tests.support.schemas import validator


def rule(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("".join(sarif(report)))["runs"][0]["tool"]["driver"]["rules"][0]
    return found


def everything() -> dict[str, Any]:
    findings = [finding(state, f"boat.{state}") for state in State]
    return build(
        a_run(), [HostReport("web 1/ö", "ok", findings=findings), HostReport("web2", "unreachable", "no route")]
    )


@pytest.mark.parametrize("report", [everything(), build(a_run(), []), a_report(kind="rollback")])
def test_it_is_as_the_schema_wants_it(report: dict[str, Any]) -> None:
    validator("sarif-schema-2.1.0.json")(json.loads("".join(sarif(report))))


def test_a_rule_says_why_and_how() -> None:
    report = a_report(finding(State.FAIL, impact=Impact.REBOOT))
    how = "hullproof harden does it, which takes a reboot, or the result names what has to be done first."
    assert rule(report)["help"] == {
        "text": f"Why: Else it sinks.\nHow it is put right: {how}",
        "markdown": f"**Why**: Else it sinks.\n\n**How it is put right**: {how}",
    }
    report["controls"]["boat.icc"]["by_hand"] = "set a_b to <1>"
    assert rule(report)["help"]["text"].endswith("\nWhere harden may not do it: set a_b to <1>.")
    assert rule(report)["help"]["markdown"].endswith(r"set a\_b to \<1\>.")


def test_a_report_of_the_release_before_has_less_to_say() -> None:
    report = a_report(finding(State.FAIL))
    del report["controls"], report["run"]["docs"]
    assert rule(report)["help"]["text"].startswith("How it is put right: ")


def test_a_result_says_what_is_next() -> None:
    report = a_report(finding(State.FAIL))
    report["hosts"]["web1"]["findings"][0]["next"] = "harden does it"
    [result] = json.loads("".join(sarif(report)))["runs"][0]["results"]
    assert result["message"]["text"] == "web1: fail: icc is true. Next: harden does it"


def test_where_a_control_is_explained() -> None:
    run = Run(**a_run().__dict__ | {"docs": "https://docs.example.org/hullproof/"})
    report = build(run, [HostReport("web1", "ok", findings=[finding(State.FAIL, "boat.a_b-c.d")])])
    assert rule(report)["helpUri"] == "https://docs.example.org/hullproof/reference/controls/#boata_b-cd"


@pytest.mark.parametrize("docs", [None, "", "javascript:alert(1)", "https://a b"])
def test_without_a_website_it_is_the_page_on_this_machine(docs: str | None) -> None:
    uri = help_uri("kernel.sysctl.kernel.kptr_restrict", docs)
    assert uri.startswith("file:///")
    assert uri.endswith("/docs/reference/controls.md#kernelsysctlkernelkptr_restrict")


def test_no_two_controls_have_the_same_entry() -> None:
    uris = Counter(help_uri(control.id, None) for subject in SUBJECTS for control in subject.controls)
    assert uris.most_common(1)[0][1] == 1
