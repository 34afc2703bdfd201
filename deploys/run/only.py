"""`--data only=CONTROL|SUBJECT|SEVERITY,…`: a run that judges a part of the controls, and changes for these alone.

All controls are judged all the same, since a plan for one asks how others stand. A finding outside of the part that
does not hold counts as waived for this run: nothing is planned for it, and what it leaves weak is still known.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from deploys.core.change import Blocked, Change, Subject
from deploys.core.control import Finding, Severity, State, some

NOT_ASKED = "this run was to judge other controls only (only=)"
BY_HAND = "add them to only=, or leave only= out"


class NothingSoNamed(Exception):
    """A word of only= names no control; the text says which, and what there is."""


@dataclass(frozen=True)
class Only:
    """`asked` are the words, `controls` the ids of those that some word names, `of` how many controls there are."""

    asked: tuple[str, ...]
    controls: frozenset[str]
    of: int


def part(words: Sequence[str], subjects: Iterable[Subject]) -> Only | None:
    """The part that `words` name: a control by its id, a subject, or a severity; None without words: all of it. Raises
    NothingSoNamed."""
    if not words:
        return None
    controls = [control for subject in subjects for control in subject.controls]
    named: dict[str, set[str]] = {}
    for control in controls:
        for name in (control.id, control.subject, control.severity.value):
            named.setdefault(name, set()).add(control.id)
    for word in words:
        if word not in named:
            close = difflib.get_close_matches(word, named, n=1, cutoff=0.5)
            raise NothingSoNamed(
                f"only={word}: no control or subject has this name, and severities are {', '.join(Severity)}"
                + (f"; did you mean {close[0]}?" if close else "")
            )
    return Only(tuple(words), frozenset().union(*(named[word] for word in words)), len(controls))


def set_aside(only: Only | None, findings: Iterable[Finding]) -> list[Finding]:
    """The findings, of which those outside of the part are waived where they are known not to hold."""
    return [finding if not _outside(only, finding) else _waived(finding) for finding in findings]


def _outside(only: Only | None, finding: Finding) -> bool:
    return only is not None and finding.control.id not in only.controls


def _waived(finding: Finding) -> Finding:
    if finding.state.holds or finding.state is State.UNKNOWN:
        return finding
    return replace(finding, verdict=replace(finding.verdict, state=State.WAIVED, reason=NOT_ASKED))


def asked_for(only: Only | None, findings: Iterable[Finding]) -> list[Finding]:
    """The findings of the part."""
    return [finding for finding in findings if not _outside(only, finding)]


def within(only: Only | None, changes: Iterable[Change]) -> list[Change]:
    """The plan, in which a change that would mend something outside of the part too is blocked."""
    return [change if only is None else _within(only, change) for change in changes]


def _within(only: Only, change: Change) -> Change:
    others = [control for control in change.controls if control not in only.controls]
    if not others or isinstance(change, Blocked):
        return change
    why = f"it cannot be done for a part of its controls: it is for {some(others)} too, which only= leaves out"
    return Blocked(change.subject, change.what, why=why, by_hand=BY_HAND, controls=change.controls)
