"""The page of all controls is what the rows say."""

from __future__ import annotations

from pathlib import Path

from deploys.core.change import Subject
from deploys.core.control import Control, Impact, Severity, passed
from deploys.core.policy import Rules
from deploys.subjects import SUBJECTS
from docs.controls_page import controls_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "controls.md"


def test_the_page_is_in_step() -> None:
    assert PAGE.read_text(encoding="utf-8") == controls_page(SUBJECTS), "run: make docs"


def test_an_entry() -> None:
    row = Control(
        "boat.icc", "No *free* talk", Severity.HIGH, "Since\n  `a_b` <may>.", lambda *_: passed("fine"),
        ("CIS-2", "CIS-1"), Impact.RESTART,
    )  # fmt: skip
    page = controls_page([Subject("boat", Rules, (row,), lambda context: [], ())])
    assert page.endswith("""\
## boat

### `boat.icc`

No \\*free\\* talk

**high** · putting it right takes a restart · `CIS-2` · `CIS-1`

Since `a_b` \\<may\\>.

## By reference

| Reference | Controls |
|---|---|
| CIS-1 | `boat.icc` |
| CIS-2 | `boat.icc` |
""")
