"""The report's other forms: HTML, SARIF, JUnit and Prometheus text. Each is made from the report object alone.

state                          SARIF                    JUnit
pass                           -                        passed
fail, pending-*                result, level by severity  failure
unknown                        result, level by severity  error: never green, and not a failure either
waived                         result, suppressed       skipped, with the reason
not-applicable                 -                        skipped, with the reason
"""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from deploys.core.control import State
from deploys.report.page import render

Report = Mapping[str, Any]
Form = Callable[[Report], str]

LEVELS = {"high": "error", "medium": "warning", "low": "note"}
SCORES = {"high": "8.0", "medium": "5.5", "low": "3.0"}  # what code scanning sorts by (CVSS bands)

html = render.html


def holds(finding: Mapping[str, Any]) -> bool:
    return State(finding["state"]).holds


def _findings(report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    for host, part in report["hosts"].items():
        for finding in part["findings"]:
            yield host, finding


def sarif(report: Report) -> str:
    """SARIF 2.1.0: what does not hold, and what is waived. The host is the artifact (code scanning demands one) and a
    logical location."""
    rules = {finding["control"]: finding for _, finding in _findings(report)}
    order = {control: number for number, control in enumerate(rules)}
    run = {
        "tool": {"driver": {**report["tool"], "rules": [_rule(finding) for finding in rules.values()]}},
        "invocations": [
            {
                "executionSuccessful": report["exit_code"] != 1,
                "exitCode": report["exit_code"],
                "startTimeUtc": _utc(report["run"]["started"]),
                "endTimeUtc": _utc(report["run"]["finished"]),
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": f"{host}: {part['status']}: {part['error'] or ''}"}}
                    for host, part in report["hosts"].items()
                    if part["status"] != "ok"
                ],
            }
        ],
        "results": [
            _result(host, finding, order[finding["control"]]) | _suppressed(report["hosts"][host], finding)
            for host, finding in _findings(report)
            if not holds(finding) or finding["state"] == State.WAIVED
        ],
    }
    whole = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _rule(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": finding["control"],
        "shortDescription": {"text": finding["title"]},
        "defaultConfiguration": {"level": LEVELS[finding["severity"]]},
        "properties": {
            "security-severity": SCORES[finding["severity"]],
            "tags": ["security", finding["subject"], *finding["references"]],
        },
    }


def _result(host: str, finding: Mapping[str, Any], rule: int) -> dict[str, Any]:
    key = hashlib.sha256(json.dumps([host, finding["control"]]).encode()).hexdigest()
    return {
        "ruleId": finding["control"],
        "ruleIndex": rule,
        "level": LEVELS[finding["severity"]],
        "message": {"text": f"{host}: {finding['state']}: {finding['reason']}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(host, safe="")}, "region": {"startLine": 1}},
                "logicalLocations": [{"name": host, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"hullproof/v1": key},
        "properties": {key: finding[key] for key in ("state", "declared", "disk", "live", "impact")},
    }


def _suppressed(host: Mapping[str, Any], finding: Mapping[str, Any]) -> dict[str, Any]:
    """That a finding is waived, by whom, until when and why."""
    if finding["state"] != State.WAIVED:
        return {}
    own = [row for row in host["waivers"] if row["control"] == finding["control"] and row["days"] >= 0]
    why = "; ".join(f"{row['owner']}, until {row['until']}: {row['reason']}" for row in own) or finding["reason"]
    return {"suppressions": [{"kind": "external", "status": "accepted", "justification": why}]}


def _utc(time: str) -> str:
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def junit(report: Report) -> str:
    """A suite per host, a case per control. A host that did not answer, or no host at all, is an error."""
    root = ET.Element("testsuites", name=f"hullproof {report['run']['kind']}")
    for host, part in report["hosts"].items():
        suite = ET.SubElement(root, "testsuite", name=host, timestamp=report["run"]["started"])
        if part["status"] != "ok":
            _case(
                suite,
                group="host",
                name="answers",
                kind=part["status"],
                outcome="error",
                message=part["error"] or part["status"],
            )
        for finding in part["findings"]:
            _case(
                suite,
                group=finding["subject"],
                name=finding["control"],
                kind=finding["state"],
                outcome=_outcome(finding),
                message=finding["reason"],
            )
    if not report["hosts"]:
        suite = ET.SubElement(root, "testsuite", name="inventory", timestamp=report["run"]["started"])
        _case(
            suite,
            group="inventory",
            name="names hosts",
            kind="empty",
            outcome="error",
            message="no host in the inventory, or none in --limit",
        )
    for suite in [*root, root]:
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(count, str(len(suite.findall(f".//{tag}"))))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _outcome(finding: Mapping[str, Any]) -> str:
    match State(finding["state"]):
        case State.PASS:
            return ""
        case State.NOT_APPLICABLE | State.WAIVED:
            return "skipped"
        case State.UNKNOWN:
            return "error"
        case _:
            return "failure"


def _case(suite: ET.Element, *, group: str, name: str, kind: str, outcome: str, message: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"{suite.get('name')}.{group}", name=name, time="0")
    if outcome:
        ET.SubElement(case, outcome, type=kind, message=message)


def prometheus(report: Report) -> str:
    """Text for node_exporter's textfile collector."""
    finished = datetime.fromisoformat(report["run"]["finished"]).timestamp()
    run = {"kind": report["run"]["kind"], "policy": report["run"]["policy"]}
    lines = [
        *_family("hullproof_run_timestamp_seconds", "When the run ended."),
        f"hullproof_run_timestamp_seconds{_labels(run)} {finished:.0f}",
        *_family("hullproof_host_up", "Whether the host answered and was judged."),
        *(
            f"hullproof_host_up{_labels({'host': host})} {int(part['status'] == 'ok')}"
            for host, part in report["hosts"].items()
        ),
        *_family("hullproof_finding", "A control's state on a host; one series per control, always 1."),
        *(
            f"hullproof_finding{_labels({'host': host, **{key: finding[key] for key in FINDING_LABELS}})} 1"
            for host, finding in _findings(report)
        ),
    ]
    return "\n".join(lines) + "\n"


FINDING_LABELS = ("control", "severity", "state")


def _family(name: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge"]


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


FORMATS: dict[str, Form] = {
    "report.html": html,
    "report.sarif": sarif,
    "junit.xml": junit,
    "metrics.prom": prometheus,
}
