"""What a host's journal holds of past runs, as an operator reads it before a rollback."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.text import clean
from deploys.run.session import Session
from deploys.run.undo_plan import begin
from facts.core.reading import UnknownReading
from facts.core.record import Journal, Record, RecordReading


def read_record(session: Session) -> RecordReading | None:
    """The host's record; None where it could not be read, which the session's errors say."""
    try:
        return session.survey[Record] if session.survey else None
    except UnknownReading as error:
        session.errors.append(f"the journals cannot be read: {error}")
        return None


def render_runs(host: str, record: RecordReading) -> str:
    """The runs of which something is left to undo, newest first, each with its changes, last one first; then the names
    of those of which nothing is left, and of those that were too many to be read."""
    order = ", newest first" if len(record.journals) > 1 else ""
    lines = [f"{host}: {_count(len(record.journals))} can be rolled back{order}"]
    for journal in reversed(record.journals):
        lines += _run(record, journal)
    if record.unread:
        lines.append(f"  older, and too many to be read with these: {', '.join(record.unread)}")
    if record.spent:
        lines.append(f"  nothing is left to undo of: {', '.join(record.spent)}")
    return "\n".join(map(clean, lines))


def _run(record: RecordReading, journal: Journal) -> Iterator[str]:
    left, gone = journal.left, len(journal.entries) - len(journal.left)
    undone = f", {gone} more are undone already or stay for good" if gone else ""
    yield f"  {journal.name}: undoing it takes back {len(left)} change{'' if len(left) == 1 else 's'}{undone}"
    yield from (f"    ! {why}" for why in begin(record, journal, ()).refused)
    for entry in left:
        yield f"    - {entry.id} {entry.subject}: {entry.what}" + ("" if entry.done else " (it was cut off)")
        if entry.interrupts:
            yield f"           when it was made, it interrupted: {entry.interrupts}"


def _count(runs: int) -> str:
    return f"{runs or 'no'} run{'' if runs == 1 else 's'}"
