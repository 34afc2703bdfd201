"""`hullproof history`: what it prints, writes and exits with."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploys.core.control import State
from deploys.report.files import as_json
from hullproof.command import main
from hullproof.history.durations import moment, span, words
from tests.support.history import START, a_history, a_run

P, F = State.PASS, State.FAIL
SINCE = ("--since", "2026-10-31")


def history(*given: str | Path) -> Result:
    return CliRunner().invoke(main, ["history", *map(str, given)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reports = [a_run(24 * day, {"web1": {"a.b": state}}) for day, state in enumerate([P, F, P, F])]
    return a_history(tmp_path / "history", *reports, a_run(96, {"web1": "unreachable"}))


def test_it_says_each_part(folder: Path) -> None:
    done = history("--history", folder, *SINCE)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:4] == [
        "5 runs of 1 host, 2026-11-01 04:00 to 2026-11-05 04:00 UTC",
        "",
        "Moved since 2026-10-31 00:00 UTC:",
        "  web1  a.b  high  pass → fail  2026-11-04 04:00  a.b is fail",
    ]
    assert "Flapping: none" in done.stdout
    assert "  all                   1 mended, mean 1 d  1 open, longest 0 min  mean with open ones 1 d" in done.stdout
    assert "Hosts that never held: none" in done.stdout
    assert "  web1  last judged 2026-11-04 04:00  last tried 2026-11-05 04:00: unreachable" in done.stdout
    assert "  2026-11-05  nothing judged           0 do not hold  0 of 1 host judged" in done.stdout


def test_for_programs_and_as_a_page(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = history("--history", folder, *SINCE, "--json", "--html", page)
    answer = json.loads(done.stdout)
    assert answer["schema"] == 1
    assert answer["moved"][0]["to"] == "fail"
    text = page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert text.count("<svg") == 1
    assert "<td>pass → fail</td>" in text
    assert "<script" not in text


def test_a_page_escapes_what_hosts_say(tmp_path: Path) -> None:
    report = a_run(0, {"<b>web1": {"a.b": F}})
    folder, page = a_history(tmp_path / "history", report, a_run(1, {"<b>web1": {"a.b": P}})), tmp_path / "page.html"
    assert history("--history", folder, *SINCE, "--html", page).exit_code == 0
    assert "<b>" not in page.read_text()
    assert "&lt;b&gt;web1" in page.read_text()


def test_what_could_not_be_read_is_said_and_ends_with_3(folder: Path) -> None:
    broken = folder / "2026-11-03" / "20261103T040000Z-drift.parquet"
    broken.write_bytes(broken.read_bytes()[:99])
    done = history("--history", folder, *SINCE)
    assert done.exit_code == 3
    assert done.stderr == f"hullproof: {broken} cannot be read: it is cut short, or no Parquet file\n"
    assert done.stdout.endswith("A part of the history could not be read: all of this is said of the rest.\n")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--since", "soon"), "'soon' is neither a span of time such as 7d, 36h, 12w nor a date such as 2026-11-30"),
        (("--since", "2999-01-01"), "'2999-01-01' is not in the past"),
        (("--unseen", "2"), "'2' is no span of time such as 7d, 36h, 12w"),
        (("--history", "nowhere"), "there is no history in nowhere: `hullproof history add REPORT` begins one"),
        (("compact", "--history", "nowhere"), "there is no history in nowhere"),
        (("add", "nothing.json"), "Path 'nothing.json' does not exist"),
        (("prune",), "Missing option '--keep'"),
    ],
)
def test_what_makes_no_sense_ends_with_1(given: tuple[str, ...], why: str) -> None:
    done = history(*given)
    assert done.exit_code == 1
    assert why in " ".join(done.stderr.split())


def test_reports_are_added_from_folders(tmp_path: Path) -> None:
    for hour in range(2):
        path = tmp_path / "reports" / str(hour) / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text("".join(as_json(a_run(hour, {"web1": {"a.b": P}}))))
    for counts in ("2 runs added", "0 runs added"):
        done = history("add", tmp_path / "reports", "--history", tmp_path / "history")
        assert (done.exit_code, done.stdout.split(" to ")[0]) == (0, counts)
    assert history("--history", tmp_path / "history", "add", tmp_path / "reports").stdout.endswith("2 there already.\n")


def test_of_several_reports_the_wrong_ones_are_named(tmp_path: Path) -> None:
    good, cut, other = (tmp_path / name for name in ("good.json", "cut.json", "other.json"))
    good.write_text("".join(as_json(a_run(0, {"web1": {"a.b": P}}))))
    cut.write_text(good.read_text()[:-9])
    other.write_text("{}")
    done = history("add", cut, other, good, "--history", tmp_path / "history")
    assert done.exit_code == 1
    assert done.stdout == f"1 run added to {tmp_path / 'history'}, 0 there already.\n"
    assert done.stderr.splitlines() == [
        f"hullproof: {cut}: it is no JSON, or cut short",
        f"hullproof: {other}: it is no report of hullproof's: schema: Field required",
    ]
    (tmp_path / "empty").mkdir()
    assert (
        "cannot be read: No such file" in history("add", tmp_path / "empty", "--history", tmp_path / "history").stderr
    )


def test_its_upkeep(folder: Path) -> None:
    assert history("compact", "--history", folder).stdout == "0 days made one file each.\n"
    done = history("prune", "--history", folder, "--keep", "1000w", "--daily", "1d")
    assert done.stdout == "0 days removed, 5 thinned to each host's last look.\n"
    assert history("prune", "--history", folder, "--keep", "0d").stdout.startswith("5 days removed")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 min"), (3540, "59 min"), (3600, "1 h"), (90061, "1 d 1 h"), (172800, "2 d")]
)
def test_spans_in_words(seconds: float, said: str) -> None:
    assert words(seconds) == said


def test_spans_and_moments() -> None:
    now = datetime(2026, 11, 8, tzinfo=UTC)
    assert span("36h") == timedelta(hours=36)
    assert moment("1w", now) == datetime(2026, 11, 1, tzinfo=UTC)
    assert moment("2026-11-01T05:00:00+01:00", now) == START
    assert moment("2026-11-01", now) == datetime(2026, 11, 1, tzinfo=UTC)
