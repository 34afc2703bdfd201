"""OSCAL assessment results as NIST's schema wants them, in which nothing is satisfied that is not known to hold."""

from __future__ import annotations

import datetime
import json
from typing import Any
from uuid import UUID

import pytest

from deploys.core.control import State
from deploys.report.oscal import oscal
from deploys.report.report import HostReport, Run, build
from tests.support.report import KERNEL, OS, a_report, a_run, finding
from tests.support.schemas import validator

SCHEMA = "oscal_assessment-results_schema.json"
NASTY = "</script>\x1b[2J \" ' \\ \n ü" * 200
WAIVER = {
    "control": "boat.waived", "owner": "ana", "reason": "legacy", "until": "2026-12-31", "days": 9, "only": None,
    "every": "", "needed": True,
}  # fmt: skip


def everything(**more: Any) -> dict[str, Any]:
    findings = [finding(state, f"boat.{state}", declared=1, disk="x", live=[None, {"a": 2}]) for state in State]
    hosts = [
        HostReport("web1", "ok", None, OS, KERNEL, findings, waivers=[WAIVER]),
        HostReport(NASTY, "ok", None, {"name": " "}, {}, [finding(State.UNKNOWN, reason=NASTY)]),
        HostReport("web2", "ok", None, findings=[finding(State.PASS, "boat.x", "")]),
        HostReport("web3", "unreachable", NASTY),
        HostReport("web4", "error"),
    ]
    return build(Run(**a_run().__dict__ | more), hosts)


def results(report: dict[str, Any]) -> dict[str, Any]:
    [result] = json.loads(oscal(report))["assessment-results"]["results"]
    assert isinstance(result, dict)
    return result


PART = {"asked": ["boat"], "controls": 1, "of": 9}


REPORTS = [everything(), everything(only=PART), build(a_run(), []), a_report(kind="rollback")]


@pytest.mark.parametrize("report", [*REPORTS, a_report(finding(State.UNKNOWN))])
def test_it_is_as_the_schema_wants_it(report: dict[str, Any]) -> None:
    validator(SCHEMA)(json.loads(oscal(report)))


def test_only_what_holds_is_satisfied() -> None:
    targets = [row["target"] for row in results(everything())["findings"]]
    assert {row["target-id"]: (row["status"]["state"], row["status"]["reason"]) for row in targets} == {
        "boat.x": ("satisfied", "pass"),
        "boat.pass": ("satisfied", "pass"),
        "boat.fail": ("not-satisfied", "fail"),
        "boat.pending-restart": ("not-satisfied", "other"),
        "boat.pending-reboot": ("not-satisfied", "other"),
        "boat.waived": ("not-satisfied", "other"),
    }


def test_whatever_was_found_is_observed() -> None:
    observed = [row["props"][0]["value"] for row in results(everything())["observations"]]
    assert sorted(observed) == sorted([*State, "unknown", "pass", "unreachable", "error"])


def test_the_controls_under_review_are_those_that_are_demanded() -> None:
    [selection] = results(everything())["reviewed-controls"]["control-selections"]
    reviewed = {row["control-id"] for row in selection["include-controls"]}
    assert reviewed == {"boat.x", "boat.icc", *(f"boat.{state}" for state in State)} - {"boat.not-applicable"}
    [selection] = results(a_report(finding(State.NOT_APPLICABLE)))["reviewed-controls"]["control-selections"]
    assert selection == {"description": "Nothing was judged.", "include-all": {}}


def test_a_waiver_is_an_approved_deviation() -> None:
    result = results(everything())
    [risk] = result["risks"]
    assert risk["status"] == "deviation-approved"
    assert risk["description"] == "web1: waived by ana, until 2026-12-31: legacy"
    [row] = [row for row in result["findings"] if "related-risks" in row]
    assert (row["target"]["target-id"], row["related-risks"]) == ("boat.waived", [{"risk-uuid": risk["uuid"]}])


def test_a_run_of_a_part_says_so() -> None:
    assert "Judged only 1 of 9 controls (only=boat)." in results(everything(only=PART))["description"]


def test_what_refers_to_something_refers_to_what_is_there() -> None:
    result = results(everything())
    there = {row["uuid"] for row in [*result["observations"], *result["local-definitions"]["inventory-items"]]}
    assert {ref["observation-uuid"] for row in result["findings"] for ref in row["related-observations"]} <= there
    assert {ref["subject-uuid"] for row in result["observations"] for ref in row["subjects"]} <= there
    whole = json.loads(oscal(everything()))["assessment-results"]
    assert whole["import-ap"]["href"] == f"#{whole['back-matter']['resources'][0]['uuid']}"


def test_the_same_report_gives_the_same_file_and_each_thing_its_own_id() -> None:
    assert oscal(everything()) == oscal(everything())
    result = results(everything())
    ids = [row["uuid"] for name in ("observations", "findings", "risks") for row in result[name]]
    assert len({UUID(ident) for ident in ids}) == len(ids)
    other = results(everything(id="another"))
    assert not {row["uuid"] for row in other["findings"]} & set(ids)
    assert other["local-definitions"] == result["local-definitions"]


def test_times_are_in_utc() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    began = datetime.datetime(2026, 1, 2, 8, 30, tzinfo=zone).isoformat()
    assert results(everything(started=began))["start"] == "2026-01-02T03:00:00Z"
