"""The report as Prometheus text: what is a series, and that their number is bounded."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from deploys.core.control import Severity, State
from deploys.report import metrics
from deploys.report.report import HostReport, build
from tests.support.report import a_report, a_run, finding

WAIVED = {"control": "boat.icc", "owner": "ops", "reason": "soon", "until": "2026-01-10", "days": 8, "only": None}


def series(text: str) -> dict[str, str]:
    """The value of each series."""
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def rendered(*args: Any, **more: Any) -> dict[str, str]:
    return series(metrics.render(*args, **more))


def test_the_run_and_the_host_are_there_and_what_holds_is_counted_alone() -> None:
    found = rendered(a_report(finding(State.PASS, "boat.a"), finding(State.FAIL, "boat.b")))
    assert found['hullproof_run_timestamp_seconds{kind="drift",policy="baseline"}'] == "1767323049"
    assert found['hullproof_run_duration_seconds{kind="drift"}'] == "4"
    assert found['hullproof_run_exit_code{kind="drift"}'] == "2"
    assert found['hullproof_hosts{status="ok"}'] == "1"
    assert found['hullproof_host_up{host="web1"}'] == "1"
    assert found['hullproof_host_survey_timestamp_seconds{host="web1"}'] == "1767323049"
    assert found['hullproof_findings{state="pass",severity="high"}'] == "1"
    assert found['hullproof_findings{state="unknown",severity="low"}'] == "0"
    assert found['hullproof_host_findings{host="web1",state="fail"}'] == "1"
    assert found['hullproof_control_hosts{control="boat.b",severity="high",state="fail"}'] == "1"
    assert found['hullproof_finding{host="web1",control="boat.b",severity="high",state="fail"}'] == "1"
    assert not any("boat.a" in name for name in found)
    assert len([name for name in found if name.startswith("hullproof_info{version=")]) == 1


def test_a_host_without_an_answer_is_down_and_was_surveyed_when_it_last_was() -> None:
    report = build(a_run(), [HostReport("gone", "unreachable", "timed out"), HostReport("lost", "unreachable", "no")])
    found = rendered(report, metrics.Watch("fleet", 1767323100, 1, {"gone": 1767000000, "not-in-the-run": 5}))
    assert found['hullproof_host_up{watch="fleet",host="gone"}'] == "0"
    assert [(name, value) for name, value in found.items() if "survey" in name] == [
        ('hullproof_host_survey_timestamp_seconds{watch="fleet",host="gone"}', "1767000000")
    ]
    assert found['hullproof_watch_exit_code{watch="fleet"}'] == "1"
    assert found['hullproof_watch_attempt_timestamp_seconds{watch="fleet"}'] == "1767323100"
    assert all('{watch="fleet"' in name for name in found)


def test_what_held_and_no_longer_does_is_counted_by_host() -> None:
    report = a_report(finding(State.FAIL))
    assert not any(name.startswith("hullproof_host_drifted") for name in rendered(report))
    report["hosts"]["web1"]["findings"][0]["drift"] = {"held": "yesterday"}
    assert rendered(report)['hullproof_host_drifted{host="web1"}'] == "1"


@pytest.mark.parametrize(("needed", "shown"), [(True, 1), (None, 1), (False, 0)])
def test_a_waiver_that_is_needed_has_its_end(needed: bool | None, shown: int) -> None:
    report = a_report(finding(State.WAIVED), waivers=[{**WAIVED, "needed": needed, "every": ""}])
    found = {name: int(value) for name, value in rendered(report).items() if "waiver" in name}
    assert len(found) == shown
    for name, end in found.items():
        assert name.endswith('{control="boat.icc",owner="ops",until="2026-01-10"}')
        # the last day counts to its end
        assert date.fromtimestamp(end - 1) <= date(2026, 1, 11)
        assert end % 86400 == 0


def test_the_number_of_series_is_bounded_and_the_worst_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "FINDINGS_MOST", 5)
    rows = [finding(State.FAIL, f"boat.{severity}", severity=severity) for severity in reversed(Severity)]
    report = build(a_run(), [HostReport(f"h{number}", "ok", findings=rows) for number in range(4)])
    found = rendered(report)
    single = Counter(re.findall(r'severity="(\w+)"', " ".join(n for n in found if n.startswith("hullproof_finding{"))))
    assert single == {"high": 4, "medium": 1}
    assert found["hullproof_findings_left_out"] == "7"
    assert found['hullproof_control_hosts{control="boat.low",severity="low",state="fail"}'] == "4"
    assert found['hullproof_host_findings{host="h3",state="fail"}'] == "3"


NASTY = 'a"b\\c\nd{e}=,# f'


def nasty() -> dict[str, Any]:
    findings = [finding(state, f"boat.{state.value}", NASTY) for state in State]
    waivers = [{**WAIVED, "owner": NASTY, "needed": True, "every": ""}]
    return build(a_run(), [HostReport(NASTY, "error", NASTY, findings=findings, waivers=waivers)])


def check_lines(text: str) -> None:
    line = re.compile(r'[a-z_]+(\{([a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? [0-9]+')
    lines = [text for text in text.splitlines() if not text.startswith("#")]
    assert [text for text in lines if not line.fullmatch(text)] == []
    assert len({text.rsplit(" ", 1)[0] for text in lines}) == len(lines), "a series twice"
    heads = [text for text in text.splitlines() if text.startswith("# TYPE")]
    assert len(set(heads)) == len(heads) > 10, "a family in two parts"


@pytest.mark.parametrize("report", [nasty(), a_report(), build(a_run(), [])], ids=["nasty", "no finding", "no host"])
def test_each_line_is_of_the_format(report: Mapping[str, Any]) -> None:
    check_lines(metrics.render(report))
    check_lines(metrics.render(report, metrics.Watch(NASTY, 1.5, 2, {NASTY: 1.0})))


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not on this machine")
@pytest.mark.parametrize("report", [nasty(), a_report(finding(State.FAIL)), build(a_run(), [])])
def test_promtool_finds_nothing_to_say(report: Mapping[str, Any]) -> None:
    text = metrics.render(report, metrics.Watch("fleet", 1.0, 2, {"web1": 1.0}))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
