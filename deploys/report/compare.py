"""Two reports: what got worse, what was mended, what still does not hold, and what else moved, with its cause.

Nothing that is missing in the newer report counts as mended: a host that was not judged, or a control that was not, is
said, and is worse than one that held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from deploys.core.control import State

Report = Mapping[str, Any]
Finding = Mapping[str, Any]

ABSENT = "not judged"
# How far a state, or a host's status, is from holding.
FAR: dict[str, int] = {state.value: 0 for state in State} | {
    "ok": 0,
    "unreachable": 3,
    "error": 3,
    ABSENT: 1,
    State.UNKNOWN: 1,
    State.PENDING_RESTART: 2,
    State.PENDING_REBOOT: 2,
    State.FAIL: 3,
}


class Move(StrEnum):
    """What became of a finding."""

    WORSE = "worse"
    MENDED = "mended"
    STILL = "still does not hold"
    MOVED = "moved"


@dataclass(frozen=True)
class Difference:
    """A finding (or, with `control` "", a host) that is not as it was, or does not hold still. `before` and `after` are
    states. `cause` is "" where nothing is known of it."""

    host: str
    control: str
    before: str
    after: str
    reason: str
    cause: str = ""

    @property
    def move(self) -> Move:
        if FAR[self.after] > FAR[self.before]:
            return Move.WORSE
        if self.before == self.after:
            return Move.STILL
        mended = self.after in (State.PASS, "ok") and FAR[self.before] > 0 and self.before != ABSENT
        return Move.MENDED if mended else Move.MOVED


def compare(old: Report, new: Report, renamed: Mapping[str, str]) -> list[Difference]:
    """What differs in `new`, and what still does not hold. `renamed`: controls' old ids and what they are called now.
    What a run was not to judge (`only`) is not compared."""
    return [*_hosts(old, new), *_findings(old, new, renamed)]


def notes(old: Report, new: Report) -> Iterator[str]:
    """What a reader should know of the two before the differences."""
    if old["run"]["policy"] != new["run"]["policy"]:
        yield f"The policies are not the same: {old['run']['policy']} before, {new['run']['policy']} now."
    if old["tool"]["version"] != new["tool"]["version"]:
        yield f"The versions are not the same: {old['tool']['version']} before, {new['tool']['version']} now."
    if old["run"].get("only") or new["run"].get("only"):
        yield "A run judged a part of the controls: what only the other one judged is not compared."
    ends = [datetime.fromisoformat(report["run"]["finished"]) for report in (old, new)]
    if ends[0] > ends[1]:
        yield "The first report is the newer of the two: were they meant the other way round?"


def _hosts(old: Report, new: Report) -> Iterator[Difference]:
    """Hosts that were judged and are not any more, or could not be and are."""
    for name, host in old["hosts"].items():
        status = new["hosts"][name]["status"] if name in new["hosts"] else ABSENT
        if status != host["status"] or status != "ok":
            error = new["hosts"].get(name, {}).get("error")
            yield Difference(name, "", host["status"], status, error or "")
    for name, host in new["hosts"].items():
        if name not in old["hosts"]:
            yield Difference(name, "", ABSENT, host["status"], host["error"] or "")


def _findings(old: Report, new: Report, renamed: Mapping[str, str]) -> Iterator[Difference]:
    part = old["run"].get("only") or new["run"].get("only")
    for name, host in new["hosts"].items():
        before = _by_control(old["hosts"].get(name, {"findings": []}), renamed)
        after = _by_control(host, {})
        controls = [*after, *(control for control in before if control not in after and host["status"] == "ok")]
        for control in controls:
            if part and not (control in before and control in after):
                continue
            found = _difference(name, control, before.get(control), after.get(control))
            if not (FAR[found.after] == 0 and found.before in (found.after, ABSENT)):
                yield found


def _by_control(host: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Finding]:
    return {renamed.get(finding["control"], finding["control"]): finding for finding in host["findings"]}


def _difference(host: str, control: str, before: Finding | None, after: Finding | None) -> Difference:
    states = [finding["state"] if finding else ABSENT for finding in (before, after)]
    reason = after["reason"] if after else "the newer report says nothing of it"
    return Difference(host, control, states[0], states[1], reason, _cause(before, after))


def _cause(before: Finding | None, after: Finding | None) -> str:
    """What the run itself has found, or that it is demanded otherwise."""
    if before is None or after is None or before["state"] == after["state"]:
        return ""
    if drift := after["drift"]:
        return str(drift.get("cause") or "")
    if before["declared"] is not None and after["declared"] is not None and before["declared"] != after["declared"]:
        return f"the policy demands {after['declared']} now, and {before['declared']} before"
    return ""


def got_worse(differences: Sequence[Difference]) -> bool:
    return any(each.move is Move.WORSE for each in differences)
