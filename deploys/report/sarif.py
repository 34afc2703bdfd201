"""The report as SARIF 2.1.0, for code scanning: what does not hold or cannot be judged, and what is waived."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploys.core.control import State
from deploys.report import waivers

Report = Mapping[str, Any]

LEVELS = {"high": "error", "medium": "warning", "low": "note"}
SCORES = {"high": "8.0", "medium": "5.5", "low": "3.0"}  # what code scanning sorts by (CVSS bands)
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
WEBSITE = r"https?://[\w.:/~%-]+"  # where the documentation may be
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "controls.md"


def sarif(report: Report) -> Iterator[str]:
    """SARIF 2.1.0, result by result: what does not hold, and what is waived. The host is the artifact (code scanning
    demands one) and a logical location."""
    rules = {finding["control"]: finding for _, finding in _findings(report)}
    order = {control: number for number, control in enumerate(rules)}
    run = {
        "tool": {"driver": {**report["tool"], "rules": [_rule(finding, report) for finding in rules.values()]}},
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
    }
    yield f'{_text({"$schema": SCHEMA, "version": "2.1.0"})[:-1]}, "runs": [{_text(run)[:-1]}, "results": ['
    between = "\n"
    for host, finding in _findings(report):
        if not State(finding["state"]).holds or finding["state"] == State.WAIVED:
            result = _result(host, finding, order[finding["control"]]) | _suppressed(report["hosts"][host], finding)
            yield between + _text(result)
            between = ",\n"
    yield "\n]}]}\n"


_text = json.JSONEncoder(ensure_ascii=False).encode


def _findings(report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    for host, part in report["hosts"].items():
        for finding in part["findings"]:
            yield host, finding


def _rule(finding: Mapping[str, Any], report: Report) -> dict[str, Any]:
    page = help_uri(finding["control"], report["run"].get("docs"))
    return {
        "id": finding["control"],
        "shortDescription": {"text": finding["title"]},
        "help": _help(finding, report.get("controls", {}).get(finding["control"], {})),
        **({"helpUri": page} if page else {}),
        "defaultConfiguration": {"level": LEVELS[finding["severity"]]},
        "properties": {
            "security-severity": SCORES[finding["severity"]],
            "tags": ["security", finding["subject"], *finding["references"]],
        },
    }


def _help(finding: Mapping[str, Any], about: Mapping[str, str]) -> dict[str, str]:
    """Why the control is there and how it is put right, as text and as Markdown."""
    takes = "" if finding["impact"] == "none" else f", which takes a {finding['impact']}"
    parts = {
        "Why": about.get("why", ""),
        "How it is put right": f"hullproof harden does it{takes}, or the result names what has to be done first.",
        "Where harden may not do it": f"{by_hand}." if (by_hand := about.get("by_hand")) else "",
    }
    said = [(name, text) for name, text in parts.items() if text]
    return {
        "text": "\n".join(f"{name}: {text}" for name, text in said),
        "markdown": "\n\n".join(f"**{name}**: {_escaped(text)}" for name, text in said),
    }


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


def help_uri(control: str, docs: str | None) -> str:
    """The control's entry in the reference: on the website at `docs` (`make docs-site` makes it), else in the page on
    this machine; "" where that is not here."""
    anchor = re.sub(r"[^\w-]", "", control)  # as MkDocs makes it of the heading
    if docs and re.fullmatch(WEBSITE, docs):
        return f"{docs.rstrip('/')}/reference/controls/#{anchor}"
    return f"{PAGE.as_uri()}#{anchor}" if PAGE.is_file() else ""


def _result(host: str, finding: Mapping[str, Any], rule: int) -> dict[str, Any]:
    key = hashlib.sha256(json.dumps([host, finding["control"]]).encode()).hexdigest()
    return {
        "ruleId": finding["control"],
        "ruleIndex": rule,
        "level": LEVELS[finding["severity"]],
        "message": {"text": f"{host}: {finding['state']}: {finding['reason']}{_next(finding)}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(host, safe="")}, "region": {"startLine": 1}},
                "logicalLocations": [{"name": host, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"hullproof/v1": key},
        "properties": {key: finding[key] for key in ("state", "declared", "disk", "live", "impact")},
    }


def _next(finding: Mapping[str, Any]) -> str:
    return f". Next: {finding['next']}" if finding["next"] else ""


def _suppressed(host: Mapping[str, Any], finding: Mapping[str, Any]) -> dict[str, Any]:
    """That a finding is waived, by whom, until when and why."""
    if finding["state"] != State.WAIVED:
        return {}
    why = waivers.why(host, finding)
    return {"suppressions": [{"kind": "external", "status": "accepted", "justification": why}]}


def _utc(time: str) -> str:
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
