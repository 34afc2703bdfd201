"""Prints the page of all controls: python -m docs.controls_page > docs/controls.md"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploys.core.change import Subject
from deploys.core.control import Control, Impact
from deploys.subjects import SUBJECTS

HEAD = """\
# Controls

What hullproof can demand of a host. A policy says which of these apply, and with what values
(`inventories/policies/`). Each compares what is declared, what is on disk, and what is live.

The references are ids of the CIS Benchmarks (`CIS-…`), NIST publications, the DISA STIGs and the Kernel Self
Protection Project (`KSPP`); their text is theirs, the reasons here are ours.

This page is generated: `make docs`.
"""


def controls_page(subjects: Sequence[Subject]) -> str:
    """Markdown: a section per subject, an entry per control, and an index by reference."""
    return "\n".join([HEAD, *(line for subject in subjects for line in _subject(subject)), *_index(subjects)])


def _subject(subject: Subject) -> Iterator[str]:
    yield f"## {subject.name}\n"
    for control in subject.controls:
        yield from _control(control)


def _control(control: Control) -> Iterator[str]:
    marks = [f"**{control.severity.value}**", *(f"`{reference}`" for reference in control.references)]
    if control.impact is not Impact.NONE:
        marks.insert(1, f"putting it right takes a {control.impact.value}")
    if control.lockout:
        marks.append("could cut us off: reverted by the host itself unless a fresh connection succeeds")
    yield f"### `{control.id}`\n"
    yield f"{_text(control.title)}\n"
    yield f"{' · '.join(marks)}\n"
    yield f"{_text(control.why)}\n"
    if control.by_hand:
        yield f"Where harden may not do it: {_text(control.by_hand)}.\n"


def _index(subjects: Sequence[Subject]) -> Iterator[str]:
    controls: dict[str, list[str]] = {}
    for control in (control for subject in subjects for control in subject.controls):
        for reference in control.references:
            controls.setdefault(reference, []).append(f"`{control.id}`")
    if controls:
        yield "## By reference\n"
        yield "| Reference | Controls |"
        yield "|---|---|"
        yield from (f"| {reference} | {', '.join(controls[reference])} |" for reference in sorted(controls))
        yield ""


def _text(text: str) -> str:
    """One paragraph; nothing in it is markup except backquotes, which rows use for names."""
    text = " ".join(text.split())
    return "".join(
        f"\\{letter}" if letter in "\\*_[]<>|#" and not quoted else letter for letter, quoted in _quoted(text)
    )


def _quoted(text: str) -> Iterator[tuple[str, bool]]:
    inside = False
    for letter in text:
        inside ^= letter == "`"
        yield letter, inside


if __name__ == "__main__":
    print(controls_page(SUBJECTS), end="")
