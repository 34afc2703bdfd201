"""The undo of what could cut us off: confirmed over a fresh connection as well, or put back by the host itself."""

from __future__ import annotations

import pytest

from deploys.core.change import Change, Command, RemoveFile
from deploys.run import confirm, journal
from deploys.run.script import CONFIRMED, WAITING, WORDS, Fate
from deploys.run.step_script import compile_step
from deploys.run.steps import Step
from deploys.run.undo import undo as undo_run
from deploys.run.undo_plan import UndoPlan
from facts.core.reading import Block, Section
from facts.core.record import Journal, JournalEntry, Record, RecordReading
from tests.support.armed import ID, Host, Remote, begin, host, remote, write
from tests.support.journal import RUN

__all__ = ["host", "remote"]


def confirmed(host: Host, *changes: Change) -> None:
    """A run that stands: an unarmed change, and those."""
    host.sh(compile_step(Step("first", (write(host, "first", commit_confirmed=False),)), RUN, 1).script.text)
    host.sh(compile_step(Step("test", changes), RUN, 2).script.text)
    assert host.confirm() == ""


def live(host: Host) -> Command:
    at = host.root / "live"
    return Command("test", "go live", script=f"echo 1 >{at}", undo=f"rm {at}", commit_confirmed=True)


def undo(host: Host, confirm: bool = False, skip: tuple[str, ...] = ()) -> dict[str, str]:
    script = journal.undo_script(journal.Orders(ID, skip), RUN, confirm)
    return {name: outcome.error for name, outcome in script.answer(host.sh(script.text)).items()}


def there(host: Host) -> list[str]:
    return [name for name in ("first", "a", "gone", "live") if (host.root / name).exists()]


def changes(host: Host) -> list[Change]:
    (host.root / "gone").write_text("theirs\n")
    removal = RemoveFile("test", "remove gone", path=str(host.root / "gone"), before="theirs\n", commit_confirmed=True)
    return [live(host), write(host, "a"), removal]


def test_the_undo_of_what_was_armed_is_confirmed_before_the_rest(host: Host) -> None:
    confirmed(host, *changes(host))
    assert undo(host) == {"0004": "", "0003": "", "0002": "", WAITING: ""}
    assert there(host) == ["first", "gone"]
    assert host.armed()
    assert undo(host, confirm=True) == {CONFIRMED: "", "0001": ""}
    assert there(host) == ["gone"]
    assert not host.armed()
    assert (host.journal / ID / "undone").exists()


@pytest.mark.parametrize("power_lost", [False, True])
def test_an_undo_that_nobody_confirms_is_put_back_and_can_be_made_again(host: Host, power_lost: bool) -> None:
    confirmed(host, *changes(host))
    undo(host)
    if power_lost:  # as it put the first of them back
        (host.journal / ID / "armed").rename(host.journal / ID / "taking")
        (host.root / "live").write_text("1\n")
    host.timer()
    assert there(host) == ["first", "a", "live"]
    assert (host.root / "state" / "reverted-test").read_text().split()[2:] == ["undo"]
    assert not host.armed()
    assert undo(host, confirm=True) == {CONFIRMED: "the host had taken it back already"}
    assert list(undo(host)) == ["0004", "0003", "0002", WAITING]
    assert undo(host, confirm=True) == {CONFIRMED: "", "0001": ""}
    assert there(host) == ["gone"]
    assert not (host.root / "state" / "reverted-test").exists()


def test_an_undo_that_meets_what_an_admin_wrote_is_put_back_whole(host: Host) -> None:
    confirmed(host, *changes(host))
    (host.root / "a").write_text("as an admin left it\n")
    said = undo(host)
    assert "was changed after this run had written it" in said["0003"]
    assert said[WAITING] == WORDS[Fate.PUT_BACK]
    assert there(host) == ["first", "a", "live"]
    assert (host.root / "a").read_text() == "as an admin left it\n"
    assert not host.armed()
    assert undo(host, skip=("0003",)) == {"0004": "", "0003": "", "0002": "", WAITING: ""}
    assert undo(host, confirm=True) == {CONFIRMED: "", "0001": ""}
    assert there(host) == ["a", "gone"]


def test_what_cannot_be_made_live_again_stands_all_the_same(host: Host) -> None:
    """At boot, where not all devices are there yet: a later undo is to take away what files have made meanwhile."""
    there_yet, at = host.root / "there-yet", host.root / "live"
    there_yet.touch()
    go = Command("test", "go", script=f"test -e {there_yet} && echo 1 >{at}", undo=f"rm -f {at}", commit_confirmed=True)
    confirmed(host, go)
    undo(host)
    there_yet.unlink()
    host.timer()
    at.write_text("by its file\n")
    assert list(undo(host)) == ["0002", WAITING]
    assert there(host) == ["first"]


def test_an_undo_that_outlives_the_clock_is_put_back_too(host: Host) -> None:
    revert = f"sed 's,PATH=,&{host.root}/bin:,' {host.root}/state/revert.sh | sh"
    at = host.root / "live"
    slow = Command("test", "go live", script=f"echo 1 >{at}", undo=f"{revert}; rm -f {at}", commit_confirmed=True)
    confirmed(host, slow, write(host, "a"))
    host.tool("flock", ":")
    said = undo(host)
    assert said["0002"] == "it took too long: meanwhile the host took the step back"
    assert said[WAITING] == WORDS[Fate.PUT_BACK]
    assert there(host) == ["first", "a", "live"]
    assert not host.armed()


def test_an_undo_whose_clock_cannot_be_wound_up_is_put_back_at_once(host: Host) -> None:
    at, clock = host.root / "live", host.clock()
    slow = Command(
        "test", "go live", script=f"echo 1 >{at}", undo=f"rm -f {at}; echo 99 >{clock}", commit_confirmed=True
    )
    confirmed(host, slow, write(host, "a"))
    host.tool("systemctl", '[ "$1" != restart ]')
    said = undo(host)
    assert said["0002"].startswith("the timer could not be restarted")
    assert said[WAITING] == WORDS[Fate.PUT_BACK]
    assert there(host) == ["first", "a", "live"]
    assert not host.armed()


def test_what_power_left_half_undone_is_not_lost(host: Host) -> None:
    """Listed, and not yet kept: it is still what it was."""
    confirmed(host, write(host, "a"))
    undo(host)
    (host.journal / ID / "0002" / "undone").unlink()
    (host.journal / ID / "0002" / "replaced").unlink()
    (host.root / "a").write_text("new\n")
    host.timer()
    assert there(host) == ["first", "a"]


def test_two_subjects_are_confirmed_one_after_the_other(host: Host) -> None:
    confirmed(host, live(host))
    host.sh(compile_step(Step("other", (write(host, "a"),)), RUN, 3).script.text)
    assert host.confirm() == ""
    assert list(undo(host)) == ["0003", WAITING]
    assert list(undo(host, confirm=True)) == [CONFIRMED, "0002", WAITING]
    host.timer()
    assert there(host) == ["first", "live"], "what was confirmed stays undone"
    assert (host.root / "state" / "reverted-test").exists()
    assert not (host.root / "state" / "reverted-other").exists()


def test_while_one_change_waits_no_other_is_armed(host: Host) -> None:
    host.apply(write(host, "a"))
    (error,) = host.apply(write(host, "b"))
    assert "a change waits to be confirmed, so nothing was changed" in error
    assert "systemctl start hullproof-revert" in error
    assert "so nothing was changed" in undo(host)["0001"]
    assert (host.root / "a").exists()
    host.timer()
    assert not (host.root / "a").exists()


def test_the_record_tells_which_they_were() -> None:
    head = '{"kind": "harden", "started": "2026-01-01T00:00:00Z"}\n'
    rows = '0001 1 0 {"subject": "x", "what": "a"}\t/etc/a\t\n0002 1 0 {"subject": "x", "what": "b"}\t\tarmed\n'
    reading = Record.read(Section({f"journal {ID}": Block(0, head + rows)}))
    assert isinstance(reading, RecordReading)
    assert [(entry.path, entry.commit_confirmed) for entry in reading.journals[0].entries] == [
        ("/etc/a", False),
        (None, True),
    ]


def past(*entries: tuple[str, bool]) -> UndoPlan:
    rows = tuple(JournalEntry(name, "test", f"change {name}", None, True, False, armed) for name, armed in entries)
    return UndoPlan(Journal(ID, "harden", "2026-01-01T00:00:00Z", rows))


STANDING = past(("0001", False), ("0002", True), ("0003", True))


def test_an_undo_is_confirmed_over_a_fresh_connection(host: Host, remote: Remote) -> None:
    confirmed(host, live(host), write(host, "a"))
    run = begin(remote)
    run.undoing = STANDING
    undo_run(run)
    assert run.errors == []
    assert remote.connections == 1
    assert [row["journal"] for row in run.done] == [f"{ID}/{name}" for name in ("0003", "0002", "0001")]
    assert there(host) == []


def test_no_fresh_connection_no_undo(host: Host, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed(host, live(host), write(host, "a"))
    run = begin(remote)
    run.undoing = STANDING

    def sleep(_: float) -> None:
        if remote.cut and remote.connections == 3:
            remote.cut = False
            host.timer()

    monkeypatch.setattr(confirm, "sleep", sleep)
    remote.cut = True
    undo_run(run)
    assert run.done == []
    assert "could not be confirmed over a fresh connection" in run.errors[0]
    assert run.errors[1:] == [
        "undo: the host has taken it back by itself",
        "undone, and put back by the host: change 0003; change 0002",
        "not reached, so not yet undone: change 0001",
    ]
    assert there(host) == ["first", "a", "live"]


def test_why_an_undo_was_put_back_is_said_before_what_was(host: Host, remote: Remote) -> None:
    failing = Command("test", "go live", script="true", undo="echo no way back; false", commit_confirmed=True)
    confirmed(host, failing, write(host, "a"))
    run = begin(remote)
    run.undoing = STANDING
    undo_run(run)
    assert run.errors == [
        f"undo of change 0002: no way back (to go on without it: --data skip={ID}/0002)",
        "undone, and put back by the host: change 0003",
        "not reached, so not yet undone: change 0001",
    ]
    assert there(host) == ["first", "a"]


def test_what_was_never_armed_is_undone_in_one_execution(host: Host, remote: Remote) -> None:
    host.sh(compile_step(Step("first", (write(host, "first", commit_confirmed=False),)), RUN, 1).script.text)
    run = begin(remote)
    run.undoing = past(("0001", False))
    undo_run(run)
    assert (run.errors, remote.connections, there(host)) == ([], 0, [])


def test_what_the_host_says_waits_is_confirmed_though_the_survey_knew_of_nothing_that_would(
    host: Host, remote: Remote
) -> None:
    """The run that is undone went on after the survey, with a change that could have cut us off."""
    confirmed(host, live(host), write(host, "a"))
    run = begin(remote)
    run.undoing = past(("0001", False))
    undo_run(run)
    assert remote.connections == 1
    assert there(host) == []
    assert not host.armed()
