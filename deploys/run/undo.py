"""Undo one past run on one host, from its journal there."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from deploys.core.change import Undoing
from deploys.core.text import clean
from deploys.run import journal, transport
from deploys.run.confirm import await_revert, confirmed, trial
from deploys.run.look import may_change
from deploys.run.script import JOURNAL, WAITING, Fate, Outcome, Script
from deploys.run.session import Reached, Session
from deploys.run.undo_plan import FileTexts, NoRun, UndoPlan, begin, chosen, compare
from facts.core.reading import UnknownReading
from facts.core.record import JournalEntry, Record

UNDO_SECONDS = 1800  # removing packages on a slow host
ASK_SECONDS = 120
KEPT_IN = "/var/lib/hullproof/journal, which root alone reads"


def choose(session: Session, run: str | None, skip: Sequence[str] = ()) -> None:
    """Plan the undo of `run`, or of the newest run of which something is left. Executes nothing but questions."""
    _choose(session, run, skip)
    planned = session.undoing is not None and not session.undoing.refused
    session.reached = Reached.PLAN if planned else Reached.END


def _choose(session: Session, run: str | None, skip: Sequence[str]) -> None:
    if session.survey is None or not may_change(session, session.survey):
        return
    try:
        record = session.survey[Record]
        past = chosen(record, run)
    except UnknownReading as error:
        session.errors.append(f"the journals cannot be read: {error}")
        return
    except NoRun as error:
        session.errors.append(str(error))
        return
    if past is None:
        return
    plan = session.undoing = begin(record, past, skip)
    if not plan.refused:
        _look_closer(session, plan)
    if plan.refused:
        session.errors += [*plan.refused, f"nothing of run {past.run} was undone"]


def _look_closer(session: Session, plan: UndoPlan) -> None:
    """Compare the files with what the run wrote, and ask the subjects."""
    try:
        said = _files(session, plan)
    except transport.Unreachable as error:
        plan.refused.append(f"the files of run {plan.past.run} cannot be compared: {error}")
        return
    whole = replace(plan, amended={}, notes={}, refused=[])
    _ask_subjects(session, plan, compare(whole, said))
    compare(plan, said)  # without what they want to stay: what others have in a file is merged with that


def _files(session: Session, plan: UndoPlan) -> dict[str, FileTexts]:
    """The files of the plan's entries, as the host sends them."""
    entries = [entry.id for entry in plan.entries if entry.path]
    if not entries:
        return {}
    script = journal.files_script(plan.past.run, entries)
    return read_files(script, session.execute(script.text, ASK_SECONDS))


def read_files(script: Script, lines: Iterable[str]) -> dict[str, FileTexts]:
    form = re.compile(rf"@{script.nonce} file (\d+) (\w+) (\S*)")
    texts: dict[str, dict[str, bytes | None]] = {}
    for match in filter(None, map(form.fullmatch, lines)):
        entry, name, packed = match[1], match[2], match[3]
        if packed != "?":
            try:
                texts.setdefault(entry, {})[name] = None if packed == "-" else base64.b64decode(packed, validate=True)
            except binascii.Error:
                continue
    return {entry: _file(found) for entry, found in texts.items()}


def _file(texts: dict[str, bytes | None]) -> FileTexts:
    written = texts.pop("written", None)
    if texts.get("wrote", b"") is None:
        del texts["wrote"]  # an older version kept only its digest
    return FileTexts(texts, written.decode("ascii", "replace").strip()) if written else FileTexts(texts)


def _ask_subjects(session: Session, plan: UndoPlan, files: dict[str, tuple[str | None, str | None]]) -> None:
    """What the subjects say of the undo: what it interrupts, what is in the way, what stays."""
    assert session.survey is not None
    undoing = Undoing(session.context(session.survey), plan.entries, files)
    for subject in session.subjects:
        try:
            for remark in subject.undoing(undoing):
                plan.take(remark)
        except UnknownReading as error:
            plan.refused.append(f"what the undo would interrupt is not known: {error}")
        except Exception as error:  # one host's nonsense is that host's error
            plan.refused.append(f"{subject.name}: the undo cannot be planned ({type(error).__name__}: {error})"[:300])


def undo(session: Session) -> None:
    """Undo the planned run on the host, last change first. All of it was undone where `errors` stays empty."""
    plan = session.undoing
    assert plan is not None
    session.reached = Reached.CHANGE
    said = _undone(session, plan) if plan.entries or plan.skip else {}
    left: list[JournalEntry] = []
    back: list[JournalEntry] = []
    for entry in plan.past.left:
        outcome = said.get(entry.id)
        if entry.id in plan.stays:
            good = f"leave it for good with --data skip={plan.past.run}/{entry.id}, and older runs can be rolled back"
            session.errors.append(f"not undone: {entry.what}: {plan.stays[entry.id]}; or {good}")
        elif outcome and outcome.fate is Fate.UNCONFIRMED:
            back.append(entry)
        elif outcome:
            _note(session, plan, entry=entry, outcome=outcome)
        elif JOURNAL not in said:
            left.append(entry)
    if back:  # after its cause: an error is shown to a certain length
        session.errors.append(f"undone, and put back by the host: {'; '.join(entry.what for entry in back)}")
    if refused := said.get(JOURNAL):
        session.errors.append(refused.error)
    elif left:
        session.errors.append(f"not reached, so not yet undone: {'; '.join(entry.what for entry in left)}")
    _say_end(session, plan)


def _note(session: Session, plan: UndoPlan, *, entry: JournalEntry, outcome: Outcome) -> None:
    if outcome.error:
        name = f"{plan.past.run}/{entry.id}"
        if not outcome.follows:
            session.errors.append(f"undo of {entry.what}: {outcome.error} (to go on without it: --data skip={name})")
        return
    if entry.id in plan.skip:  # nothing was rolled back of it
        session.host.log(clean(f"left as it is: {entry.what}"))
        return
    what = f"undone: {entry.what}" + (f" ({outcome.note})" if outcome.note else "")
    session.host.log(clean(what))
    row = {"subject": entry.subject, "what": what, "journal": f"{plan.past.run}/{entry.id}"}
    session.done.append(row | ({"path": entry.path} if entry.path else {}))


def _say_end(session: Session, plan: UndoPlan) -> None:
    """What can be rolled back next, and what is left of us on the host."""
    if session.errors:
        session.host.log(f"run {plan.past.run} was not rolled back, or not completely")
    if plan.older:
        session.host.log(f"the next run that can be rolled back is {plan.older.name}: --data run={plan.older.run}")
    elif not session.errors:
        kept = "but what was left as it is, and " if plan.skip else "but "
        session.host.log(f"nothing of hullproof is left on this host {kept}the journal of what was undone ({KEPT_IN})")


def _undone(session: Session, plan: UndoPlan) -> dict[str, Outcome]:
    """The outcome per entry, as far as it came: what could cut us off is confirmed before the rest is undone."""
    past, orders = plan.past, plan.orders(session.policy.accept)
    unconfirmed = {entry.id for entry in plan.entries if entry.commit_confirmed}
    on_trial = trial(session, "undo", past.run)
    script = journal.undo_script(orders, session.run)
    try:
        said = script.answer(session.execute(script.text, UNDO_SECONDS))
    except transport.Unreachable as error:
        session.errors.append(f"undo: {error}")
        if unconfirmed:
            await_revert(session, on_trial)
        return {}
    while waiting := said.pop(WAITING, None):  # also for what another run has made since the survey
        script = journal.undo_script(orders, session.run, confirm=True)
        more = {} if waiting.error else confirmed(session, on_trial, script, seconds=UNDO_SECONDS)
        if not more:
            back = {entry for entry in unconfirmed if entry in said and not said[entry].error}
            return said | {entry: Outcome(entry, Fate.UNCONFIRMED) for entry in back}
        unconfirmed -= said.keys()
        said |= more
    return said
