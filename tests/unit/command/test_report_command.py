"""`hullproof report show|diff|merge` as an operator types it."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploys.core.control import State
from deploys.report import files
from deploys.report.reading import read
from deploys.report.report import HostReport, Run, build
from hullproof.command import main
from tests.support.report import finding


def hullproof(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, words)])


def written(folder: Path, hosts: dict[str, Sequence[State]], run: str = "a", **more: Any) -> Path:
    parts = [
        HostReport(name, "ok", findings=[finding(state, f"boat.c{at}", live=at) for at, state in enumerate(states)])
        for name, states in hosts.items()
    ]
    times = {"started": "2026-01-02T03:04:05Z", "finished": "2026-01-02T03:04:09Z", "policy": "baseline"}
    files.write(folder, build(Run(id=run, kind="drift", **{**times, **more}), parts))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    states = [State.PASS, State.FAIL]
    return written(tmp_path / "r", {"web1": states, "web2": states, "db1": [State.PASS, State.UNKNOWN]})


def test_a_report_is_shown_as_its_run_did(folder: Path) -> None:
    shown = hullproof("show", folder)
    assert shown.exit_code == 0
    assert "boat.c1: icc is true" in shown.output
    assert "3 ok; 3 pass, 2 fail, 1 unknown" in " ".join(shown.output.split())
    assert hullproof("show", folder / "report.json").output == shown.output


def test_a_part_is_shown_with_all_that_is_known(folder: Path) -> None:
    shown = hullproof("show", folder, "--control", "boat.c1", "--state", "fail").output
    assert shown == (
        "fail  boat.c1 (high)\n  Title of boat.c1.\n  2 hosts: web1, web2\n  reason: icc is true\n  live: 1\n"
    )
    assert "3 hosts" in hullproof("show", folder, "--control", "boat", "--state", "pass").output
    assert "db1" not in hullproof("show", folder, "--host", "web*").output
    assert hullproof("show", folder, "--state", "waived").output == "No finding of this report is so.\n"


@pytest.mark.parametrize("form", ["json", "sarif", "junit", "md"])
def test_other_forms_say_that_they_are_a_part(folder: Path, form: str) -> None:
    shown = hullproof("show", folder, "--host", "db1", "--format", form)
    assert shown.exit_code == 0
    assert "web1" not in shown.output
    if form == "json":
        found = json.loads(shown.output)
        assert (found["exit_code"], found["summary"]["findings"]["fail"]) == (2, 0)
        assert found["run"]["shown"]["hosts"] == ["db1"]
    if form == "md":
        assert "`this is a part of a report, and the exit code that of the whole run` (exit code 2)" in shown.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "wbe1"], 'no host of this report is called "wbe1"; did you mean "web1"?'),
        (["--control", "boat.c9"], 'no control or subject of this report is called "boat.c9"; did you mean "boat.c'),
        (["--state", "good"], "'good' is not one of"),
        (["--format", "pdf"], "'pdf' is not one of"),
    ],
)
def test_what_the_report_does_not_have_is_refused(folder: Path, words: list[str], said: str) -> None:
    shown = hullproof("show", folder, *words)
    assert shown.exit_code == 1
    assert said in shown.output


def test_worse_ends_with_2_and_not_worse_with_0(folder: Path, tmp_path: Path) -> None:
    now = written(tmp_path / "now", {"web1": [State.FAIL, State.PASS], "web2": [State.PASS, State.FAIL]})
    found = hullproof("diff", folder, now)
    assert found.exit_code == 2
    assert (
        found.output
        == """\
Worse:
  boat.c0 on web1: pass -> fail
    icc is true
    cause: not known
  db1: ok -> not judged
Still does not hold:
  boat.c1 on web2: fail
    icc is true
Mended:
  boat.c1 on web1: fail -> pass
2 worse, 1 mended, 1 not holding still, 0 moved.
"""
    )
    assert hullproof("diff", folder, folder).exit_code == 0
    mended = written(tmp_path / "m", {name: [State.PASS] * 2 for name in ("web1", "web2", "db1")})
    assert hullproof("diff", folder, mended).exit_code == 0


def test_a_part_is_compared_and_merged_with_nothing(folder: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    part.write_text(hullproof("show", folder, "--state", "pass", "--format", "json").output)
    for done in (hullproof("diff", part, folder), hullproof("diff", folder, part), hullproof("merge", part, "-o", "x")):
        assert done.exit_code == 1
        assert "a part of a report" in done.output
    assert hullproof("show", part).exit_code == 0


def test_several_become_one(folder: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "b", {"db9": [State.PASS]}, run="b", policy="strict")
    done = hullproof("merge", folder, other, "-o", tmp_path / "all")
    assert done.exit_code == 2
    assert "These are runs of different policies: baseline (a); strict (b)." in done.output
    merged = read(tmp_path / "all")
    assert list(merged["hosts"]) == ["web1", "web2", "db1", "db9"]
    assert {path.name for path in (tmp_path / "all").iterdir()} == {path.name for path in folder.iterdir()}
    assert stat.S_IMODE((tmp_path / "all" / "report.json").stat().st_mode) == 0o600


def test_what_cannot_be_merged_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    again = written(tmp_path / "b", {"db1": [State.PASS]}, run="b")
    done = hullproof("merge", folder, again, "-o", tmp_path / "all")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "db1" in done.output
    assert not (tmp_path / "all").exists()
    before = (folder / "report.json").read_bytes()
    refused = hullproof("merge", folder / "report.json", "-o", folder)
    assert (refused.exit_code, (folder / "report.json").read_bytes()) == (1, before)
    assert "name another" in refused.output


def test_a_merge_that_cannot_be_written_ends_with_1(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hullproof("merge", folder, "-o", tmp_path / "file")
    assert done.exit_code == 1
    assert "could not be written" in done.output


@pytest.mark.parametrize(
    "words", [["show", "BAD"], ["diff", "BAD", "GOOD"], ["diff", "GOOD", "BAD"], ["merge", "BAD", "-o", "x"]]
)
def test_bad_input_ends_with_1_and_one_sentence(folder: Path, tmp_path: Path, words: list[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes((folder / "report.json").read_bytes()[:200])
    done = hullproof(*({"BAD": str(bad), "GOOD": str(folder)}.get(word, word) for word in words))
    assert (done.exit_code, done.output) == (1, f"Error: {bad}: cut short: it ends in the middle\n")
