"""The page of all controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploys.core.change import Subject
from deploys.core.control import Control, Impact
from deploys.core.policy import Policy, Rules
from docs.generate.markdown import GENERATED, sentence, table, text, value
from hullproof.knowledge.demands import demanded_by
from hullproof.knowledge.policies import declared_for, key_of

HEAD = f"""\
# Controls

What hullproof can demand of a host. Each control compares what is declared, what is on disk, and what is live. The
policy decides which of them apply: an entry names the key that asks for it, with what the policies `baseline` and
`strict` say there.

The references are ids of the CIS Benchmarks (`CIS-…`), NIST publications, the DISA STIGs and the Kernel Self
Protection Project (`KSPP`); their text is theirs, the reasons here are ours.

{GENERATED}
"""

Proofs = Mapping[str, Sequence[str]]


def controls_page(subjects: Sequence[Subject], policies: Sequence[Policy], proofs: Proofs) -> str:
    """Markdown: a section per subject, an entry per control, and an index by reference."""
    sections = (line for subject in subjects for line in _subject(subject, subjects, policies, proofs))
    return "\n".join([HEAD, *sections, *_index(subjects)])


def _subject(
    subject: Subject, subjects: Sequence[Subject], policies: Sequence[Policy], proofs: Proofs
) -> Iterator[str]:
    yield f"## {subject.name}\n"
    for control in subject.controls:
        yield from _control(control)
        yield f"- Policy: {_policy(control, subjects, policies)}"
        if attempts := proofs.get(control.id):
            yield f"- Proved by attempts: {'; '.join(map(text, attempts))}."
        if control.by_hand:
            yield f"- Where harden may not do it: {text(control.by_hand)}."
        yield ""


def _control(control: Control) -> Iterator[str]:
    marks = [f"**{control.severity.value}**", *(f"`{reference}`" for reference in control.references)]
    if control.impact is not Impact.NONE:
        marks.insert(1, f"mending it takes a {control.impact.value}")
    if control.lockout:
        marks.append("could cut the connection: the host reverts it by itself unless a fresh connection confirms it")
    yield f"### `{control.id}`\n"
    yield f"{text(control.title)}\n"
    yield f"{' · '.join(marks)}\n"
    yield f"{text(sentence(control.why))}\n"


def _policy(control: Control, subjects: Sequence[Subject], policies: Sequence[Policy]) -> str:
    """The keys that ask for the control, each with what the policies say there."""
    names = {subject.rules: subject.name for subject in subjects}
    keys = demanded_by(control, subjects)
    said = (
        f"`{names[rules]}.{key_of(rules, field)}` {_said(control, rules, field, policies)}" for rules, field in keys
    )
    return "; ".join(said) or "judged whatever the policy says"


def _said(control: Control, rules: type[Rules], field: str, policies: Sequence[Policy]) -> str:
    found = {policy.name: declared_for(control, policy, rules, field) for policy in policies}
    return f"({', '.join(f'{name}: {shown(value_)}' for name, value_ in found.items())})"


def shown(found: Any) -> str:
    return "not demanded" if found is None or found == {} else value(found)


def _index(subjects: Sequence[Subject]) -> Iterator[str]:
    controls: dict[str, list[str]] = {}
    for control in (control for subject in subjects for control in subject.controls):
        for reference in control.references:
            controls.setdefault(reference, []).append(f"`{control.id}`")
    if controls:
        yield "## By reference\n"
        yield from table(
            ("Reference", "Controls"), ((reference, ", ".join(controls[reference])) for reference in sorted(controls))
        )
