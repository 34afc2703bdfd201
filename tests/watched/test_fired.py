"""The alert rules: when each fires, by promtool, and one that really arrives at an alertmanager."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploys.core.control import State
from deploys.report import metrics
from deploys.report.report import HostReport, build
from hullproof.watching.rules import rules
from tests.support.report import a_report, a_run, finding
from tests.watched.conftest import METRICS
from tests.watched.machine import Controller, files

HOUR = 3_600
WAIVER = {"control": "boat.icc", "owner": "ops", "reason": "soon", "until": "1970-01-10", "days": 8, "only": None}
ALERTS = [rule["alert"] for rule in yaml.safe_load(rules())["groups"][0]["rules"]]


def drifted() -> dict[str, Any]:
    report = a_report(finding(State.FAIL))
    report["hosts"]["web1"]["findings"][0]["drift"] = {"held": "yesterday"}
    return report


def waived(needed: bool) -> dict[str, Any]:
    return a_report(finding(State.WAIVED), waivers=[{**WAIVER, "needed": needed, "every": ""}])


@dataclass(frozen=True)
class Case:
    """What a watch says all the time, from a report of the Unix time `at`, and the alerts that fire: at once, and once
    two looks have said so, each with the labels that name what it is about."""

    report: dict[str, Any] | None
    exit_code: int = 0
    at: int = 0
    once: dict[str, dict[str, str]] = field(default_factory=dict)
    twice: dict[str, dict[str, str]] = field(default_factory=dict)


HOST, ICC, WATCH = {"host": "web1"}, {"control": "boat.icc"}, {"watch": "fleet"}
CASES = {
    "all holds": Case(a_report(finding(State.PASS))),
    "drift": Case(drifted(), 2, once={"HullproofDrift": HOST, "HullproofDoesNotHold": ICC}),
    "never held": Case(a_report(finding(State.FAIL)), 2, once={"HullproofDoesNotHold": ICC}),
    "pending": Case(a_report(finding(State.PENDING_REBOOT)), 2, once={"HullproofDoesNotHold": ICC}),
    "unknown": Case(a_report(finding(State.UNKNOWN)), 3, twice={"HullproofUnknown": ICC}),
    "out of reach": Case(build(a_run(), [HostReport("web1", "unreachable")]), 1, twice={"HullproofUnreachable": HOST}),
    "an old survey": Case(
        a_report(finding(State.PASS)), at=-25 * HOUR, once={"HullproofSurveyStale": HOST, "HullproofWatchStale": WATCH}
    ),
    "a waiver ends": Case(waived(True), once={"HullproofWaiverEnds": ICC}),
    "a waiver ends that nothing needs": Case(waived(False)),
    "the watch goes wrong": Case(a_report(finding(State.PASS)), 1, twice={"HullproofWatchFailed": WATCH}),
    "it never came to a report": Case(None, 1, twice={"HullproofWatchFailed": WATCH, "HullproofWatchAbsent": {}}),
}


def text_of(case: Case) -> str:
    """The metrics of the watch."""
    report = copy.deepcopy(case.report)
    if report:
        report["run"]["started"] = report["run"]["finished"] = datetime.fromtimestamp(case.at, UTC).isoformat()
    hosts = {"web1": float(case.at)} if report and report["hosts"] else {}
    return metrics.render(report, metrics.Watch("fleet", case.at, case.exit_code, hosts))


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(files() / "usr/bin/promtool"), *words], capture_output=True, text=True)


def fired(folder: Path, text: str, after: str) -> dict[str, dict[str, str]]:
    """The alerts that fire `after` a time with these metrics, with their labels: promtool is to expect none, and says
    what it got."""
    series = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    test = {
        "interval": "30m",
        "input_series": [{"series": name, "values": f"{value}x6"} for name, value in series],
        "alert_rule_test": [{"eval_time": after, "alertname": alert} for alert in ALERTS],
    }
    (folder / "rules.yml").write_text(rules())
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "30m", "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(whole))
    done = promtool("test", "rules", str(folder / "test.yml"))
    found = re.findall(r"Labels:\{(.*)\}\n\s+Annotations:\{(.*)\}$", done.stdout + done.stderr, re.MULTILINE)
    assert done.returncode == bool(found), done.stdout + done.stderr
    assert not any("<no value>" in notes or "<error" in notes for _, notes in found)
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', row)) for row, _ in found]
    return {row.pop("alertname"): row for row in labels}


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_is_to(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    for after, expected in (("1h", case.once), ("2h", case.once | case.twice)):
        found = fired(tmp_path, text_of(case), after)
        assert set(found) == set(expected)
        assert all(labels.items() <= found[alert].items() for alert, labels in expected.items())


def test_each_alert_is_tried() -> None:
    assert {alert for case in CASES.values() for alert in (case.once | case.twice)} == set(ALERTS)


PROMETHEUS = """\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [/etc/prometheus/hullproof.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}
scrape_configs: [{job_name: node, static_configs: [{targets: ['127.0.0.1:9100']}]}]
"""
ALERTMANAGER = """\
route: {receiver: none, group_wait: 1s}
receivers: [{name: none}]
"""
START = f"""
mkdir -p {METRICS}
cat >{METRICS}/hullproof-fleet.prom <<'END'
%s
END
cat >/etc/prometheus/prometheus.yml <<'END'
{PROMETHEUS}END
cat >/etc/prometheus/alertmanager.yml <<'END'
{ALERTMANAGER}END
echo 'ARGS="--web.listen-address=127.0.0.1:9093 --cluster.listen-address="' >/etc/default/prometheus-alertmanager
echo 'ARGS="--web.listen-address=127.0.0.1:9100"' >/etc/default/prometheus-node-exporter
echo 'ARGS="--web.listen-address=127.0.0.1:9090"' >/etc/default/prometheus
systemctl start prometheus-node-exporter prometheus-alertmanager prometheus
"""
FETCH = "python3 -c 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())'"


def test_an_alert_really_arrives(controller: Controller) -> None:
    report = drifted()
    report["run"]["started"] = report["run"]["finished"] = datetime.now(UTC).isoformat()
    text = metrics.render(report, metrics.Watch("fleet", 0, 2, metrics.surveyed(report)))
    controller.out(f"cat >/etc/prometheus/hullproof.yml <<'END'\n{rules()}END\n")
    assert "9 rules" in controller.hullproof("watch alerts --check /etc/prometheus/hullproof.yml").stdout
    controller.out(START % text.strip())

    def arrived() -> dict[str, dict[str, str]]:
        done = controller.sh(f"{FETCH} http://127.0.0.1:9093/api/v2/alerts")
        rows = [row["labels"] for row in json.loads(done.stdout)] if done.returncode == 0 else []
        return {row["alertname"]: row for row in rows}

    controller.until("the alerts", lambda: {"HullproofDrift", "HullproofDoesNotHold"} <= set(arrived()))
    assert set(arrived()) == {"HullproofDrift", "HullproofDoesNotHold"}
    assert arrived()["HullproofDrift"]["host"] == "web1"


def test_a_rule_file_that_promtool_refuses_is_one_error(controller: Controller) -> None:
    controller.out("printf 'groups: [{name: x, rules: [{alert: A, expr: \"up ==\"}]}]' >/tmp/mine.yml")
    done = controller.hullproof("watch alerts --check /tmp/mine.yml")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stdout.startswith("Error: promtool refuses /tmp/mine.yml: ")
    assert "parse error" in done.stdout
