"""What a rollback will do to a host, as an operator reads it before the question."""

from __future__ import annotations

from collections.abc import Sequence

from deploys.core.text import clean
from deploys.run.undo_plan import UndoPlan

COMMIT_CONFIRMED = "commit-confirmed: the host puts it back by itself unless a fresh connection confirms the undo"


def render_undo(host: str, plan: UndoPlan | None, errors: Sequence[str]) -> str:
    """The entries by their names, last change first; what stops meanwhile; what stays, and why."""
    if plan is None:
        return str(clean(f"{host}: " + ("; ".join(errors) or "there is no run to roll back")))
    if plan.refused:
        lines = [f"{host}: run {plan.past.name} cannot be rolled back now:", *(f"  - {why}" for why in plan.refused)]
        return "\n".join(map(clean, lines))
    lines = [f"{host}: rolls back run {plan.past.name}, last change first:"]
    for entry in plan.entries:
        lines.append(f"  - {entry.id} {entry.what}")
        if entry.commit_confirmed:
            lines.append(f"         {COMMIT_CONFIRMED}")
        lines += [f"         {note}" for note in plan.notes.get(entry.id, ())]
        if entry.interrupts:
            lines.append(f"         when it was made, it interrupted: {entry.interrupts}")
    lines += [f"  ! interrupts: {text}" for text in plan.interrupts]
    skipped = {entry: "stays for good, as asked for by skip=" for entry in plan.skip}
    for entry in plan.past.left:
        if why := {**skipped, **plan.stays}.get(entry.id):
            lines.append(f"  - not undone: {entry.id} {entry.what}: {why}")
    return "\n".join(map(clean, lines))
