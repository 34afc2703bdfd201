"""Hosts of which the same is said share what the report holds of it; what differs in the least does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploys.core.control import Finding, State
from deploys.report import files, rows
from deploys.report.report import HostReport, Settled, build
from tests.support.report import a_report, a_run, finding

ONE = finding(State.PASS, declared=True, disk={"a": [1]}, live="x")


def like(**verdict: Any) -> Finding:
    """The same control's finding."""
    return Finding(
        ONE.control, finding(State.PASS, **{"declared": True, "disk": {"a": [1]}, "live": "x", **verdict}).verdict
    )


def test_hosts_share_a_row_of_which_the_same_is_said() -> None:
    assert rows.row(ONE) is rows.row(like())


@pytest.mark.parametrize(
    "other",
    [like(declared=1), like(live="y"), like(disk={"a": [True]}), like(disk={"a": [1.0]}), like(reason="icc is false"),
     finding(State.PASS, declared=True, disk={"a": [1]}, live="x")],
    ids=["a number, no flag", "live", "deeper", "of another type", "reason", "another control of that id"],
)  # fmt: skip
def test_what_differs_in_the_least_has_a_row_of_its_own(other: Finding) -> None:
    first, second = rows.row(ONE), rows.row(other)
    assert first is not second
    assert json.dumps(second["declared"]) == json.dumps(other.verdict.declared)
    assert json.dumps(second["disk"]) == json.dumps(other.verdict.disk)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "KEPT", 10)
    monkeypatch.setattr(rows, "_rows", {})
    for number in range(100):
        assert rows.row(like(live=number))["live"] == number
    assert len(rows._rows) <= 10
    rows.row(like(live="x" * 2 * rows.KEY))
    assert all(len(key) <= rows.KEY for _, key in rows._rows)


def test_a_host_that_is_settled_has_the_part_that_it_had() -> None:
    host = HostReport("h", "ok", findings=[ONE, finding(State.FAIL)])
    assert build(a_run(), [Settled("h", host.part(), host.controls)]) == build(a_run(), [host])


def test_the_report_is_written_in_pieces_with_a_line_for_each_finding(tmp_path: Path) -> None:
    report = a_report(ONE, finding(State.FAIL, "boat.other"))
    assert len(list(files.as_json(report))) > len(report)
    assert files.write(tmp_path, report) == []
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text) == report
    found = [json.loads(line.rstrip(",")) for line in text.splitlines() if line.startswith('{"control"')]
    assert found == report["hosts"]["web1"]["findings"]
    none: dict[str, Any] = build(a_run(), [])
    assert json.loads("".join(files.as_json(none))) == none


class Passing(dict[str, Any]):
    """Hosts' parts that are made when they are asked for, and gone after that."""

    def items(self) -> Any:
        return ((name, {**part, "findings": [dict(row) for row in part["findings"]]}) for name, part in super().items())


def test_parts_that_nobody_else_holds_are_written_as_they_are() -> None:
    said = [[finding(State.PASS, f"boat.c{n}", f"reason {n} of {host}") for n in range(20)] for host in range(20)]
    hosts = [HostReport(f"h{host}", "ok", findings=found) for host, found in enumerate(said)]
    report = build(a_run(), hosts)
    written = "".join(files.as_json(report | {"hosts": Passing(report["hosts"])}))
    assert json.loads(written) == report
