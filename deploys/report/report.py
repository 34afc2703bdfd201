"""The report: one JSON object per run (docs: report.json), from which every other form is made.

Whatever comes from a host is untrusted: `clean` goes over all of it before it enters the object, so that no form,
and no terminal, ever sees a control character, half a character, or a text without end. Nothing is taken from the
environment.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from deploys.core.change import Change
from deploys.core.control import Finding, State, some
from deploys.core.text import clean, clean_text
from deploys.report import waivers

SCHEMA = 1

Kind = Literal["drift", "harden", "provision", "rollback"]
Status = Literal["ok", "unreachable", "error"]
STATUSES: tuple[Status, ...] = ("ok", "unreachable", "error")


@dataclass(frozen=True)
class Run:
    """`started` and `finished` are ISO 8601 with a zone. `dry`: it was to show what it would do, and no more.
    `problem`: what is wrong with the run itself, an option say, and so with every host's end; "" where nothing is.
    `only`: which part of the controls was to be judged: the words that name it (`asked`), how many `controls` these
    are and `of` how many; None: all of them."""

    id: str
    kind: Kind
    started: str
    finished: str
    policy: str
    dry: bool = False
    problem: str = ""
    only: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class HostReport:
    """One host's part. `os` has id, version and name, `kernel` release and build; both are empty where unknown."""

    name: str
    status: Status
    error: str | None = None
    os: Mapping[str, str] = field(default_factory=dict)
    kernel: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    changes: Sequence[Mapping[str, Any]] = ()
    waivers: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        findings = [finding.to_json() for finding in self.findings]
        return {
            "status": self.status,
            "error": self.error,
            "os": dict(self.os),
            "kernel": dict(self.kernel),
            "findings": findings,
            "changes": [dict(change) for change in self.changes],
            "waivers": [dict(waiver) for waiver in self.waivers],
            "summary": _count(finding["state"] for finding in findings),
        }


def change_json(change: Change, journal: str) -> dict[str, Any]:
    """A change that was made, as the report keeps it; `journal` is the folder on the host that can undo it."""
    path = getattr(change, "path", None)
    return {"subject": change.subject, "what": change.what, **({"path": path} if path else {}), "journal": journal}


def build(run: Run, hosts: Iterable[HostReport]) -> dict[str, Any]:
    """The whole object. Every state is counted, also those that did not occur."""
    parts = {clean_text(host.name): _clean_host(host) for host in hosts}
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "hullproof", "version": version()},
        "run": clean(dataclasses.asdict(run)),
        "hosts": parts,
        "summary": {
            "hosts": {status: sum(part["status"] == status for part in parts.values()) for status in STATUSES},
            "findings": _count(finding["state"] for part in parts.values() for finding in part["findings"]),
            "waivers": waivers.summary(parts.values()),
        },
    }
    return {**report, "exit_code": outcome(report).code}


def _clean_host(host: HostReport) -> dict[str, Any]:
    """Each finding and each change on its own, so that the limits bound a host's words and not our rows."""
    part = host.to_json()
    rows = {key: [clean(row) for row in part.pop(key)] for key in ("findings", "changes", "waivers")}
    cleaned: dict[str, Any] = {**clean(part), **rows}
    return cleaned


def _count(states: Iterable[str]) -> dict[str, int]:
    counts = Counter(states)
    return {state.value: counts[state.value] for state in State}


EXIT_CODES = {
    0: "All that the policy demands was judged, and holds (rollback: all was rolled back). For harden and provision, "
    "what waits for a restart or reboot that the run was not to make does not count against it.",
    1: "A host could not be reached or something went wrong on it, the run was cut off, nothing was demanded or "
    "nothing could be judged, or an option or a policy is wrong.",
    2: "Something does not hold.",
    3: "Nothing is known to fail, but something that the policy demands could not be judged.",
}


def part_judged(run: Mapping[str, Any]) -> str:
    """That a run was to judge a part of the controls, as a sentence; "" where it was all of them."""
    only = run.get("only")
    if not only:
        return ""
    return f"Judged only {only['controls']} of {only['of']} controls (only={','.join(only['asked'])})."


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `code` is the process's exit code, `words` say why it is that one."""

    code: int
    words: str


def worst(codes: Iterable[int]) -> int:
    """Of exit codes the one that says most."""
    return min(codes, key=(1, 2, 3, 0).index)


def outcome(report: Mapping[str, Any]) -> Outcome:
    """The one of EXIT_CODES that the run ends with. What is pending counts in a drift run alone: any other was not to
    restart it. Where several runs of different kinds were merged, each counts by its own kind."""
    run, hosts = report["run"], report["hosts"]
    parts = run.get("parts") or ()
    kinds = dict.fromkeys(part["kind"] for part in parts)
    if len(kinds) < 2 or run["problem"]:
        return _of_kind(report)
    ends = {}
    for kind in kinds:
        names = {name for part in parts if part["kind"] == kind for name in part["hosts"]}
        own = {name: host for name, host in hosts.items() if name in names}
        counts = {state.value: sum(host["summary"][state] for host in own.values()) for state in State}
        ends[kind] = _of_kind(
            {"run": {**run, "kind": kind}, "hosts": own, "summary": {"findings": counts}},
        )
    code = worst(end.code for end in ends.values())
    return Outcome(code, "; ".join(f"{kind}: {end.words}" for kind, end in ends.items() if end.code == code))


def _of_kind(report: Mapping[str, Any]) -> Outcome:
    run, hosts = report["run"], report["hosts"]
    if why := _not_ended(run, hosts):
        return Outcome(1, why)
    if run["kind"] == "rollback":
        return Outcome(0, _rolled_back(run, hosts))
    counts = report["summary"]["findings"]
    pending = counts[State.PENDING_RESTART] + counts[State.PENDING_REBOOT]
    everything, rest = (
        ("what was judged", "what else was judged") if run.get("only") else ("everything", "everything else")
    )
    if counts[State.FAIL] or (pending and run["kind"] == "drift"):
        return Outcome(2, "something does not hold")
    if counts[State.UNKNOWN]:
        return Outcome(3, f"nothing is known to fail, but {_findings(counts[State.UNKNOWN])} could not be judged")
    if pending:
        return Outcome(0, f"{rest} holds; {_findings(pending)} will hold after a restart or reboot")
    return Outcome(0, f"{everything} holds")


def _findings(count: int) -> str:
    return f"{count} finding{'' if count == 1 else 's'}"


def _not_ended(run: Mapping[str, Any], hosts: Mapping[str, Any]) -> str:
    """Why nothing can be said of all hosts; "" where all were judged."""
    if run["problem"]:
        return str(run["problem"])
    if not hosts:
        return "no host in the inventory, or none in --limit"
    ends = (f"{words} {some(names, 3)}" for status, words in ENDS.items() if (names := _with(hosts, status)))
    if ended := "; ".join(ends):
        return ended
    if run["kind"] == "rollback":
        return ""
    counts = {name: host["summary"] for name, host in hosts.items()}
    if free := [name for name, count in counts.items() if demanded(count) == 0]:
        return f"the policy demands nothing on {some(free, 3)}"
    if blind := [name for name, count in counts.items() if demanded(count) == count[State.UNKNOWN]]:
        return f"nothing could be judged on {some(blind, 3)}"
    return ""


# How hosts end that were not judged to the end.
ENDS: dict[str, str] = {"unreachable": "no answer from", "error": "something went wrong on"}


def _with(hosts: Mapping[str, Any], status: str) -> list[str]:
    return [name for name, host in hosts.items() if host["status"] == status]


def demanded(counts: Mapping[str, int]) -> int:
    """How many controls the policy asks for, of findings counted by state."""
    return sum(count for state, count in counts.items() if state != State.NOT_APPLICABLE)


def _rolled_back(run: Mapping[str, Any], hosts: Mapping[str, Any]) -> str:
    if run["dry"]:
        return "nothing was rolled back, since this run only showed what it would do"
    return "rolled back" if any(host["changes"] for host in hosts.values()) else "nothing was rolled back"


@cache
def version() -> str:
    """What pyproject.toml says in a clone, and the package's metadata where it is installed."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if not project.exists():
        return metadata.version("hullproof")
    return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
