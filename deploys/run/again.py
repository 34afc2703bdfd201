"""Changes made in vain: named at the end of the run, kept on the host, and not repeated unless that is accepted.

A change was made in vain where it succeeded, what it is for still does not hold, and the next run would make it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploys.core.change import ACCEPT_RETRY, Activate, Blocked, Change, Context
from deploys.core.control import Finding, State
from deploys.core.text import clean
from facts.core.reading import UnknownReading
from facts.core.record import Record
from facts.core.survey import Survey

BASELINE_KEY = "in_vain"


@dataclass(frozen=True)
class Vain:
    """A change that did not help. `controls`: those that it was for and that did not hold after it."""

    subject: str
    what: str
    controls: tuple[str, ...]
    run: str
    why: str

    def same(self, change: Change) -> bool:
        return (self.subject, self.what) == (change.subject, change.what)


def kept(survey: Survey) -> list[Vain]:
    """What the host's record says of earlier runs. It may hold anything, so nothing in it is trusted to have its
    form."""
    try:
        baseline = survey[Record].baseline
    except UnknownReading:
        return []
    rows = baseline.get(BASELINE_KEY) if isinstance(baseline, dict) else None
    return [_row(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _row(row: Mapping[str, Any]) -> Vain:
    ids = row.get("controls")
    subject, what, run, why = (str(row.get(key, "")) for key in ("subject", "what", "run", "why"))
    controls = tuple(map(str, ids)) if isinstance(ids, list) else ()
    return Vain(subject=subject, what=what, controls=controls, run=run, why=why)


def to_json(vain: Iterable[Vain]) -> dict[str, Any]:
    """The part of the baseline that `kept` reads."""
    return {BASELINE_KEY: [asdict(each) for each in vain]}


def held_back(changes: Iterable[Change], vain: Sequence[Vain], context: Context) -> list[Change]:
    """The plan, in which what was made in vain is Blocked until repeating it is accepted."""
    changes = list(changes)
    if context.accepts(ACCEPT_RETRY):
        return changes
    again = [each for each in vain if not _mended(each, context.findings) and any(map(each.same, changes))]
    return [_held_back(change, again, context) for change in changes]


def outlived(survey: Survey | None, findings: Iterable[Finding]) -> bool:
    """Whether the host's record names something as made in vain although all that it was for holds by now. The record
    is then rewritten: if it fails once more later, that has another cause."""
    by_id = {finding.control.id: finding for finding in findings}
    return survey is not None and any(_mended(each, by_id) for each in kept(survey))


def _mended(vain: Vain, findings: Mapping[str, Finding]) -> bool:
    """Whether all that it was for is known to hold."""
    return bool(vain.controls) and all(id_ in findings and findings[id_].state.holds for id_ in vain.controls)


def _held_back(change: Change, vain: Sequence[Vain], context: Context) -> Change:
    """`vain`: what this very plan would repeat. Another remedy for the same controls is not held back."""
    if isinstance(change, Blocked):
        return change
    if found := next((each for each in vain if each.same(change)), None):
        cause = f"run {clean(found.run)} made this change, and it did not help"
    elif found := next((each for each in vain if _part(change, each, context)), None):
        cause = f"it belongs to {clean(found.what)!r}, which run {clean(found.run)} made and which did not help"
    else:
        return change
    return Blocked(
        change.subject,
        change.what,
        controls=change.controls or found.controls,
        why=f"{cause}: {clean(found.why)}",
        by_hand="find out what undoes it or prevents it",
        accepts=(ACCEPT_RETRY,),
    )


def _part(change: Change, vain: Vain, context: Context) -> bool:
    """Whether it has no other purpose than what was made in vain: half of a remedy is worse than none."""
    purpose = {id_ for id_ in change.controls if context.failing(id_)}
    return bool(purpose) and purpose <= set(vain.controls)


def in_vain(
    context: Context, *, made: Sequence[Change], coming: Iterable[Change], run: str, earlier: Sequence[Vain]
) -> list[Vain]:
    """Of the changes that the next run would make, `coming`: those that this run has just `made`, and those that an
    `earlier` run made and this one held back."""
    found: list[Vain] = []
    for change in coming:
        controls = () if isinstance(change, Blocked) else _failing(change, context)
        if not controls:
            continue
        if _made(change, made):
            why = "; ".join(f"{id_}: {context.findings[id_].verdict.reason}" for id_ in controls)
            found.append(Vain(subject=change.subject, what=change.what, controls=controls, run=run, why=why[:500]))
        else:
            found += [each for each in earlier if each.same(change) and not _mended(each, context.findings)]
    return found


def _failing(change: Change, context: Context) -> tuple[str, ...]:
    """What it is for and does not hold; where it does not name that, all of its subject that does not hold."""
    of_subject = [id_ for id_, finding in context.findings.items() if finding.control.subject == change.subject]
    return tuple(id_ for id_ in change.controls or of_subject if context.failing(id_))


def _made(change: Change, made: Sequence[Change]) -> bool:
    if isinstance(change, Activate):  # all that it would do is what was done for every file of the service
        services = {service.name for each in made if (service := getattr(each, "service", None))}
        return change.service.name in services
    return any((each.subject, each.what) == (change.subject, change.what) for each in made)


@dataclass(frozen=True)
class Made:
    """What a run of this `kind` made on a host: its `changes`, those `in_vain` among them, for which controls (`failed`
    before it), and for which controls the next run has another change (`coming`)."""

    kind: str
    changes: Sequence[Change]
    in_vain: Sequence[Vain]
    failed: frozenset[str]
    coming: frozenset[str]

    def explained(self, finding: Finding) -> Finding:
        """The finding after the run. Where the run made a change for it and it still does not hold, it says so, unless
        another change is the next step."""
        id_ = finding.control.id
        if id_ not in self.failed or finding.state.holds or finding.state is State.UNKNOWN:
            return finding
        what = [each.what for each in self.in_vain if id_ in each.controls]
        if not what and finding.state is State.FAIL and id_ not in self.coming:
            what = [change.what for change in self.changes if id_ in change.controls]
        if not what:
            return finding
        changes = "; ".join(dict.fromkeys(what))[:300]
        still = "fails" if finding.state is State.FAIL else "does not hold"
        reason = f"{self.kind} made a change for it ({changes}), and it still {still}: {finding.verdict.reason}"
        return replace(finding, verdict=replace(finding.verdict, reason=reason))
