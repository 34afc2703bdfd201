"""Another range of ids for a user whose ids another owner has too, and for the files that the user's engines store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from shlex import join, quote

from deploys.core import templates
from deploys.core.change import (
    Blocked,
    Change,
    Command,
    Context,
    Install,
    Obstacle,
    Remark,
    Service,
    Undoing,
    WriteFile,
)
from deploys.core.control import some
from deploys.core.text import clean_text
from deploys.userns.ranges import PEOPLE, SIZE, NoRange, giving, plan_range
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.record import JournalEntry, Record
from facts.core.survey import Survey
from facts.engines.rootless.rootless import Rootless
from facts.engines.rootless.stored import Stored
from facts.userns import SUBGID, SUBUID, Range, Userns, UsernsReading

ACCEPT = "userns-shift"  # accepting it: the files that a user's engines have stored get other ids
SAID = re.compile(r"shift what (\S+) has stored to the ids ([0-9]+)–[0-9]+")
JOURNAL = "${HULLPROOF_JOURNAL:-/var/lib/hullproof/journal}"


def plan(context: Context, reading: UsernsReading, user: str, why: str, by_hand: str) -> Iterator[Change]:
    """The change, or what is in its way. `why`: what is wrong with the ids that the user has in `reading`."""
    rows = [row for row in known(reading.ranges) if row.owner == user]
    what = f"give {user} ids that nobody else has"
    stored = context.survey[Rootless].stored.get(user, Unknown("what is stored was not counted"))
    try:
        if obstacle := _in_the_way(context, user, stored, by_hand):
            yield replace(obstacle, why=f"{user} {why}. {obstacle.why}").block("rootless", what)
            return
        yield from _changes(reading, user, rows, known(stored))
    except (NoRange, UnknownReading) as error:
        yield Blocked("rootless", what, why=f"{user} {why}, and {error}", by_hand=by_hand)


def _in_the_way(context: Context, user: str, reading: Stored | Unknown, by_hand: str) -> Obstacle | None:
    stored = known(reading)
    if stored.lxc:
        why = f"Containers of LXC's have their ids in files of their own: {some(stored.lxc)}"
        return Obstacle(why=why, by_hand=by_hand)
    if stored.elsewhere:
        why = f"The user's own files say that engines store outside of the home: {some(stored.elsewhere)}"
        return Obstacle(why=why, by_hand=by_hand)
    stop = f"have {user}'s containers stopped, then loginctl terminate-user {user}"
    if not context.accepts(ACCEPT):
        runs = f"; {stored.processes} processes run as {user} or with these ids" if stored.processes else ""
        why = (
            f"To be shifted: {amount(stored)}. Files of these ids anywhere else are nobody's then, and no process may "
            f"run as {user} or with these ids meanwhile{runs}"
        )
        return Obstacle(why=why, by_hand=stop if stored.processes else "", accepts=(ACCEPT,))
    if stored.processes:
        why = f"{stored.processes} processes run as {user} or with these ids"
        return Obstacle(why=why, by_hand=stop)
    return None


def amount(stored: Stored) -> str:
    """How much is shifted, in words. A user may have named the folders."""
    where = f" in {clean_text(some(stored.folders))}" if stored.folders else ""
    more = "more than " if stored.more else ""
    return f"{more}{stored.files:,} files ({stored.size:,} bytes){where}"


def _changes(reading: UsernsReading, user: str, rows: Sequence[Range], stored: Stored) -> Iterator[Change]:
    count = {kind: sum(row.count for row in rows if row.kind == kind) for kind in ("u", "g")}
    size = max(SIZE, *count.values())
    # Beside the user's own rows too: an id then tells whether its file was shifted.
    start = plan_range(reading, size, "", PEOPLE)
    if not stored.tools:
        yield Install("rootless", "install getfattr and setfattr, to keep capabilities and ACLs", packages=("attr",))
    words = f"USER_ID={known(reading.passwd)[user]}\nMAPS={quote(' '.join(_maps(rows, start)))}\n"
    words += f"ROWS={quote(' '.join(f'{path}={user}:{start}:{size}' for path in (SUBUID, SUBGID)))}\n"
    script, folders = words + templates.text("engines/rootless/shift.sh"), join(stored.folders)
    service = Service(
        name=f"{user}'s storage",
        activate=f"{script}shifted {folders}\n",
        healthy="true",
        explain="true",
        undo=f"{script}settled {folders}\n",
        does=f"shift what {user} has stored to the ids {start}–{start + size - 1}: {amount(stored)}",
        interrupts=f"no container of {user} starts before all of it is shifted",
    )
    yield from (replace(change, service=service) for change in giving("rootless", reading, start, user, size))


def _maps(rows: Sequence[Range], start: int) -> Iterator[str]:
    """KIND:OLD:COUNT:NEW. A user namespace maps the ids of several rows one row after the other."""
    at = {"u": start, "g": start}
    for row in rows:
        yield f"{row.kind}:{row.start}:{row.count}:{at[row.kind]}"
        at[row.kind] += row.count


def taken(changes: Sequence[Change]) -> Iterator[Range]:
    """What the changes give a user."""
    for change in changes:
        if isinstance(change, WriteFile):
            owner, start, count = change.text.splitlines()[-1].split(":")
            yield Range("u" if change.path == SUBUID else "g", int(start), int(count), owner, change.path)


# ------------------------------------------------------------------------------------------------ what was cut off


def cut_off(survey: Survey) -> dict[str, tuple[str, JournalEntry]]:
    """By user: the run whose shift did not come to its end, and its entry."""
    return {
        found[1]: (journal.run, entry)
        for journal in survey[Record].journals
        for entry in journal.left
        if not entry.done and (found := _of(entry))
    }


def _of(entry: JournalEntry) -> re.Match[str] | None:
    return SAID.match(entry.what) if entry.kind == "service" else None


def settle(survey: Survey, user: str) -> Change:
    """What was begun is finished, or taken back, by the rows that are there."""
    run, entry = cut_off(survey)[user]
    said = SAID.match(entry.what)
    rows = {row.kind for row in known(survey[Userns].ranges) if said and (row.owner, str(row.start)) == (user, said[2])}
    if len(rows) == 1:
        why = f"run {run} was cut off between {SUBUID} and {SUBGID}"
        return Blocked("rootless", f"settle {user}'s ids", why=why, by_hand=f"roll that back (--data run={run})")
    at = f'"{JOURNAL}/{run}/{entry.id}"'
    script = f"at={at}; ENTRY=$at NOTE=/dev/null sh $at/undo && : >$at/done && sync $at"
    what = f"{'finish' if rows else 'take back'} the shift of {user}'s ids, which run {run} had begun"
    return Command("rootless", what, script=script, undo="")


# ------------------------------------------------------------------------------------------------ the way back


def remarks(undoing: Undoing) -> Iterator[Remark]:
    """The way back shifts the files too; what was cut off goes back in any case."""
    for entry in undoing.entries:
        if entry.done and (found := _of(entry)):
            user = found[1]
            stays = None
            if not undoing.context.accepts(ACCEPT):
                why = f"what {user} has stored would get its old ids back, which another owner has too"
                stays = Obstacle(why=why, accepts=(ACCEPT,))
            for each in undoing.entries:
                if entry.id in (each.id, each.service):
                    yield Remark(each.id, stays=stays, interrupts=f"no container of {user} starts meanwhile")


def shifts(entries: Sequence[JournalEntry]) -> set[str]:
    """The ids of those that shift, and of the rows that belong to them."""
    ids = {entry.id for entry in entries if _of(entry)}
    return {entry.id for entry in entries if entry.id in ids or entry.service in ids}
