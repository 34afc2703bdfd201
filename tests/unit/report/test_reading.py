"""Reading a report again: what hullproof wrote is read, everything else is refused with one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploys.core.control import State
from deploys.report import files
from deploys.report.merge import merge
from deploys.report.part import part
from deploys.report.reading import ReportError, read
from deploys.report.report import HostReport, build
from tests.support.report import a_report, a_run, finding

WAIVER = {
    "control": "boat.icc", "owner": "ops", "reason": "old", "until": "2027-01-01", "days": 9, "only": None, "every": "",
    "needed": True,
}  # fmt: skip
CHANGE = {"subject": "boat", "what": "write it", "path": "/etc/x", "journal": "/var/lib/j/1"}
DRIFT = {"held": "yesterday", "moved": ["disk"], "cause": "package x"}
FULL = a_report(
    finding(State.PASS, "boat.a", declared=1, disk=[1], live={"a": None}), finding(State.WAIVED),
    changes=[CHANGE], waivers=[WAIVER],
)  # fmt: skip


@pytest.mark.parametrize(
    "report",
    [
        FULL,
        a_report(finding(State.FAIL), finding(State.UNKNOWN, "boat.b")),
        build(a_run(), []),
        build(a_run(), [HostReport("a", "unreachable", "no route")]),
        merge([FULL]),
        part(FULL, hosts=["web1"], states=[State.PASS]),
    ],
)
def test_what_a_run_writes_is_read_as_it_was(report: dict[str, Any], tmp_path: Path) -> None:
    assert files.write(tmp_path, report) == []
    assert read(tmp_path) == read(tmp_path / "report.json") == json.loads(json.dumps(report))


def test_a_report_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = json.dumps(a_report(finding(State.FAIL, reason="es führt zu nichts")), ensure_ascii=False).encode()
    file = tmp_path / "report.json"
    for end in range(1, len(whole)):
        file.write_bytes(whole[:end])
        with pytest.raises(ReportError, match=r"cut short: it ends in the middle|not JSON"):
            read(file)


MERGED = json.dumps(merge([FULL]))
FAILING = json.dumps(a_report(finding(State.FAIL)))


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    report = json.loads(json.dumps(FULL))
    change(report)
    return json.dumps(report)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ("hello", r"not JSON \(Expecting value, line 1\)"),
        ("[]", "JSON, but no report of hullproof's"),
        ('{"schema": 1}', "JSON, but no report of hullproof's"),
        ('{"schema": NaN, "hosts": {}}', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        (changed(lambda r: r.update(schema=2)), "a report of schema 2, and hullproof .* reads 1: read it with the"),
        (changed(lambda r: r.update(hosts=[])), "no report as hullproof writes it: hosts: "),
        (changed(lambda r: r.update(exit_code=7)), "exit_code: .*no exit code"),
        (changed(lambda r: r["run"].update(started="noon")), r"run\.started: "),
        (changed(lambda r: r["run"].update(started="2026-01-02T03:04:05")), "the time zone is missing"),
        (
            changed(lambda r: r["hosts"]["web1"]["findings"][0].pop("state")),
            r"hosts\.web1\.findings\.0\.state: ",
        ),
        (changed(lambda r: r["hosts"]["web1"]["findings"][0].update(state="good")), r"hosts\.web1\.findings\.0\.state"),
        (changed(lambda r: r["hosts"]["web1"]["findings"].pop()), "the counts of web1 are not those of the findings"),
        ('{"schema": 1, "hosts": ' + "1" * 5000 + "}", "not JSON that a report is in"),
        (changed(lambda r: r["hosts"].update({"web1\x1b[0m": r["hosts"]["web1"]})), "differ by characters"),
        (changed(lambda r: r["hosts"].clear()), "the counts of the summary"),
        (MERGED.replace('"hosts": ["web1"]', '"hosts": []'), "hosts are not those of the runs"),
        (FAILING.replace('"exit_code": 2', '"exit_code": 0'), r"the exit code 0 is not that of the findings \(2\)"),
        (FAILING.replace('"exit_code": 2', '"exit_code": 3'), r"the exit code 3 is not that of the findings \(2\)"),
        (changed(lambda r: r["summary"]["findings"].update(fail=9)), "the counts of the summary are not those"),
    ],
)
def test_what_is_no_report_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(ReportError, match=said) as error:
        read(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"nosuch: no such file$"):
        read(tmp_path / "nosuch")
    with pytest.raises(ReportError, match=r"no report\.json in this folder$"):
        read(tmp_path)
    (tmp_path / "latin").write_bytes(b'{"\xe4t"}')
    with pytest.raises(ReportError, match="not UTF-8"):
        read(tmp_path / "latin")


def test_what_a_terminal_could_obey_is_taken_out(tmp_path: Path) -> None:
    evil = changed(lambda r: r["hosts"].update({"a\x1b[2J": r["hosts"].pop("web1")}))
    evil = evil.replace("icc is true", "icc \\u001b]0;is\\u0007 tr\\u202eue")
    (tmp_path / "report.json").write_text(evil)
    report = read(tmp_path)
    assert list(report["hosts"]) == ["a"]
    assert report["hosts"]["a"]["findings"][0]["reason"] == "icc ]0;is true"
