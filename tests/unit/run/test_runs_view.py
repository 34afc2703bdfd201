"""What is shown of a host's past runs before a rollback, and that to look at them changes and judges nothing."""

from __future__ import annotations

from deploys.report import report
from deploys.report.terminal import render_table
from deploys.run.runs_view import render_runs
from facts.core.record import Journal, JournalEntry, RecordReading
from tests.support.journal import Host, apply, host, other, record, write
from tests.support.undo import undo

__all__ = ["host"]


def test_each_run_says_what_undoing_it_takes_back_and_what_comes_first(host: Host) -> None:
    apply(host, write(host, "f", "1", None), run=other(1))
    apply(host, write(host, "f", "2", "1"), write(host, "g", "2", None), run=other(2))
    before = host.files()
    shown = render_runs("h", record(host)).splitlines()
    first, second = other(1)["id"], other(2)["id"]
    assert shown == [
        "h: 2 runs can be rolled back, newest first",
        f"  {second} (harden, 2026-01-01T00:00:00Z): undoing it takes back 2 changes",
        "    - 0002 test: write g",
        "    - 0001 test: write f",
        f"  {first} (harden, 2026-01-01T00:00:00Z): undoing it takes back 1 change",
        f"    ! run {second} (harden, 2026-01-01T00:00:00Z) changed {host.root}/f later: roll that back first "
        f"(--data run={second})",
        "    - 0001 test: write f",
    ]
    assert host.files() == before


def test_what_is_undone_already_is_named_and_no_more(host: Host) -> None:
    for number in (1, 2):
        apply(host, write(host, f"f{number}", "x", None), run=other(number))
    undo(host)
    shown = render_runs("h", record(host))
    assert shown.startswith("h: 1 run can be rolled back\n")
    assert shown.endswith(f"\n  nothing is left to undo of: {other(2)['id']}")


def test_what_was_cut_off_or_hurt_and_what_was_not_read_is_said(host: Host) -> None:
    entry = JournalEntry("0001", "test", "re\x1b[2Jstart", None, False, False, interrupts="web")
    gone = JournalEntry("0002", "test", "gone", None, True, True)
    one = Journal("r2", "harden", "2026", (entry, gone))
    shown = render_runs("h", RecordReading(None, (one,), (), ("r1",), (), ()))
    assert "undoing it takes back 1 change, 1 more are undone already or stay for good" in shown
    assert "start (it was cut off)\n           when it was made, it interrupted: web" in shown
    assert shown.endswith("older, and too many to be read with these: r1")


def test_the_end_says_that_journals_were_read_and_judges_nothing() -> None:
    about = report.Run("r1", "runs", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "baseline")
    good, lost = report.HostReport("a", "ok"), report.HostReport("b", "unreachable", "no route")
    ended = report.build(about, [good])
    assert ended["exit_code"] == 0
    assert render_table(ended, color=False, width=80) == "runs: 1 ok. Exit code 0: all journals were read.\n"
    ended = report.build(about, [good, lost])
    assert ended["exit_code"] == 1
    assert render_table(ended, color=False, width=80) == (
        "b: no route\n\nruns: 1 ok, 1 unreachable. Exit code 1: no answer from b.\n"
    )
    assert report.build(about, [])["exit_code"] == 1
