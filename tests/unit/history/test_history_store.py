"""Runs in a history: whole or not at all, once, whoever adds them at the same time; and files that cannot be read."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from deploys.core.control import State
from deploys.report.merge import merge
from deploys.report.part import part
from hullproof.history.database import HistoryError, connect, said
from hullproof.history.store import KEY, files, record
from tests.support.history import a_history, a_run

HELD = {"web1": {"a.b": State.PASS}}


def rows(folder: Path, select: str = "count(*)") -> list[tuple[Any, ...]]:
    with connect() as database:
        found = files(database, folder)
        assert found.problems == []
        return database.execute(f"SELECT {select} FROM read_parquet($files)", {"files": found.paths()}).fetchall()


def test_a_run_is_kept_with_its_host_and_finding(tmp_path: Path) -> None:
    folder = tmp_path / "of [web]* 'hosts'"
    assert record(a_run(0, {"web1": {"a.b": State.FAIL, "low.c": State.PASS}}), folder) == ["20261101T040000Z-drift"]
    assert rows(folder, "level, host, control, severity, state, reason, passed, failed") == [
        ("run", None, None, None, None, "", None, None),
        ("host", "web1", None, None, None, "", 1, 1),
        ("finding", "web1", "a.b", "high", "fail", "a.b is fail", None, None),
        ("finding", "web1", "low.c", "low", "pass", None, None, None),
    ]
    assert rows(folder, "DISTINCT run, finished::VARCHAR, kind, policy, part") == [
        ("20261101T040000Z-drift", "2026-11-01 04:00:00", "drift", "baseline", False)
    ]


def test_the_same_run_again_changes_nothing(tmp_path: Path) -> None:
    a_history(tmp_path, a_run(0, HELD))
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.parquet")}
    assert record(a_run(0, HELD), tmp_path) == []
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.parquet")} == before


def test_a_history_is_its_operators_alone(tmp_path: Path) -> None:
    folder = a_history(tmp_path / "history", a_run(0, HELD))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")] if path.is_dir()}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_a_merged_report_is_the_runs_that_it_is_made_of(tmp_path: Path) -> None:
    one, two = a_run(0, HELD), a_run(1, {"web2": {"a.b": State.FAIL}})
    parts = [{**report["run"], "hosts": list(report["hosts"])} for report in (one, two)]
    merged = {**one, "run": {**one["run"], "id": "merged", "parts": parts}, "hosts": one["hosts"] | two["hosts"]}
    assert record(merged, tmp_path) == ["20261101T040000Z-drift", "20261101T050000Z-drift"]
    assert record(one, tmp_path) == []
    assert sorted(rows(tmp_path, "DISTINCT run, host"), key=str) == [
        ("20261101T040000Z-drift", "web1"),
        ("20261101T040000Z-drift", None),
        ("20261101T050000Z-drift", "web2"),
        ("20261101T050000Z-drift", None),
    ]


def test_a_run_that_was_divided_among_processes_is_one_with_all_of_its_hosts(tmp_path: Path) -> None:
    parts = [a_run(hour, hosts, id="r1") for hour, hosts in enumerate((HELD, {"web2": {"a.b": State.FAIL}}))]
    assert record(merge(parts), tmp_path) == ["r1"]
    assert rows(tmp_path, "level, host, finished::VARCHAR, policy") == [
        ("run", None, "2026-11-01 05:00:00", "baseline"),
        ("host", "web1", "2026-11-01 05:00:00", "baseline"),
        ("host", "web2", "2026-11-01 05:00:00", "baseline"),
        ("finding", "web1", "2026-11-01 05:00:00", "baseline"),
        ("finding", "web2", "2026-11-01 05:00:00", "baseline"),
    ]


def test_a_part_of_a_report_does_not_take_the_runs_place(tmp_path: Path) -> None:
    whole = a_run(0, HELD)
    with pytest.raises(HistoryError, match=r"it is a part of a report \(report show\): add the whole one"):
        record(part(whole, hosts=["web1"], states=["fail"]), tmp_path)
    assert record(whole, tmp_path) == [whole["run"]["id"]]


def _record(number: int, folder: Path) -> None:
    record(a_run(0, HELD, id=f"run-{number}"), folder)
    record(a_run(0, HELD, id="the-same"), folder)


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_record, args=(number, tmp_path)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(rows(tmp_path, "DISTINCT run")) == [("run-0",), ("run-1",), ("run-2",), ("the-same",)]
    assert rows(tmp_path) == [(4 * 3,)]
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda report: report.pop("run"), "it is no report of hullproof's: run: Field required"),
        (lambda report: report.pop("schema"), "it is no report of hullproof's: schema: Field required"),
        (lambda report: report.update(schema=2), "it is a report of a newer hullproof (schema 2): this one reads 1"),
        (lambda report: report["run"].update(id="../x"), "run.id: Value error, a run's id has letters"),
        (lambda report: report["run"].update(finished="soon"), "run.finished: Input should be a valid datetime"),
        (
            lambda report: report["run"].update(finished="2026-11-01T04:00:00"),
            "Input should have timezone info",
        ),
        (
            lambda report: report["run"].update(finished="0001-01-01T00:00:00+05:00"),
            "run.finished: Value error, a run ends",
        ),
        (lambda report: report["hosts"]["web1"]["findings"][0].update(state="good"), "hosts.web1.findings.0.state: "),
    ],
)
def test_what_is_no_report_is_refused_by_key(tmp_path: Path, spoil: Any, why: str) -> None:
    report = a_run(0, HELD)
    spoil(report)
    with pytest.raises(HistoryError) as error:
        record(report, tmp_path)
    assert why in str(error.value)
    assert not list(tmp_path.rglob("*.parquet"))


def test_what_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="it is no report of hullproof's"):
        record([], tmp_path)  # type: ignore[arg-type]


def test_text_of_a_forged_report_is_cleaned(tmp_path: Path) -> None:
    report = a_run(0, {"web1": {"a.b": State.FAIL}})
    report["hosts"]["web1"]["findings"][0]["reason"] = "x\x1b[31m\n"
    report["run"]["policy"] = "p\ud800"
    record(report, tmp_path)
    assert rows(tmp_path, "max(reason), max(policy)") == [("x ", "p\ufffd")]


def spoiled(folder: Path, how: str) -> Path:
    path = folder / "2026-11-01" / "other.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    if how == "cut short":
        a_history(folder / "whole", a_run(5, HELD, id="other"))
        shutil.move(folder / "whole" / "2026-11-01" / "other.parquet", path)
        path.write_bytes(path.read_bytes()[:-20])
    elif how == "empty":
        path.touch()
    else:
        claim = {"newer": {"schema": 2, "runs": ["x"]}, "of no run": {"schema": 1, "runs": []}}.get(how)
        about = f", KV_METADATA {{'{KEY}': '{json.dumps(claim)}'}}" if claim else ""
        duckdb.connect().execute(f"COPY (SELECT 1 AS one) TO '{path}' (FORMAT parquet{about})")
    return path


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("cut short", "cannot be read: it is cut short, or no Parquet file"),
        ("empty", "cannot be read: it is cut short, or no Parquet file"),
        ("another's", "is not of hullproof's history: another program has written it"),
        ("of no run", "is not of hullproof's history: another program has written it"),
        ("newer", "is of schema 2, and this hullproof reads 1: use the newer one"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_read(tmp_path: Path, how: str, why: str) -> None:
    path = spoiled(a_history(tmp_path, a_run(0, HELD)), how)
    with connect() as database:
        found = files(database, tmp_path)
    assert found.problems == [f"{path} {why}"]
    assert [file.path.name for file in found.good] == ["20261101T040000Z-drift.parquet"]


def test_a_run_whose_file_is_cut_short_is_added_again(tmp_path: Path) -> None:
    path = spoiled(tmp_path, "cut short")
    assert record(a_run(5, HELD, id="other"), tmp_path) == ["other"]
    assert rows(tmp_path, "DISTINCT run") == [("other",)]
    assert path.stat().st_size > 1000


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError, match="cannot be used as a history: Not a directory"):
        record(a_run(0, HELD), tmp_path / "file" / "history")
    (tmp_path / "2026-11-01").touch()
    with pytest.raises(HistoryError, match=r"20261101T040000Z-drift.parquet could not be written: "):
        record(a_run(0, HELD), tmp_path)


def test_a_full_disk_leaves_the_history_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(tmp_path, a_run(0, HELD))
    before = sorted(tmp_path.rglob("*"))

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hullproof.history.store._sync", full)
    with pytest.raises(HistoryError, match="could not be written: No space left on device"):
        record(a_run(1, HELD), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_of_the_system_is_said_in_its_words() -> None:
    text = 'IO Error: Async write failed: {"exception_type":"IO","exception_message":"Could not write","errno":"28"}'
    assert said(duckdb.IOException(text)) == "No space left on device"
    assert said(duckdb.Error("Binder Error: one\n\nLINE 1: two")) == "Binder Error: one"


def test_without_duckdb_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(HistoryError, match=r"the history needs DuckDB: pip install 'hullproof\[history\]'"):
        record(a_run(0, HELD), tmp_path)
