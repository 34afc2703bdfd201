"""A look of a watch: what is kept, and what a look that goes wrong loses: nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploys.core.control import State as Verdict
from deploys.report import files as report_files
from deploys.report.report import HostReport, build
from hullproof import running
from hullproof.watching.look import Look, look
from hullproof.watching.state import State
from hullproof.watching.units import WatchError
from tests.support.report import a_report, a_run, finding

GOOD = a_report(finding(Verdict.FAIL))
NOBODY = build(a_run(), [])
GONE = build(a_run(), [HostReport("web1", "unreachable", "timed out")])


class Runs:
    """In place of drift runs: the reports that come of them, one after the other, None for a run without; and with what
    options they were asked for."""

    def __init__(self, *reports: dict[str, Any] | None) -> None:
        self.reports = list(reports)
        self.asked: list[dict[str, str]] = []

    def __call__(self, command: Sequence[str]) -> running.Ended:
        assert command[1].endswith("/drift.py")
        self.asked.append(dict(word.split("=", 1) for word in command if "=" in word))
        report = self.reports.pop(0)
        if report is None:
            return running.Ended(1, problem="pyinfra exited 0")
        folder = Path(self.asked[-1]["report"])
        assert report_files.write(folder, report) == []
        return running.Ended(report["exit_code"], report["run"]["id"], folder / "report.json")


@pytest.fixture
def asked(tmp_path: Path) -> Look:
    (tmp_path / "fleet.py").write_text("hosts = ['web1']\n")
    (tmp_path / "metrics").mkdir()
    return Look("fleet", tmp_path / "fleet.py", State(tmp_path / "state"), keep=2, metrics=tmp_path / "metrics")


def looks(asked: Look, monkeypatch: pytest.MonkeyPatch, *reports: dict[str, Any] | None) -> tuple[list[int], Runs]:
    runs = Runs(*reports)
    monkeypatch.setattr(running, "start", runs)
    return [look(asked) for _ in reports], runs


def metrics(asked: Look) -> str:
    assert asked.metrics
    return (asked.metrics / "hullproof-fleet.prom").read_text()


def test_the_newest_reports_are_kept_whatever_the_second(asked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, runs = looks(asked, monkeypatch, GOOD, GOOD, GOOD)
    assert codes == [2, 2, 2]
    assert [path.name for path in asked.state.kept()] == [Path(row["report"]).name for row in runs.asked[:0:-1]]


def test_its_page_says_what_is_new_since_the_look_before(asked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    first = a_report(finding(Verdict.PASS))
    looks(asked, monkeypatch, {**first, "run": {**first["run"], "id": "first"}}, None, GOOD)
    new, old = (path / "report.html" for path in asked.state.kept())
    assert "There was no earlier report" not in new.read_text()
    assert "There was no earlier report" in old.read_text(), "it stays as it was"


def test_others_files_beside_the_reports_stay(asked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    (asked.state.reports / "mine").mkdir(parents=True)
    looks(asked, monkeypatch, GOOD, GOOD, GOOD)
    assert (asked.state.reports / "mine").is_dir()


def test_the_policy_and_what_systemd_hands_over_are_the_runs(
    asked: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ssh_key").write_text("key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    _, runs = looks(Look("fleet", asked.inventory, asked.state, policy="strict"), monkeypatch, GOOD)
    assert {key: value for key, value in runs.asked[0].items() if key != "report"} == {
        "policy": "strict",
        "ssh_key": str(tmp_path / "ssh_key"),
    }


def test_the_metrics_are_everybodys_to_read(asked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o077)
    try:
        looks(asked, monkeypatch, GOOD)
    finally:
        os.umask(before)
    assert asked.metrics
    assert [(path.name, path.stat().st_mode & 0o777) for path in asked.metrics.iterdir()] == [
        ("hullproof-fleet.prom", 0o644)
    ]
    assert 'hullproof_watch_exit_code{watch="fleet"} 2' in metrics(asked)


def test_when_a_host_was_judged_outlasts_looks_that_do_not_reach_it(
    asked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, _ = looks(asked, monkeypatch, GOOD, NOBODY, GONE)
    assert codes == [2, 1, 1]
    assert 'hullproof_host_survey_timestamp_seconds{watch="fleet",host="web1"} 1767323049' in metrics(asked)


def test_a_look_without_a_report_leaves_reports_and_the_series_of_the_newest(
    asked: Look, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes, _ = looks(asked, monkeypatch, None, GOOD, GOOD, None)
    assert codes == [1, 2, 2, 1]
    assert len(asked.state.kept()) == 2
    assert 'hullproof_host_up{watch="fleet",host="web1"} 1' in metrics(asked)
    assert 'hullproof_watch_exit_code{watch="fleet"} 1' in metrics(asked)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "hullproof: pyinfra exited 0; the reports of earlier looks are kept"
    )


def test_an_inventory_that_is_not_there_is_one_error(asked: Look, capsys: pytest.CaptureFixture[str]) -> None:
    asked.inventory.unlink()
    assert look(asked) == 1
    assert capsys.readouterr().err == (
        f"hullproof: the inventory {asked.inventory} cannot be read: No such file or directory\n"
    )
    assert 'hullproof_watch_exit_code{watch="fleet"} 1' in metrics(asked)


def test_a_disk_that_is_full_is_said_and_the_old_metrics_stay(
    asked: Look, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(asked, monkeypatch, GOOD)
    before = metrics(asked)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hullproof.watching.look.write_whole", full)
    monkeypatch.setattr("hullproof.watching.state.write_whole", full)
    codes, _ = looks(asked, monkeypatch, GOOD)
    assert codes == [1]
    assert metrics(asked) == before
    assert capsys.readouterr().err.splitlines() == [
        "hullproof: when hosts were judged could not be kept: [Errno 28] No space left on device",
        "hullproof: the metrics could not be written: [Errno 28] No space left on device",
    ]


def test_a_second_look_says_who_is_at_it_and_ends(asked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        asked.state.locked(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        pytest.raises(WatchError, match=rf"\(process {os.getpid()} since 2026-01-02 03:04:05 UTC\), so this one ends"),
    ):
        look(asked)
    assert looks(asked, monkeypatch, GOOD)[0] == [2]


def test_a_lock_that_names_nobody_holds_too(asked: Look) -> None:
    asked.state.folder.mkdir()
    with (asked.state.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WatchError, match=re.escape("(another process)")):
            look(asked)


def test_a_folder_that_cannot_be_made_is_one_error(asked: Look) -> None:
    asked.state.folder.write_text("a file")
    with pytest.raises(WatchError, match="the folder of the watch cannot be used: "):
        look(asked)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"web1": "soon"}', '{"web1": null}'])
def test_times_that_cannot_be_read_are_begun_again(asked: Look, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    asked.state.folder.mkdir()
    (asked.state.folder / "surveyed.json").write_text(text)
    assert looks(asked, monkeypatch, GOOD)[0] == [2]
    assert asked.state.surveyed() == {"web1": 1767323049.0}


def test_a_folder_of_another_user_is_not_looked_into(asked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.state.folder.mkdir()
    owner = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(WatchError, match=f"{asked.state.folder} belongs to the user {owner}: look as that user"):
        look(asked)


def test_an_inventory_that_breaks_takes_nothing_away(
    asked: Look, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report of no host is none: its metrics would have every alert end."""
    looks(asked, monkeypatch, GOOD)
    kept = asked.state.kept()
    codes, _ = looks(asked, monkeypatch, NOBODY, NOBODY, NOBODY)
    assert codes == [1, 1, 1]
    assert asked.state.kept() == kept == list(asked.state.reports.iterdir())
    assert 'hullproof_finding{watch="fleet",host="web1",control="boat.icc",severity="high",state="fail"} 1' in metrics(
        asked
    )
    assert 'hullproof_watch_exit_code{watch="fleet"} 1' in metrics(asked)
    assert capsys.readouterr().err.splitlines()[0] == (
        "hullproof: no host was found; the reports of earlier looks are kept"
    )
