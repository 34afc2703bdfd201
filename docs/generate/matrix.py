"""The page of the break matrix: how each control is broken on a real host, who mends it, and what proves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deploys.core.change import Subject
from docs.generate.markdown import GENERATED, sentence, table, text
from hullproof.knowledge.proofs import why_unproved
from tests.lab.breaks import BATCHES, ELSEWHERE

HEAD = f"""\
# Break matrix

For each control, what it guards is broken on a hardened host: a virtual machine with Debian 13
(`tests/lab/test_breaks.py`, a part of `make test`). Drift has to name the control with the state that stands here, the
next harden (or who did it, where that is not harden's to mend) has to mend it, and the drift after that to be green.
What takes boots or another kind of host is broken in the drill that is named. The last column is what
`pytest tests/verify` attempts for the control, or why it attempts nothing.

{GENERATED}
"""


def matrix_page(subjects: Sequence[Subject], attempts: Mapping[str, Sequence[str]]) -> str:
    """Markdown: a row per control."""
    rows = [
        (f"`{control.id}`", "<br>".join(_breaks(control.id)), _proved(attempts.get(control.id, ()), why))
        for subject in subjects
        for control in subject.controls
        for why in [why_unproved(control, subject)]
    ]
    return "\n".join([HEAD, *table(("Control", "Broken so, and mended", "Proved by"), rows)])


def _breaks(control: str) -> Iterator[str]:
    if elsewhere := ELSEWHERE.get(control):
        yield f"`{elsewhere}`" if elsewhere.startswith("tests/lab/") else f"not here: {text(elsewhere)}"
    for row in (row for batch in BATCHES.values() for row in batch if control in row.says):
        who = "who did it" if row.undo else "harden"
        yield text(f"{sentence(row.how)[:-1]}: {row.says[control]}; {who} mends it")


def _proved(attempts: Sequence[str], why: str) -> str:
    return text("; ".join(attempts)) if attempts else f"nothing: {text(why)}"
