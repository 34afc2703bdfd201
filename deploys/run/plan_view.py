"""The plan as an operator reads it on a terminal, before anything is done: in the order in which it is executed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploys.core.change import Activate, Blocked, Change, RemoveFile, WriteFile
from deploys.core.text import clean_text
from deploys.report.terminal import BOLD, CYAN, GREEN, RED, YELLOW, fill, paint
from deploys.run.steps import Step

INDENT = " " * 6
COMMIT_CONFIRMED = "commit-confirmed: the host reverts it by itself unless a fresh connection confirms it"


@dataclass(frozen=True)
class PlanView:
    """How it is shown: coloured or not, with the files' differences or not, and how wide."""

    color: bool
    diff: bool
    width: int

    def render(self, host: str, *, steps: Sequence[Step], blocked: Sequence[Blocked], unknown: Sequence[str]) -> str:
        """What a run will do to a host, numbered; what stops meanwhile; what it will not do, and how to allow that;
        and the controls of which nothing is known."""
        rows = [row for step in steps for row in self._rows(step)]
        lines = [paint(f"{host}: {_count(len(rows), 'change')}", BOLD, self.color)]
        for number, (what, more) in enumerate(rows, 1):
            lines += [self._fill(f"{number:4}. ", what), *more]
        if blocked:
            lines.append(paint("  Blocked, and how to allow it:", BOLD, self.color))
        for change in blocked:
            lines.append(self._fill("    - ", _titled(f"{change.subject}: {change.what}", change.controls)))
            lines.append(self._fill(INDENT, change.reason))
        if unknown:
            many, them = ("s are", "them") if len(unknown) > 1 else (" is", "it")
            said = f"{len(unknown)} finding{many} unknown: {', '.join(unknown)}, so nothing is planned for {them}"
            lines.append(self._fill("  ", said))
        return "\n".join(lines) + "\n"

    def _rows(self, step: Step) -> Iterator[tuple[str, list[str]]]:
        """What is done, and the lines below it. A service is activated once all of its files are there."""
        stops = step.service.interrupts if step.service else ""
        for change in step.changes:
            below = [] if change.interrupts == stops else self._interrupts(change.interrupts)
            below += [self._fill(INDENT, COMMIT_CONFIRMED)] if change.commit_confirmed else []
            below += [f"{INDENT}{self._paint(line)}" for line in _diff(change)] if self.diff else []
            yield _titled(f"{change.subject}: {change.what}", change.controls), below
        if step.service:
            what = "; ".join(dict.fromkeys(change.what for change in step.planned if isinstance(change, Activate)))
            said = step.service.what + (f": {what}" if what else "")
            yield _titled(said, step.controls), self._interrupts(stops)

    def _interrupts(self, what: str) -> list[str]:
        if not what:
            return []
        lines = self._fill(f"{INDENT}! interrupts: ", clean_text(what)).split("\n")
        return [paint(line, YELLOW, self.color) for line in lines]

    def _fill(self, first: str, text: str) -> str:
        return fill(text, max(self.width, 50), initial_indent=first, subsequent_indent=INDENT)

    def _paint(self, line: str) -> str:
        code = {"+": GREEN, "-": RED, "@": CYAN}.get(line[:1])
        return paint(line, code, self.color) if code else line


def _titled(what: str, controls: Sequence[str]) -> str:
    return f"{what} [{', '.join(controls)}]" if controls else what


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _diff(change: Change) -> list[str]:
    """A unified diff, each line cleaned: what is on the host may be anything."""
    if not isinstance(change, (WriteFile, RemoveFile)):
        return []
    after = change.text if isinstance(change, WriteFile) else ""
    old, new = ("/dev/null" if text is None else change.path for text in (change.before, after or None))
    texts = ((change.before or "").splitlines(), after.splitlines())
    lines = difflib.unified_diff(*texts, fromfile=old, tofile=new, lineterm="")
    return [clean_text(line) for line in lines]
