"""Undo one past run on one host, from its journal there."""

from __future__ import annotations

from deploys.engine import journal, transport
from deploys.engine.clean import clean
from deploys.engine.confirm import await_revert, confirmed
from deploys.engine.logins import logins
from deploys.engine.session import Reached, Session
from facts.reading import UnknownReading
from facts.record import Journal, Record

UNDO_SECONDS = 1800  # removing packages on a slow host


def choose(session: Session, wanted: str | None) -> None:
    """The run to undo: `wanted`, or the newest one that still stands."""
    _choose(session, wanted)
    session.reached = Reached.PLAN if session.undoing else Reached.END


def _choose(session: Session, wanted: str | None) -> None:
    if session.survey is None or not session.may_change(session.survey):
        return
    try:
        journals = session.survey[Record].journals
    except UnknownReading as error:
        session.errors.append(f"the journals cannot be read: {error}")
        return
    standing = [entry for entry in journals if not entry.undone and wanted in (None, entry.run)]
    if standing:
        session.undoing = standing[-1]
    elif wanted is not None:
        known_runs = ", ".join(entry.run for entry in journals if not entry.undone) or "none"
        session.errors.append(f"no run {wanted} stands in the journal here (there are: {known_runs})")


def undo(session: Session) -> None:
    """Undo the chosen run on the host, last change first."""
    assert session.undoing is not None
    session.reached = Reached.CHANGE
    said = _undone(session, session.undoing)
    for entry in reversed(session.undoing.entries):
        if entry.undone:
            continue
        outcome = said.get(entry.id, said.get(journal.UNOPENED, journal.Outcome(entry.id, "not reached")))
        if outcome.error:
            session.errors.append(f"undo of {entry.what}: {outcome.error}")
            continue
        session.host.log(f"undone: {clean(entry.what)}")
        row = {
            "subject": entry.subject,
            "what": f"undone: {entry.what}",
            "journal": f"{session.undoing.run}/{entry.id}",
        }
        session.done.append(row | ({"path": entry.path} if entry.path else {}))


def _undone(session: Session, past: Journal) -> dict[str, journal.Outcome]:
    """The outcome per entry, as far as it came: what could cut us off is confirmed before the rest is undone."""
    armed = {entry.id for entry in past.entries if entry.armed and not entry.undone}
    sessions = logins(session.host) if armed else frozenset()
    text, nonce = journal.undo_script(past.run)
    try:
        said = journal.parse_answer(transport.execute(session.host, text, UNDO_SECONDS), nonce)
    except transport.Unreachable as error:
        session.errors.append(f"undo: {error}")
        if armed:
            await_revert(session, past.run, "undo")
        return {}
    while waits := said.pop(journal.WAITS, None):
        script = journal.undo_script(past.run, confirm=True)
        more = {} if waits.error else confirmed(session, "undo", past.run, script, sessions, UNDO_SECONDS)
        if not more:
            back = {entry for entry in armed if entry in said and not said[entry].error}
            return said | {entry: journal.Outcome(entry, "the host has put it back") for entry in back}
        armed -= said.keys()
        said |= more
    return said
