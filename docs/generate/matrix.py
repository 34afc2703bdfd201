"""The page of the break matrix: how each control is broken on a real host, and who mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploys.core.change import Subject
from docs.generate.markdown import GENERATED, sentence, table, text
from tests.lab.breaks import BATCHES, ELSEWHERE

HEAD = f"""\
# Break matrix

For each control, what it guards is broken on a hardened host: a virtual machine with Debian 13, by `make drills`
(`tests/lab/drills/test_breaks.py`). Drift has to name the control with the state that stands here, the next harden (or
who is named) has to mend it, and the drift after that has to be green. What takes boots or another kind of host is
broken in the drill that is named. Which attacks prove a control says the page [Proofs of controls](proofs.md).

{GENERATED}
"""


def matrix_page(subjects: Sequence[Subject]) -> str:
    rows = [row for subject in subjects for control in subject.controls for row in _rows(control.id)]
    return "\n".join([HEAD, *table(("Control", "Broken so", "Drift says", "Mended by"), rows)])


def _rows(control: str) -> Iterator[tuple[str, ...]]:
    if elsewhere := ELSEWHERE.get(control):
        drill = elsewhere.startswith("tests/lab/")
        yield (
            f"`{control}`",
            f"`{elsewhere}`" if drill else text(elsewhere),
            "as the drill has it" if drill else "–",
            "–",
        )
    for row in (row for batch in BATCHES.values() for row in batch if control in row.says):
        yield f"`{control}`", text(sentence(row.how)), row.says[control], "who did it" if row.undo else "harden"
