"""One report of several: hosts, counts, exit codes, and what cannot be merged."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deploys.core.control import State
from deploys.report import formats, terminal
from deploys.report.merge import MergeError, differences, merge
from deploys.report.part import part
from deploys.report.report import HostReport, Kind, Run, Status, build, outcome
from tests.support.report import finding


def run_of(
    name: str, *hosts: HostReport, kind: Kind = "drift", policy: str = "baseline", **more: Any
) -> dict[str, Any]:
    return build(Run(name, kind, f"2026-01-02T03:0{len(name)}:00Z", "2026-01-02T03:30:00Z", policy, **more), hosts)


def host(name: str, *states: State, status: Status = "ok") -> HostReport:
    return HostReport(name, status, findings=[finding(state, f"boat.{at}") for at, state in enumerate(states)])


A = run_of("a", host("web1", State.PASS, State.PASS), host("web2", State.PASS, State.WAIVED))
B = run_of("bb", host("db1", State.PASS, State.FAIL))


def test_the_parts_of_one_run_make_the_report_that_the_run_would_have_made() -> None:
    hosts = [host("web1", State.PASS), host("web2", State.UNKNOWN, State.PASS), host("web3", State.FAIL)]
    whole = run_of("a", *hosts)
    merged = merge([run_of("a", *hosts[:1]), run_of("a", *hosts[1:])])
    assert [part["hosts"] for part in merged["run"].pop("parts")] == [["web1"], ["web2", "web3"]]
    assert merged == whole


def test_counts_times_and_the_exit_code_are_those_of_all() -> None:
    before = copy.deepcopy([A, B])
    merged = merge([A, B])
    assert list(merged["hosts"]) == ["web1", "web2", "db1"]
    assert merged["summary"]["hosts"] == {"ok": 3, "unreachable": 0, "error": 0}
    assert (merged["summary"]["findings"]["pass"], merged["summary"]["findings"]["fail"]) == (4, 1)
    assert (merged["run"]["started"], merged["run"]["finished"]) == ("2026-01-02T03:01:00Z", "2026-01-02T03:30:00Z")
    assert merged["exit_code"] == outcome(merged).code == 2
    assert merged["run"]["id"].startswith("merged-")
    assert before == [A, B]


def test_a_part_that_reached_no_host_has_no_policy_of_its_own() -> None:
    nobody = run_of("a", host("gone", status="unreachable"), policy="")
    merged = merge([nobody, A])
    assert merged["run"]["policy"] == "baseline"
    assert differences(merged) == []
    assert "drift, policy baseline: 2 ok, 1 unreachable;" in terminal.render_table(merged, color=False, width=200)
    assert "drift: 1 unreachable;" in terminal.render_table(merge([nobody]), color=False, width=200)


def test_a_merged_report_has_all_other_forms() -> None:
    merged = merge([A, B])
    assert all(render(merged) for render in formats.FORMATS.values())
    assert "db1" in terminal.render_table(merged, color=False, width=80)


def test_merged_reports_are_merged_again() -> None:
    more = run_of("ccc", host("db2", State.PASS))
    again = merge([merge([A, B]), more])
    assert again == merge([A, B, more])


def test_a_report_that_is_given_twice_counts_once() -> None:
    assert merge([A, B, A])["run"]["parts"] == merge([A, B])["run"]["parts"]
    assert merge([merge([A, B]), A])["summary"] == merge([A, B])["summary"]


@pytest.mark.parametrize(
    "other",
    [run_of("bb", host("web2", State.PASS, State.WAIVED)), run_of("a", host("web2", State.FAIL, State.WAIVED))],
    ids=["the same in another run", "another result in a run of that name"],
)
def test_a_host_in_two_runs_is_refused_by_name(other: dict[str, Any]) -> None:
    with pytest.raises(MergeError, match=r"web2$"):
        merge([A, other])


@pytest.mark.parametrize(
    ("worst", "code"),
    [
        (host("x", State.PASS), 0),
        (host("x", State.UNKNOWN, State.PASS), 3),
        (host("x", State.FAIL, State.UNKNOWN), 2),
        (host("x", status="unreachable"), 1),
        (host("x", State.NOT_APPLICABLE), 1),
    ],
)
def test_the_worst_part_decides(worst: HostReport, code: int) -> None:
    merged = merge([A, run_of("bb", worst)])
    assert merged["exit_code"] == outcome(merged).code == code


def test_a_part_without_a_host_is_no_success() -> None:
    merged = merge([A, run_of("bb")])
    assert (merged["exit_code"], outcome(merged).code) == (1, 1)
    assert outcome(merged).words == "run bb: no host in the inventory, or none in --limit"


def test_proofs_that_failed_after_a_run_still_count() -> None:
    assert merge([A, {**A, "run": {**A["run"], "id": "p"}, "hosts": {"x": A["hosts"]["web1"]}, "exit_code": 2}])[
        "exit_code"
    ] == 2  # fmt: skip


def test_what_is_pending_counts_by_the_kind_of_its_own_run() -> None:
    waits = host("new", State.PASS, State.PENDING_REBOOT)
    harden = run_of("hh", waits, kind="harden", policy="strict")
    assert merge([A, harden])["exit_code"] == 0
    assert merge([A, run_of("hh", waits)])["exit_code"] == 2
    mixed = merge([B, harden])
    assert (mixed["exit_code"], outcome(mixed).words) == (2, "drift: something does not hold")
    assert differences(mixed) == [
        "These are runs of different kinds: drift (bb); harden (hh).",
        "These are runs of different policies: baseline (bb); strict (hh).",
    ]
    assert differences(merge([A, B])) == differences(A) == []


def test_a_dry_run_among_others_is_said() -> None:
    assert differences(merge([A, run_of("bb", host("x", State.PASS), dry=True)])) == [
        "Some runs only showed what they would do: bb."
    ]


def test_parts_of_the_controls_that_differ_are_not_merged() -> None:
    other = run_of("bb", host("x", State.PASS), only={"asked": ["docker"], "controls": 3, "of": 252})
    with pytest.raises(MergeError, match="different parts of the controls"):
        merge([A, other])
    assert merge([other])["run"]["only"] == other["run"]["only"]


def test_nothing_makes_no_report() -> None:
    with pytest.raises(MergeError, match="no report"):
        merge([])


def test_a_part_of_a_report_is_not_merged() -> None:
    with pytest.raises(MergeError, match="a part of a report"):
        merge([A, part(B, hosts=["db1"], states=[State.PASS])])
