"""What a run changed in vain: said at its end, kept on the host, and not done a second time without a word.

A change was in vain where the next run would make it again: all went well, and what it is for does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deploys.core.change import RETRY, Activate, Blocked, Change, Context
from deploys.core.control import Finding, State
from deploys.core.text import clean
from facts.core.reading import UnknownReading
from facts.core.record import Record
from facts.core.survey import Survey

KEY = "in_vain"  # of the baseline


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
    """What the host's record says of earlier runs; whoever wrote there, nothing of it is trusted to have its form."""
    try:
        baseline = survey[Record].baseline
    except UnknownReading:
        return []
    rows = baseline.get(KEY) if isinstance(baseline, dict) else None
    return [_row(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _row(row: Mapping[str, Any]) -> Vain:
    ids = row.get("controls")
    subject, what, run, why = (str(row.get(key, "")) for key in ("subject", "what", "run", "why"))
    return Vain(subject, what, tuple(map(str, ids)) if isinstance(ids, list) else (), run, why)


def to_json(vain: Iterable[Vain]) -> dict[str, Any]:
    """The part of the baseline that `kept` reads."""
    return {KEY: [asdict(each) for each in vain]}


def held_back(changes: Iterable[Change], vain: Sequence[Vain], context: Context) -> list[Change]:
    """The plan, with what was done in vain as Blocked, until somebody accepts that it is done once more."""
    changes = list(changes)
    if context.accepts(RETRY):
        return changes
    again = [each for each in vain if not _mended(each, context.findings) and any(map(each.same, changes))]
    return [_held_back(change, again, context) for change in changes]


def outlived(survey: Survey | None, findings: Iterable[Finding]) -> bool:
    """Whether the host's record has something as in vain of which all holds by now: what comes later is another
    matter, so the record has to be written anew."""
    by_id = {finding.control.id: finding for finding in findings}
    return survey is not None and any(_mended(each, by_id) for each in kept(survey))


def _mended(vain: Vain, findings: Mapping[str, Finding]) -> bool:
    """Whether all that it was for is known to hold."""
    return bool(vain.controls) and all(id_ in findings and findings[id_].state.holds for id_ in vain.controls)


def _held_back(change: Change, vain: Sequence[Vain], context: Context) -> Change:
    """`vain`: what this very plan would do again. Another remedy for the same controls is none of it."""
    if isinstance(change, Blocked):
        return change
    if found := next((each for each in vain if each.same(change)), None):
        did = f"run {clean(found.run)} did it, and it did not help"
    elif found := next((each for each in vain if _part(change, each, context)), None):
        did = f"it goes with {clean(found.what)!r}, which run {clean(found.run)} did, and which did not help"
    else:
        return change
    why = (
        f"{did}: {clean(found.why)}. See what undoes it or stands in its way; to have it done once more, accept "
        f"{RETRY} (`--data accept={RETRY}`)"
    )
    return Blocked(change.subject, change.what, controls=change.controls or found.controls, why=why)


def _part(change: Change, vain: Vain, context: Context) -> bool:
    """Whether it has no other purpose than what was in vain: half of a remedy is worse than none."""
    wanted = {id_ for id_ in change.controls if context.failing(id_)}
    return bool(wanted) and wanted <= set(vain.controls)


def in_vain(
    made: Sequence[Change], wanted: Iterable[Change], context: Context, run: str, earlier: Sequence[Vain]
) -> list[Vain]:
    """Of what would be done next, `wanted`, what this run has `made` just now, or an earlier one did and this one held
    back."""
    found: list[Vain] = []
    for change in wanted:
        controls = () if isinstance(change, Blocked) else _failing(change, context)
        if not controls:
            continue
        if _made(change, made):
            why = "; ".join(f"{id_}: {context.findings[id_].verdict.reason}" for id_ in controls)
            found.append(Vain(change.subject, change.what, controls, run, why[:500]))
        else:
            found += [each for each in earlier if each.same(change) and not _mended(each, context.findings)]
    return found


def _failing(change: Change, context: Context) -> tuple[str, ...]:
    """What it is for and does not hold; where it does not say what it is for, all of its subject that does not."""
    of_subject = [id_ for id_, finding in context.findings.items() if finding.control.subject == change.subject]
    return tuple(id_ for id_ in change.controls or of_subject if context.failing(id_))


def _made(change: Change, made: Sequence[Change]) -> bool:
    if isinstance(change, Activate):  # all that it would do is what was done for whatever the service took up
        services = {service.name for each in made if (service := getattr(each, "service", None))}
        return change.service.name in services
    return any((each.subject, each.what) == (change.subject, change.what) for each in made)


def told(
    findings: Iterable[Finding], made: Sequence[Change], before: Iterable[str], wanted: Sequence[Change],
    vain: Sequence[Vain], kind: str,
) -> list[Finding]:  # fmt: skip
    """The findings after the run; those that it changed something for and that fail all the same say so. Where another
    change is planned for it, that is the next step and not the same once more."""
    before = set(before)
    coming = {id_ for change in wanted if not isinstance(change, Blocked) for id_ in change.controls}
    return [_told(finding, made, before, coming, vain, kind) for finding in findings]


def _told(
    finding: Finding, made: Sequence[Change], before: set[str], coming: set[str], vain: Sequence[Vain], kind: str
) -> Finding:
    id_ = finding.control.id
    if id_ not in before or finding.state.holds or finding.state is State.UNKNOWN:
        return finding
    what = [each.what for each in vain if id_ in each.controls]
    if not what and finding.state is State.FAIL and id_ not in coming:
        what = [change.what for change in made if id_ in change.controls]
    if not what:
        return finding
    made_so = "; ".join(dict.fromkeys(what))[:300]
    still = "fails" if finding.state is State.FAIL else "does not hold"
    reason = f"{kind} made a change for it ({made_so}), and it still {still}: {finding.verdict.reason}"
    return replace(finding, verdict=replace(finding.verdict, reason=reason))
