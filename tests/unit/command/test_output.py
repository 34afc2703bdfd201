"""`--output`: the report alone on stdout, in each of its forms, and one error where that cannot be."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploys.core.control import State
from hullproof import output, running
from hullproof.command import main
from tests.support.entry_points import ROOT
from tests.support.report import a_report, finding

REPORT = a_report(finding(State.FAIL, reason="icc is true …"))
STARTS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "sarif": lambda text: json.loads(text)["runs"],
    "junit": ET.fromstring,
    "md": lambda text: text.index("## hullproof drift"),
    "oscal": lambda text: json.loads(text)["assessment-results"],
}


@pytest.mark.parametrize("form", output.FORMS)
def test_each_form_is_rendered(form: str) -> None:
    text = output.render(REPORT, form)
    assert text.endswith("\n")
    STARTS[form](text)


def asked(monkeypatch: pytest.MonkeyPatch, ended: running.Ended, *words: str) -> tuple[Result, list[Any]]:
    """The command's end, and where the run's own words went."""
    went: list[Any] = []

    def start(command: Sequence[str], stdout: Any = None) -> running.Ended:
        assert not any("output" in word for word in command)  # pyinfra knows no such option
        went.append(stdout)
        return ended

    monkeypatch.setattr(running, "start", start)
    return CliRunner().invoke(main, ["drift", "@local", *words]), went


@pytest.fixture
def ended(tmp_path: Path) -> running.Ended:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    return running.Ended(2, REPORT["run"]["id"], tmp_path / "report.json")


def test_without_it_stdout_is_the_runs(monkeypatch: pytest.MonkeyPatch, ended: running.Ended) -> None:
    result, went = asked(monkeypatch, ended)
    assert (result.exit_code, result.stdout, went) == (2, "", [None])


def test_the_exit_code_stays_the_runs(monkeypatch: pytest.MonkeyPatch, ended: running.Ended) -> None:
    result, went = asked(monkeypatch, ended, "--output", "json")
    assert json.loads(result.stdout) == REPORT
    assert result.exit_code == 2
    assert went != [None]


def test_without_a_report_stdout_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = asked(monkeypatch, running.Ended(1, problem="pyinfra exited 0"), "--output", "junit")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("hullproof: there is no report to print. Exit code 1.\n")


def test_a_form_that_there_is_none_of_is_named(monkeypatch: pytest.MonkeyPatch, ended: running.Ended) -> None:
    result, went = asked(monkeypatch, ended, "--output", "xml")
    assert (result.exit_code, went) == (1, [])
    assert "'json', 'sarif', 'junit', 'md'" in result.stderr


def test_a_full_disk_behind_stdout_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(Full()), write_through=True))
    assert output.put(REPORT, "json") == "the report could not be written to standard output: No space left on device"
    monkeypatch.undo()


def test_a_real_run_prints_the_report_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hullproof", "drift", "@local", "--output", "json", "--report", "out"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C"}, capture_output=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "out/report.json").read_bytes())
    assert done.returncode == report["exit_code"]
    assert b"Connecting to hosts" in done.stderr
