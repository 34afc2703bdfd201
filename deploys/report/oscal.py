"""The report as OSCAL assessment results (NIST), for those who collect evidence.

state            finding: target                             risk
pass             satisfied (pass)                            -
fail             not-satisfied (fail)                        -
pending-*        not-satisfied (other)                       -
waived           not-satisfied (other)                       deviation-approved, with the waiver's reason, owner and day
unknown          none: OSCAL has no word for it              -
not-applicable   none                                        -

Whatever was found has an observation, of which the property `state` is our own word. Ids are made of the run, the host
and the control, so that the same report gives the same file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from deploys.core.control import State
from deploys.report import waivers
from deploys.report.report import outcome, part_judged

Report = Mapping[str, Any]
Row = dict[str, Any]

VERSION = "1.2.1"  # what tools read; later corrections of NIST's schema hold for it too
NAMESPACE = uuid5(NAMESPACE_OID, "hullproof")  # of all ids, and of our own properties

SATISFIED = {
    State.PASS: ("satisfied", "pass"),
    State.FAIL: ("not-satisfied", "fail"),
    State.PENDING_RESTART: ("not-satisfied", "other"),
    State.PENDING_REBOOT: ("not-satisfied", "other"),
    State.WAIVED: ("not-satisfied", "other"),
}


def oscal(report: Report) -> str:
    """OSCAL assessment results, JSON: a result for the run, in it an inventory item per host, an observation per
    finding, and a finding for each that was judged. The policy stands for the assessment plan, which OSCAL demands."""
    run = report["run"]
    plan = _id("policy", run["policy"])
    policy = {"uuid": plan, "title": f"Policy {run['policy']}", "description": "What must hold on a host."}
    document = {
        "uuid": _id("document", run["id"]),
        "metadata": {
            "title": f"hullproof {run['kind']}, policy {run['policy']}",
            "last-modified": _utc(run["finished"]),
            "version": run["id"],
            "oscal-version": VERSION,
            "props": [_prop("tool-version", f"{report['tool']['name']} {report['tool']['version']}")],
        },
        "import-ap": {"href": f"#{plan}", "remarks": "There is no assessment plan: the policy says what is demanded."},
        "results": [_result(report)],
        "back-matter": {"resources": [policy]},
    }
    return json.dumps({"assessment-results": document}, ensure_ascii=False) + "\n"


def _result(report: Report) -> Row:
    run, rows = report["run"], list(_findings(report))
    part = part_judged(run)
    return _without_empty(
        {
            "uuid": _id("result", run["id"]),
            "title": f"{run['kind']} {run['id']}",
            "description": f"How the run ended: {outcome(report).words}.{f' {part}' if part else ''}",
            "start": _utc(run["started"]),
            "end": _utc(run["finished"]),
            "props": [_prop("exit-code", str(report["exit_code"]))],
            "local-definitions": _without_empty(
                {"inventory-items": [_item(name, host) for name, host in report["hosts"].items()]}
            ),
            "reviewed-controls": _reviewed(rows),
            "observations": [
                *(_no_answer(run, name, host) for name, host in report["hosts"].items() if host["status"] != "ok"),
                *(_observation(run, host, finding) for host, finding in rows),
            ],
            "risks": [_risk(report, host, finding) for host, finding in rows if finding["state"] == State.WAIVED],
            "findings": [
                _finding(run, host, finding) for host, finding in rows if State(finding["state"]) in SATISFIED
            ],
        }
    )


def _reviewed(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Row:
    """The controls that were demanded of one host at least. OSCAL has no empty selection: without a finding the run was
    about all."""
    asked = sorted({finding["control"] for _, finding in rows if finding["state"] != State.NOT_APPLICABLE})
    if not asked:
        return {"control-selections": [{"description": "Nothing was judged.", "include-all": {}}]}
    return {"control-selections": [{"include-controls": [{"control-id": control} for control in asked]}]}


def _item(name: str, host: Mapping[str, Any]) -> Row:
    known = {"asset-id": name, "os-name": host["os"].get("name"), "os-version": host["os"].get("version")}
    props = [{"name": key, "value": value.strip()} for key, value in known.items() if value and value.strip()]
    return {"uuid": _id("host", name), "description": f"The host {name}", "props": props}


def _no_answer(run: Mapping[str, Any], name: str, host: Mapping[str, Any]) -> Row:
    said = f"{host['status']}: {host['error']}" if host["error"] else host["status"]
    return _observed(_id("no-answer", run["id"], name), said, host["status"], name, run)


def _observation(run: Mapping[str, Any], host: str, finding: Mapping[str, Any]) -> Row:
    said = f"{finding['control']}: {finding['reason'] or finding['title']}"
    row = _observed(_id("observation", run["id"], host, finding["control"]), said, finding["state"], host, run)
    readings = "; ".join(
        f"{side}: {json.dumps(finding[side], ensure_ascii=False)}"
        for side in ("declared", "disk", "live")
        if finding[side] is not None
    )
    evidence = {"relevant-evidence": [{"description": readings}]} if readings else {}
    return {**row, **evidence, **({"remarks": f"Next: {finding['next']}"} if finding["next"] else {})}


def _observed(ident: str, said: str, state: str, host: str, run: Mapping[str, Any]) -> Row:
    return {
        "uuid": ident,
        "description": said,
        "props": [_prop("state", state)],
        "methods": ["TEST"],
        "subjects": [{"subject-uuid": _id("host", host), "type": "inventory-item"}],
        "collected": _utc(run["finished"]),
    }


def _finding(run: Mapping[str, Any], host: str, finding: Mapping[str, Any]) -> Row:
    state, reason = SATISFIED[State(finding["state"])]
    key = (run["id"], host, finding["control"])
    risk = {"related-risks": [{"risk-uuid": _id("risk", *key)}]} if finding["state"] == State.WAIVED else {}
    return {
        "uuid": _id("finding", *key),
        "title": finding["title"],
        "description": f"{host}: {finding['reason'] or finding['title']}",
        "props": [_prop("severity", finding["severity"])],
        "target": {
            "type": "objective-id",
            "target-id": finding["control"],
            "status": {"state": state, "reason": reason, "remarks": finding["state"]},
        },
        "related-observations": [{"observation-uuid": _id("observation", *key)}],
        **risk,
    }


def _risk(report: Report, host: str, finding: Mapping[str, Any]) -> Row:
    """A waiver is a deviation that somebody has approved."""
    about = report.get("controls", {}).get(finding["control"], {})
    return {
        "uuid": _id("risk", report["run"]["id"], host, finding["control"]),
        "title": finding["title"],
        "description": f"{host}: waived by {waivers.why(report['hosts'][host], finding)}",
        "statement": about.get("why") or finding["title"],
        "status": "deviation-approved",
    }


def _findings(report: Report) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for host, part in report["hosts"].items():
        for finding in part["findings"]:
            yield host, finding


def _prop(name: str, value: str) -> Row:
    return {"name": name, "ns": f"urn:uuid:{NAMESPACE}", "value": value}


def _id(*parts: str) -> str:
    return str(uuid5(NAMESPACE, json.dumps(parts)))


def _without_empty(row: Row) -> Row:
    """OSCAL wants a list to have something in it, or not to be there."""
    return {key: value for key, value in row.items() if value not in ([], {})}


def _utc(time: str) -> str:
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
