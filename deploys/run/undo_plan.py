"""What a rollback will do on a host, worked out before anything happens: which run, what of it, and what is in the way.

Nothing that was written after a run is overwritten: a file is compared with what the run wrote. Where it differs, what
the run put there is taken out of it if the file is one that others own too; else nothing of the run is undone, for what
was changed before may be needed by what stays, until the operator leaves that file as it is by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deploys.core.change import Remark
from deploys.run.journal import Orders
from deploys.run.three_way import MERGES, Conflict
from facts.core.record import SCHEMA, Journal, JournalEntry, RecordReading

GONE = "absent"


@dataclass
class UndoPlan:
    """How `past` is undone. `refused` is why nothing of it is; `stays` why single entries are not, by entry."""

    past: Journal
    skip: tuple[str, ...] = ()
    stays: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  # what is to be known before, by entry
    interrupts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    amended: dict[tuple[str, str], bytes] = field(default_factory=dict)
    newest: str = ""
    older: Journal | None = None  # the next run that can be undone

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        """What is undone, last change first."""
        return tuple(e for e in self.past.left if e.id not in self.skip and e.id not in self.stays)

    def orders(self, accept: Iterable[str]) -> Orders:
        return Orders(
            run=self.past.run,
            skip=self.skip,
            leave=tuple(self.stays),
            amended=self.amended,
            accept=accept,
            newest=self.newest,
        )

    def take(self, remark: Remark) -> None:
        """What a subject says of one entry."""
        if remark.refused:
            self.refused.append(remark.refused.reason)
        if remark.stays:
            self.stays[remark.entry] = remark.stays.reason
        if remark.interrupts and remark.interrupts not in self.interrupts:
            self.interrupts.append(remark.interrupts)
        if remark.script:
            self.amended[remark.entry, "undo"] = remark.script.encode()


@dataclass(frozen=True)
class FileTexts:
    """A file of an entry: as it was, as the run wrote it, as it is now (None: no file), and the digest of what the run
    wrote. What could not be had (too large, no plain file, not kept) is not among `texts`."""

    texts: Mapping[str, bytes | None]
    written: str = GONE


class NoRun(Exception):
    """There is no run to undo by that name; the text says what there is."""


def chosen(record: RecordReading, run: str | None) -> Journal | None:
    """The run to undo: `run`, or the newest of which something is left; None where there is none at all."""
    runs = {journal.run: journal for journal in record.journals}
    if run is None:
        return record.journals[-1] if record.journals else None
    if run in runs:
        return runs[run]
    if run in record.spent:
        raise NoRun(f"nothing is left to undo of run {run}: it was rolled back already, or changed nothing")
    if run in record.unread:
        raise NoRun(f"roll newer runs back first: there are too many to read run {run} too")
    there = f"the runs that can be rolled back are {', '.join(runs)}" if runs else "there is no run to roll back"
    raise NoRun(f"there is no run {run} in this host's journal; {there}")


def begin(record: RecordReading, past: Journal, skip: Sequence[str]) -> UndoPlan:
    """The plan for a run, as far as the record alone shows: what is skipped, and whether later runs come first."""
    earlier = [journal for journal in record.journals if journal.run < past.run]
    others = [journal for journal in record.journals if journal.run != past.run]
    following = (earlier or others)[-1:]
    every = [*(journal.run for journal in record.journals), *record.spent, *record.unread]
    plan = UndoPlan(past, newest=max(every), older=following[0] if following else None)
    names = {f"{past.run}/{entry.id}": entry.id for entry in past.left}
    plan.skip = tuple(names[name] for name in skip if name in names)
    for name in skip:
        if name not in names:
            plan.refused.append(f"skip={name}: there is no such change left to undo in run {past.run}")
    if past.schema != SCHEMA:
        plan.refused.append(
            f"the journal of run {past.name} has form {past.schema}, and this version of hullproof reads form "
            f"{SCHEMA}: roll it back with the version that made it"
        )
    plan.refused += later_runs(plan, [journal for journal in record.journals if journal.run > past.run])
    return plan


def later_runs(plan: UndoPlan, later: Sequence[Journal]) -> list[str]:
    """Runs after this one that wrote the same files, or changed the same subject live: their undo would bring back what
    this one's takes away."""
    paths = {entry.path for entry in plan.entries if entry.path}
    subjects = {entry.subject for entry in plan.entries if entry.live and entry.kind == "command"}
    found = []
    for journal in later:
        files = sorted({entry.path for entry in journal.left if entry.path in paths and entry.path})
        live = sorted({e.subject for e in journal.left if e.live and e.kind == "command" and e.subject in subjects})
        if touched := [*files, *(f"the live state of {subject}" for subject in live)]:
            what = ", ".join(touched[:4]) + (f" and {len(touched) - 4} more" if len(touched) > 4 else "")
            found.append(f"run {journal.name} changed {what} later: roll that back first (--data run={journal.run})")
    return found


def compare(plan: UndoPlan, files: Mapping[str, FileTexts]) -> dict[str, tuple[str | None, str | None]]:
    """What becomes of each file, as `Undoing` has it. Adds merges to the plan, and what is in the way."""
    first: dict[str, str | None] = {}
    now: dict[str, bytes | None] = {}
    for entry in plan.entries:
        texts = files.get(entry.id)
        if entry.path is None or texts is None or not {"original", "now"} <= texts.texts.keys():
            continue  # the host itself compares
        there = now.setdefault(entry.path, texts.texts["now"])
        first.setdefault(entry.path, _text(there))
        now[entry.path] = _after(plan, entry, texts, now=there)
    return {path: (first[path], _text(text)) for path, text in now.items()}


def _after(plan: UndoPlan, entry: JournalEntry, file: FileTexts, *, now: bytes | None) -> bytes | None:
    """What the undo of one entry makes of its file."""
    was = file.texts["original"]
    if now == was or _digest(now) == file.written:
        return was
    if file.written == GONE:  # the run removed it, and it was made again
        plan.notes.setdefault(entry.id, []).append(
            f"{entry.path} was created again since this run removed it: it stays as it is"
        )
        return now
    try:
        merged = _merged(entry, file, was=was, now=now)
    except Conflict as conflict:
        plan.refused.append(
            f"{entry.path} was changed after this run wrote it ({conflict}), and stays as it is. Restore what the run "
            f"wrote, or leave the file for good with --data skip={plan.past.run}/{entry.id}"
        )
        return now
    # First what the merge is of, for with it the host drops an earlier one. `absent`: the file goes.
    plan.amended[entry.id, "merged.of"] = f"{_digest(now)} {'absent' if merged is None else 'text'}\n".encode()
    if merged is not None:
        plan.amended[entry.id, "merged"] = merged
    plan.notes.setdefault(entry.id, []).append(f"what others have written to {entry.path} since is kept")
    return merged


def _merged(entry: JournalEntry, file: FileTexts, *, was: bytes | None, now: bytes | None) -> bytes | None:
    wrote = file.texts.get("wrote")
    if now is None:
        raise Conflict("it is gone")
    if entry.shared not in MERGES or wrote is None:
        raise Conflict("it is no longer what the run wrote")
    merged = MERGES[entry.shared](_text(was), wrote.decode("utf-8", "surrogateescape"), _text(now))
    return None if merged is None else merged.encode("utf-8", "surrogateescape")


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "surrogateescape")


def _digest(data: bytes | None) -> str:
    return GONE if data is None else hashlib.sha256(data).hexdigest()
