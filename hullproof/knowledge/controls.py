"""Finding a control by what an operator calls it."""

from __future__ import annotations

import difflib
from functools import cache

from deploys.core.change import Subject
from deploys.core.control import Control
from deploys.core.renames import Renames
from deploys.core.text import clean_text
from deploys.subjects import SUBJECTS


class NotNamed(Exception):
    """Nothing is so called; str() names what is nearest."""


@cache
def renames() -> Renames:
    return Renames.of(SUBJECTS)


def subject_of(control: Control) -> Subject:
    return next(subject for subject in SUBJECTS if subject.name == control.subject)


def find(word: str) -> tuple[tuple[Control, ...], str]:
    """The control of this id, or all of the subject of this name; and a sentence where it is called otherwise now.
    Raises NotNamed."""
    controls = {control.id: control for subject in SUBJECTS for control in subject.controls}
    asked = word.strip().lower()
    if asked in controls:
        return (controls[asked],), ""
    if new := renames().controls.get(asked):
        return (controls[new],), f"{asked} is called {new} now."
    for subject in SUBJECTS:
        if asked == subject.name:
            return subject.controls, ""
    names = [*controls, *(subject.name for subject in SUBJECTS)]
    # What it ends with is what is remembered: `live-restore`, `dmesg_restrict`.
    near = [name for name in controls if asked and asked in name][:5]
    near = near or difflib.get_close_matches(asked, names, 5, 0.6)
    hint = f"; near that are {', '.join(near)}" if near else ""
    raise NotNamed(f'no control or subject is called "{clean_text(word)}"{hint}')
