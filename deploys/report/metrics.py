"""A report as Prometheus text, for node_exporter's textfile collector.

The number of series is bounded, for a fleet of any size. What grows with the fleet is `hullproof_host_up` and
`hullproof_host_survey_timestamp_seconds`, one of each per host, and the counts of hosts that have something to count: a
host without `hullproof_host_findings` has none. Of single findings only those that do not hold are series of their own,
the worst FINDINGS_MOST of them; `hullproof_control_hosts` counts all of them by control.

Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from deploys.core.control import Severity, State

Report = Mapping[str, Any]
Labels = Mapping[str, str]
Sample = tuple[Labels, float]

FINDINGS_MOST = 5_000  # series of single findings, however many hosts fail how many controls
SEVERITIES = [severity.value for severity in Severity]  # the worst first
WRONG = {state.value for state in State if not state.holds}
FINDING_LABELS = ("control", "severity", "state")

HELP = {
    "hullproof_info": "The version of hullproof that judged.",
    "hullproof_run_timestamp_seconds": "When the run ended.",
    "hullproof_run_duration_seconds": "How long the run took.",
    "hullproof_run_exit_code": "0 all holds, 2 something does not, 3 something is unknown, 1 the run went wrong.",
    "hullproof_watch_attempt_timestamp_seconds": "When the watch last tried, whether a report came of it or not.",
    "hullproof_watch_exit_code": "The exit code of that attempt.",
    "hullproof_hosts": "Hosts by how they ended in the run.",
    "hullproof_findings": "Findings on all hosts, by state and severity.",
    "hullproof_findings_left_out": "Findings that do not hold and have no hullproof_finding, for there are too many.",
    "hullproof_control_hosts": "Hosts on which the control is in that state; absent where there are none.",
    "hullproof_finding": "A finding that does not hold, or is unknown; always 1.",
    "hullproof_host_up": "Whether the host answered and was judged.",
    "hullproof_host_survey_timestamp_seconds": "When the host was last judged.",
    "hullproof_host_findings": "What does not hold, or is unknown, on the host; absent where there is nothing.",
    "hullproof_host_drifted": "Findings that held after the last run on the host and no longer do; absent for none.",
    "hullproof_waiver_end_timestamp_seconds": "When the waiver's last day ends, in UTC; for waivers that are needed.",
}


@dataclass(frozen=True)
class Watch:
    """What a watch knows beyond the newest report. `name` labels each series, so that several may lie in one folder.

    attempted: when it last tried, in Unix seconds; exit_code: how that ended, though no report came of it; surveyed:
    when each host was last judged, in Unix seconds, hosts included that did not answer since.
    """

    name: str
    attempted: float
    exit_code: int
    surveyed: Mapping[str, float] = field(default_factory=dict)


def render(report: Report | None, watch: Watch | None = None) -> str:
    """The report as text that the textfile collector reads. None: there is none yet, and the watch speaks alone."""
    also = {"watch": watch.name} if watch else {}
    samples: dict[str, Iterable[Sample]] = _of_watch(watch) if watch else {}
    if report is not None:
        samples |= _of_run(report) | _of_findings(report)
        samples |= _of_hosts(report, watch.surveyed if watch else surveyed(report))
        samples["hullproof_waiver_end_timestamp_seconds"] = _waivers(report)
    return "".join(line for name in HELP if name in samples for line in _family(name, samples[name], also))


def surveyed(report: Report) -> dict[str, float]:
    """When each host was judged that this run has judged, in Unix seconds."""
    finished = _seconds(report["run"]["finished"])
    return {name: finished for name, part in report["hosts"].items() if part["status"] == "ok"}


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _of_run(report: Report) -> dict[str, Iterable[Sample]]:
    run = report["run"]
    kind = {"kind": run["kind"]}
    finished = _seconds(run["finished"])
    return {
        "hullproof_info": [({"version": report["tool"]["version"]}, 1)],
        "hullproof_run_timestamp_seconds": [({**kind, "policy": run["policy"]}, finished)],
        "hullproof_run_duration_seconds": [(kind, finished - _seconds(run["started"]))],
        "hullproof_run_exit_code": [(kind, report["exit_code"])],
        "hullproof_hosts": [({"status": status}, count) for status, count in report["summary"]["hosts"].items()],
    }


def _of_watch(watch: Watch) -> dict[str, Iterable[Sample]]:
    return {
        "hullproof_watch_attempt_timestamp_seconds": [({}, watch.attempted)],
        "hullproof_watch_exit_code": [({}, watch.exit_code)],
    }


def _of_findings(report: Report) -> dict[str, Iterable[Sample]]:
    wrong = [
        (host, finding)
        for host, part in report["hosts"].items()
        for finding in part["findings"]
        if finding["state"] in WRONG
    ]
    wrong.sort(key=lambda row: (SEVERITIES.index(row[1]["severity"]), row[1]["control"], row[0]))
    by_control = Counter(tuple(finding[key] for key in FINDING_LABELS) for _, finding in wrong)
    shown = wrong[:FINDINGS_MOST]
    return {
        "hullproof_findings": _totals(report),
        "hullproof_findings_left_out": [({}, len(wrong) - len(shown))],
        "hullproof_control_hosts": [
            (dict(zip(FINDING_LABELS, key, strict=True)), count) for key, count in by_control.items()
        ],
        "hullproof_finding": [
            ({"host": host, **{key: finding[key] for key in FINDING_LABELS}}, 1) for host, finding in shown
        ],
    }


def _totals(report: Report) -> Iterator[Sample]:
    """Each state and severity, those that did not occur too, so that a rule can tell 0 from a report without them."""
    counts = Counter(
        (finding["state"], finding["severity"]) for part in report["hosts"].values() for finding in part["findings"]
    )
    for state in State:
        for severity in SEVERITIES:
            yield {"state": state.value, "severity": severity}, counts[state.value, severity]


def _of_hosts(report: Report, surveyed: Mapping[str, float]) -> dict[str, Iterable[Sample]]:
    hosts = report["hosts"]
    drifted = {name: sum(bool(finding["drift"]) for finding in part["findings"]) for name, part in hosts.items()}
    return {
        "hullproof_host_up": [({"host": name}, part["status"] == "ok") for name, part in hosts.items()],
        "hullproof_host_survey_timestamp_seconds": [
            ({"host": name}, surveyed[name]) for name in hosts if name in surveyed
        ],
        "hullproof_host_findings": [
            ({"host": name, "state": state}, count)
            for name, part in hosts.items()
            for state, count in part["summary"].items()
            if count and state in WRONG
        ],
        "hullproof_host_drifted": [({"host": name}, count) for name, count in drifted.items() if count],
    }


def _waivers(report: Report) -> Iterator[Sample]:
    """Of waivers that no host needs it does not matter when they end."""
    ends: dict[tuple[str, str, str], float] = {}
    for row in (row for part in report["hosts"].values() for row in part["waivers"]):
        if row["needed"] is not False:
            last = datetime.combine(datetime.fromisoformat(row["until"]), time(), UTC) + timedelta(days=1)
            ends[row["control"], row["owner"], row["until"]] = last.timestamp()
    for (control, owner, until), end in ends.items():
        yield {"control": control, "owner": owner, "until": until}, end


def _family(name: str, samples: Iterable[Sample], also: Labels) -> Iterator[str]:
    yield f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        yield f"{name}{_labels({**also, **labels})} {value:.0f}\n"


def _labels(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
