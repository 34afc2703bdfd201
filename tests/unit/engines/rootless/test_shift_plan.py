"""When a user's ids are shifted, what is said of that before, and what a rollback asks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Install, Undoing, WriteFile
from deploys.core.control import State
from deploys.engines.rootless.controls import SUBJECT
from deploys.engines.rootless.shift import ACCEPT
from facts.core.reading import Unknown
from facts.core.record import Journal, JournalEntry
from facts.engines.rootless.stored import Stored
from facts.userns import SUBGID, SUBUID
from tests.support.rootless import NOTHING, context, ids, reading

ROWS = "alice:100000:65536\nbob:131072:65536\n"
START = 0x7400_0000
KEPT = Stored(("/home/alice/.local/share/containers",), (), (), 1234, 56789, more=False, processes=0, tools=True)
SHIFT = f"shift what alice has stored to the ids {START}–{START + 65535}: 7 files (9 bytes)"
RUN = "20260101T000000Z-abcdef"


def planned(kept: Any = KEPT, rows: str = ROWS, accept: str = ACCEPT, **more: Any) -> list[Change]:
    users = more.pop("users", ["alice"])
    host = reading(stored=dict.fromkeys(("alice", "bob"), kept) if kept else {})
    return list(SUBJECT.plan(context(host, of_ids=ids(rows), users=users, ranges=True, accept=accept, **more)))


def test_before_it_is_accepted_the_plan_says_how_much_of_whose_and_where() -> None:
    (blocked,) = planned(accept="")
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == (ACCEPT,)
    for words in (
        "alice shares ids with another owner: alice:100000:65536 (/etc/subuid) overlaps bob:131072:65536",
        "To be shifted: 1,234 files (56,789 bytes) in /home/alice/.local/share/containers",
        "no process may run as alice or with these ids",
    ):
        assert words in blocked.why
    (blocked,) = planned(dataclasses.replace(KEPT, more=True, processes=3), accept="")
    assert isinstance(blocked, Blocked)
    assert "more than 1,234 files" in blocked.why
    assert "3 processes run as alice or with these ids" in blocked.why
    assert "loginctl terminate-user alice" in blocked.next


def test_accepted_the_rows_and_the_files_are_changed_together() -> None:
    changes = planned()
    files = [change for change in changes if isinstance(change, WriteFile)]
    assert [change.path for change in files] == [SUBUID, SUBGID]
    assert {change.text for change in files} == {f"bob:131072:65536\nalice:{START}:65536\n"}
    assert all(change.service is not None and change.shared == "lines" for change in files)
    assert {change.controls for change in changes} == {("rootless.ranges",)}
    service = files[0].service
    assert service is not None
    assert "1,234 files (56,789 bytes)" in service.what
    assert service.activate.endswith("shifted /home/alice/.local/share/containers\n")
    assert planned(rows=files[0].text) == []


def test_what_a_user_calls_a_folder_writes_nothing_on_the_operators_terminal() -> None:
    for accept in ("", ACCEPT):
        change = planned(dataclasses.replace(KEPT, folders=("/home/alice/\x1b[2Jx",)), accept=accept)[0]
        service = change.service if isinstance(change, WriteFile) else None
        assert "\x1b" not in (service.what if service else getattr(change, "why", "\x1b"))


def test_what_keeps_capabilities_is_installed_first() -> None:
    first, *others = planned(dataclasses.replace(KEPT, tools=False))
    assert isinstance(first, Install)
    assert first.packages == ("attr",)
    assert len(others) == 2


@pytest.mark.parametrize(
    ("kept", "says", "next_"),
    [
        (None, "what is stored was not counted", "chown -h"),
        (Unknown("too slow"), "too slow", "chown -h"),
        (dataclasses.replace(KEPT, processes=3), "3 processes run as alice", "loginctl terminate-user alice"),
        (dataclasses.replace(KEPT, elsewhere=("/srv/x",)), "outside of the home: /srv/x", "chown -h"),
        (dataclasses.replace(KEPT, lxc=("/home/alice/lxc",)), "of their own: /home/alice/lxc", "chown -h"),
    ],
)
@pytest.mark.parametrize("accept", ["", ACCEPT])
def test_what_cannot_be_shifted_is_said(kept: Any, says: str, next_: str, accept: str) -> None:
    (blocked,) = planned(kept, accept=accept)
    assert isinstance(blocked, Blocked)
    assert says in blocked.why
    assert next_ in blocked.next


def test_of_two_users_of_the_policy_who_share_ids_the_one_that_it_names_first_keeps_them() -> None:
    changes = planned(users=["alice", "bob"])
    assert {change.what.split()[1] for change in changes} == {"bob"}
    assert {change.what.split()[1] for change in planned(users=["bob", "alice"])} == {"alice"}
    rows = f"{ROWS}dockremap:100000:9\n"
    both = planned(rows=rows, users=["alice", "bob"])
    texts = [change.text.splitlines()[-1] for change in both if isinstance(change, WriteFile)]
    assert texts == [f"alice:{START}:65536"] * 2 + [f"bob:{START + 65536}:65536"] * 2


def test_where_no_ids_are_free_nothing_is_shifted() -> None:
    (blocked,) = planned(rows=f"{ROWS}big:{START}:{0x400_0000}\n")
    assert isinstance(blocked, Blocked)
    assert "no 65536 ids are free" in blocked.why


def entry(id_: str, **more: Any) -> JournalEntry:
    values = {"subject": "alice's storage", "what": SHIFT, "path": None, "done": True, "undone": False,
              "kind": "service"}  # fmt: skip
    return JournalEntry(id_, **values | more)


ENTRIES = (
    entry("0003", kind="file", path=SUBGID, subject="rootless", what="give alice ids", service="0001"),
    entry("0002", kind="file", path=SUBUID, subject="rootless", what="give alice ids", service="0001"),
    entry("0001"),
)


def stays(accept: str, *entries: JournalEntry) -> dict[str, str]:
    undoing = Undoing(context(users=["alice"], accept=accept), entries, {})
    return {remark.entry: remark.stays.next for remark in SUBJECT.undoing(undoing) if remark.stays}


def test_a_rollback_shifts_back_only_where_that_is_accepted() -> None:
    assert set(stays("", *ENTRIES)) == {"0001", "0002", "0003"}
    assert all(ACCEPT in next_ for next_ in stays("rootless-ranges", *ENTRIES).values())
    assert stays(ACCEPT, *ENTRIES) == {}
    said = SUBJECT.undoing(Undoing(context(users=["alice"], accept=ACCEPT), ENTRIES, {}))
    assert {remark.interrupts for remark in said} == {"no container of alice starts meanwhile"}


def test_a_rollback_of_what_was_cut_off_needs_no_word() -> None:
    cut = tuple(dataclasses.replace(each, done=each.id != "0001") for each in ENTRIES)
    assert stays("", *cut) == {}


def test_a_users_first_range_stays_as_before() -> None:
    first = entry("0004", kind="file", path=SUBUID, subject="rootless", what="give bob ids", service="")
    assert set(stays(ACCEPT, *ENTRIES, first)) == {"0004"}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (f"alice:{START}:65536\n", "finish the shift of alice's ids"),
        ("alice:100000:65536\n", "take back the shift of alice's ids"),
    ],
)
def test_a_shift_that_was_cut_off_fails_until_the_next_run(rows: str, says: str) -> None:
    record = dataclasses.replace(NOTHING, journals=(Journal(RUN, "harden", "then", (entry("0001", done=False),)),))
    host = context(of_ids=ids(rows), users=["bob"], ranges=True, record=record)
    finding = host.findings["rootless.ranges"]
    assert finding.state is State.FAIL
    assert f"alice has files with ids of both ranges, since run {RUN} was cut off" in finding.verdict.reason
    change = next(iter(SUBJECT.plan(host)))
    assert isinstance(change, Command)
    assert change.what.startswith(says)
    assert f"/{RUN}/0001" in change.script
    assert change.controls == ("rootless.ranges",)


def test_an_unread_record_is_not_taken_for_an_empty_one() -> None:
    unread: Any = Unknown("late")
    assert context(users=["alice"], ranges=True, record=unread).findings["rootless.ranges"].state is State.UNKNOWN
