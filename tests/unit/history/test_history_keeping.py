"""A history kept small: it says the same, whatever is killed in the middle and whoever is at it."""

from __future__ import annotations

import contextlib
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from deploys.core.control import State
from hullproof.history import keeping, store
from hullproof.history.answer import Answer, Question
from hullproof.history.database import HistoryError
from hullproof.history.keeping import compact, prune
from hullproof.history.query import ask
from hullproof.history.store import record
from tests.support.history import START, a_history, a_run

LONG = timedelta(days=3650)
P, F = State.PASS, State.FAIL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs on each of two days."""
    reports = [
        a_run(24 * day + hour, {"web1": {"a.b": state}, "web2": {"a.b": P}})
        for day in range(2)
        for hour, state in enumerate([P, F, P])
    ]
    return a_history(tmp_path / "history", *reports)


def said(folder: Path) -> Answer:
    return ask(folder, Question(START - timedelta(hours=1), START + timedelta(days=9)))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))


def test_a_day_becomes_one_file_that_says_the_same(folder: Path) -> None:
    before = said(folder)
    assert compact(folder).days == ["2026-11-01", "2026-11-02"]
    assert names(folder) == ["2026-11-01/_day.parquet", "2026-11-02/_day.parquet"]
    assert said(folder) == before
    assert compact(folder).days == []
    assert record(a_run(0, {"web1": {"a.b": P}}), folder) == []


def test_today_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "today", lambda: "2026-11-02")
    assert compact(folder).days == ["2026-11-01"]


def test_a_run_added_later_is_taken_up(folder: Path) -> None:
    compact(folder)
    record(a_run(5, {"web3": {"a.b": F}}), folder)
    assert said(folder).hosts == 3
    assert compact(folder).days == ["2026-11-01"]
    assert said(folder).hosts == 3


def test_killed_between_the_days_file_and_the_removals_nothing_counts_twice(folder: Path) -> None:
    before, copy = said(folder), folder.with_name("copy")
    shutil.copytree(folder, copy)
    compact(folder)
    for path in copy.rglob("2026*.parquet"):
        shutil.copy(path, folder / path.relative_to(copy))
    assert said(folder) == before
    compact(folder)
    assert names(folder) == ["2026-11-01/_day.parquet", "2026-11-02/_day.parquet"]


def test_killed_while_it_writes_nothing_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names(folder)
    with monkeypatch.context() as broken, contextlib.suppress(KeyboardInterrupt):
        broken.setattr("os.replace", _killed)
        compact(folder)
    assert names(folder) == before
    left = [folder / "2026-11-01" / "._day.parquet.77", folder / ".77.0a1b2c3d.lines"]  # by a kill -9
    for path in left:
        path.touch()
    compact(folder)
    assert not [path for path in left if path.exists()]


def _killed(*args: object) -> None:
    raise KeyboardInterrupt


def test_old_days_go_and_their_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "today", lambda: "2026-11-12")
    assert prune(folder, timedelta(days=10)).removed == ["2026-11-01"]
    assert [path.name for path in sorted(folder.iterdir())] == [".lock", "2026-11-02"]


def test_of_older_days_each_hosts_last_whole_look_is_kept(folder: Path) -> None:
    part = a_run(6, {"web1": {"a.b": F}}, only={"asked": ["a.b"], "controls": 1, "of": 2})
    a_history(folder, a_run(4, {"web3": {"a.b": F}}), a_run(5, {"web3": "unreachable", "web4": "unreachable"}), part)
    before = said(folder).coverage
    assert prune(folder, LONG, timedelta(days=1)).days == ["2026-11-01", "2026-11-02"]
    answer = said(folder)
    assert answer.coverage == before
    assert answer.runs == 4  # web1's and web2's last, twice; web3's, web4's
    assert answer.mending[0]["mended"] == 0
    assert prune(folder, LONG, timedelta(days=1)).days == []


def test_files_of_others_stay_and_are_named(folder: Path) -> None:
    other = folder / "2026-11-01" / "other.parquet"
    other.write_bytes(b"PAR1")
    for kept in (compact(folder), prune(folder, timedelta(days=1))):
        assert kept.problems == [f"{other} cannot be read: it is cut short, or no Parquet file"]
    assert names(folder) == ["2026-11-01/other.parquet"]


@pytest.mark.parametrize("do", [compact, lambda folder: prune(folder, timedelta(0))])
def test_while_others_read_or_add_it_waits_for_another_time(folder: Path, do: object) -> None:
    before = names(folder)
    with store.locked(folder), pytest.raises(HistoryError, match="is in use by another hullproof"):
        do(folder)  # type: ignore[operator]
    assert names(folder) == before
    assert keeping.compact(folder).days


def test_nothing_is_made_where_no_history_is(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no history in"):
        compact(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
