"""What a history says: moves, flaps, times to mend, hosts that never held, coverage; and nothing of what is absent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploys.core.control import State
from hullproof.history import store
from hullproof.history.answer import Answer, Question
from hullproof.history.database import HistoryError, connect
from hullproof.history.query import ask
from tests.support.history import START, a_history, a_run

P, F, U = State.PASS, State.FAIL, State.UNKNOWN
R, W, N = State.PENDING_REBOOT, State.WAIVED, State.NOT_APPLICABLE
DAY = 86400.0


def asked(folder: Path, since: float = -1, until: float = 240, **more: Any) -> Answer:
    """Hours after START."""
    return ask(folder, Question(START + timedelta(hours=since), START + timedelta(hours=until), **more))


def of_states(folder: Path, states: Sequence[State], control: str = "a.b", **more: Any) -> Answer:
    """A run a day, in each of which web1 has one finding in that state."""
    a_history(folder, *[a_run(24 * day, {"web1": {control: state}}) for day, state in enumerate(states)])
    return asked(folder, **more)


def mended(answer: Answer) -> tuple[Any, ...]:
    everything = answer.mending[0]
    assert (everything["control"], everything["severity"]) == (None, None)
    return everything["mended"], everything["mean_seconds"], everything["open"]


def test_what_moved_and_why(tmp_path: Path) -> None:
    reports = [a_run(24 * day, {"web1": {"a.b": state, "a.c": P}}) for day, state in enumerate([P, P, F])]
    reports[2]["hosts"]["web1"]["findings"][0]["drift"] = {"held": "", "moved": {}, "cause": "package x at noon"}
    (row,) = asked(a_history(tmp_path, *reports)).moved
    assert row == {
        "host": "web1", "control": "a.b", "severity": "high", "from": "pass", "to": "fail",
        "when": "2026-11-03T04:00:00+00:00", "reason": "a.b is fail", "cause": "package x at noon", "changes": 1,
    }  # fmt: skip


@pytest.mark.parametrize("states", [[P, P], [F, F], [U, U], [P, F, P], [N, N]])
def test_what_is_as_it_was_has_not_moved(tmp_path: Path, states: list[State]) -> None:
    assert of_states(tmp_path, states).moved == []


def test_unknown_is_a_state_of_its_own(tmp_path: Path) -> None:
    (row,) = of_states(tmp_path, [P, U]).moved
    assert (row["from"], row["to"]) == ("pass", "unknown")


def test_the_last_look_before_is_what_a_move_starts_from(tmp_path: Path) -> None:
    (row,) = of_states(tmp_path, [P, F, F], since=20).moved
    assert (row["from"], row["when"]) == ("pass", "2026-11-02T04:00:00+00:00")
    assert asked(tmp_path, since=30).moved == []


def test_an_absent_host_has_not_moved(tmp_path: Path) -> None:
    a_history(tmp_path, a_run(0, {"web1": {"a.b": F}, "web2": {"a.b": P}}), a_run(24, {"web2": {"a.b": P}}))
    answer = asked(tmp_path)
    assert answer.moved == []
    assert mended(answer) == (0, None, 1)


@pytest.mark.parametrize("end", ["unreachable", "error"])
def test_a_host_that_did_not_answer_has_not_moved(tmp_path: Path, end: str) -> None:
    answer = asked(a_history(tmp_path, a_run(0, {"web1": {"a.b": F}}), a_run(24, {"web1": end})))
    assert answer.moved == []
    assert mended(answer) == (0, None, 1)


def test_a_run_of_a_part_says_nothing_of_the_rest(tmp_path: Path) -> None:
    part = a_run(24, {"web1": {"a.c": P}}, only={"asked": ["a.c"], "controls": 1, "of": 2})
    answer = asked(a_history(tmp_path, a_run(0, {"web1": {"a.b": F, "a.c": F}}), part))
    assert [(row["control"], row["to"]) for row in answer.moved] == [("a.c", "pass")]
    assert [day["day"] for day in answer.coverage if day["judged_hosts"]] == ["2026-11-01"]
    assert answer.mending[0]["ended_otherwise"] == 0


def test_a_failure_that_is_not_judged_any_more_is_said_and_not_mended(tmp_path: Path) -> None:
    a_history(tmp_path, a_run(0, {"web1": {"a.b": F, "a.c": P, "a.d": P}}), a_run(24, {"web1": {"a.d": P}}))
    answer = asked(tmp_path)
    assert [(row["control"], row["from"], row["to"]) for row in answer.moved] == [("a.b", "fail", None)]
    assert mended(answer) == (0, None, 0)
    assert answer.mending[0]["ended_otherwise"] == 1


def test_a_rollback_judges_nothing(tmp_path: Path) -> None:
    a_history(tmp_path, a_run(0, {"web1": {"a.b": F}}), a_run(24, {"web1": {}}, kind="rollback"))
    answer = asked(tmp_path)
    assert answer.moved == []
    assert answer.mending[0]["open"] == 1
    assert answer.never_held[0]["looks"] == 1


def test_what_changes_often_flaps(tmp_path: Path) -> None:
    (row,) = of_states(tmp_path, [P, F, P, F, U]).flapping
    assert (row["changes"], row["states"], row["now"]) == (4, ["fail", "pass", "unknown"], "unknown")
    assert asked(tmp_path, flaps=4).flapping == []


@pytest.mark.parametrize(
    ("states", "mean", "open_now", "more"),
    [
        ([P, F, P], DAY, 0, {}),
        ([P, F, F, F, P], 3 * DAY, 0, {}),
        ([P, F, P, F, F, F, P], 2 * DAY, 0, {"mended": 2}),
        ([P, F, R, P], 2 * DAY, 0, {}),  # disk is right, the kernel is not yet: that is not mended
        ([P, F, U, P], 2 * DAY, 0, {}),  # not seen is not mended
        ([P, F, U, U], None, 1, {"longest_open_seconds": 2 * DAY}),
        ([P, F, F], None, 1, {"longest_open_seconds": DAY, "open_from_the_first": 0}),
        ([F, F, F], None, 1, {"longest_open_seconds": 2 * DAY, "open_from_the_first": 1}),
        ([U, F, F], None, 1, {"open_from_the_first": 1}),
        ([F, F, P], None, 0, {"mended_from_the_first": 1}),
        ([P, F, W], None, 0, {"ended_otherwise": 1}),
        ([P, F, N, F, P], DAY, 0, {"ended_otherwise": 1}),
        ([P, F, P, F, F, F], DAY, 1, {"with_open_seconds": 3 * DAY}),
    ],
)
def test_the_time_to_mend(
    tmp_path: Path, states: list[State], mean: float | None, open_now: int, more: dict[str, Any]
) -> None:
    answer = of_states(tmp_path, states)
    assert mended(answer)[1:] == (mean, open_now)
    assert {key: answer.mending[0][key] for key in more} == more


def test_the_time_to_mend_by_severity_and_control(tmp_path: Path) -> None:
    rows = of_states(tmp_path, [P, F, P], control="low.b").mending
    assert [(row["control"], row["severity"]) for row in rows] == [(None, None), (None, "low"), ("low.b", "low")]


def test_nothing_broken_has_no_time_to_mend(tmp_path: Path) -> None:
    assert of_states(tmp_path, [P, P]).mending == []


def test_hosts_that_never_held(tmp_path: Path) -> None:
    looks = [
        {"bad": {"a.b": F}, "mended": {"a.b": F}, "blind": {"a.b": U}},
        {"bad": {"a.b": R, "a.c": U}, "mended": {"a.b": P}, "blind": {"a.b": U}},
    ]
    a_history(tmp_path, *[a_run(hour, look) for hour, look in enumerate(looks)])
    assert asked(tmp_path).never_held == [
        {"host": "bad", "looks": 2, "first": "2026-11-01T04:00:00+00:00", "failed": 0, "pending": 1, "unknown": 1}
    ]


def test_coverage_is_of_each_days_last_look(tmp_path: Path) -> None:
    a_history(
        tmp_path,
        a_run(0, {"web1": {"a.b": U, "a.c": U}, "web2": "unreachable"}),
        a_run(1, {"web1": {"a.b": F, "a.c": U, "a.n": N}}),
        a_run(72, {"web2": {"a.b": W}}),
    )
    first, second = asked(tmp_path).coverage
    assert first == {
        "day": "2026-11-01", "hosts": 2, "judged_hosts": 1, "passed": 0, "failed": 1, "pending": 0, "waived": 0,
        "unknown": 1, "demanded": 2, "judged": 1,
    }  # fmt: skip
    assert (second["day"], second["judged"], second["demanded"]) == ("2026-11-04", 1, 1)


def test_hosts_not_judged_lately(tmp_path: Path) -> None:
    a_history(tmp_path, a_run(0, {"old": {"a.b": P}, "dead": "unreachable"}), a_run(72, {"new": {"a.b": P}}))
    rows = asked(tmp_path, until=73).not_judged
    assert [(row["host"], row["last_judged"]) for row in rows] == [("dead", None), ("old", "2026-11-01T04:00:00+00:00")]
    assert (rows[0]["status"], rows[0]["error"]) == ("unreachable", "unreachable: no route")


def test_of_some_hosts_and_controls(tmp_path: Path) -> None:
    day = {"a.b": P, "a.c": P, "x.y": U}
    reports = [a_run(0, {"web1": day, "web2": day}), a_run(24, {"web1": day | {"a.b": F}, "web2": day | {"a.b": F}})]
    a_history(tmp_path, *reports)
    answer = asked(tmp_path, hosts=["web1"], controls=["a.*"])
    assert [(row["host"], row["control"]) for row in answer.moved] == [("web1", "a.b")]
    assert [(row["demanded"], row["judged"], row["failed"]) for row in answer.coverage] == [(2, 2, 0), (2, 2, 1)]
    with pytest.raises(HistoryError, match="no host in the history is called nobody"):
        asked(tmp_path, hosts=["nobody"])
    with pytest.raises(HistoryError, match="no control that was judged since then is called none"):
        asked(tmp_path, controls=["none"])


def test_nothing_since_then_is_no_answer(tmp_path: Path) -> None:
    a_history(tmp_path, a_run(0, {"web1": {"a.b": P}}))
    with pytest.raises(HistoryError, match=r"no run finished since .*: the newest in the history did at 2026-11-01"):
        asked(tmp_path, since=1)
    with pytest.raises(HistoryError, match="there is no history in"):
        asked(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HistoryError, match="there is nothing to read in the history"):
        asked(tmp_path / "empty")


def test_what_may_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(tmp_path, a_run(0, {"web1": {"a.b": P}}))
    (tmp_path / ".lock").unlink()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert asked(tmp_path).runs == 1
    assert not (tmp_path / ".lock").exists()


def test_runs_that_reached_nobody_are_counted(tmp_path: Path) -> None:
    answer = asked(a_history(tmp_path, a_run(0, {}), a_run(1, {"web1": "error"})))
    assert (answer.runs, answer.hosts, answer.moved, answer.mending) == (2, 1, [], [])


@pytest.mark.parametrize("rows", ["SELECT 1 AS one", "SELECT * REPLACE ('good' AS state) FROM read_parquet($files)"])
def test_what_says_that_it_is_ours_and_is_not_costs_itself_alone(tmp_path: Path, rows: str) -> None:
    of_states(tmp_path, [P, F])
    path = tmp_path / "2026-11-01" / "forged.parquet"
    with connect() as database:
        own = {"files": store.files(database, tmp_path).paths()}
        store.write(database, rows, path, {"forged"}, parameters=own if "$files" in rows else None)
    answer = asked(tmp_path)
    assert answer.problems == [f"{path} cannot be read: it is damaged"]
    assert [row["to"] for row in answer.moved] == ["fail"]


def test_what_is_damaged_in_its_middle_is_named_and_the_rest_is_said(tmp_path: Path) -> None:
    of_states(tmp_path, [P, F])
    path = a_history(tmp_path, a_run(48, {"web1": {"a.b": P}})) / "2026-11-03" / "20261103T040000Z-drift.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    answer = asked(tmp_path)
    assert answer.problems == [f"{path} cannot be read: it is damaged"]
    assert [row["to"] for row in answer.moved] == ["fail"]
