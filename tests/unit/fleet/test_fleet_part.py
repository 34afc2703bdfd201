"""A part whose process cannot be started, is killed, or leaves no report that can be read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hullproof.fleet import part
from hullproof.fleet.part import Carried
from hullproof.fleet.parts import Part
from tests.support.fleet import JOB

HOSTS = Part(("a", "b"))


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        (["/no/such/program"], "could not be carried out: [Errno 2]"),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], "a signal ended pyinfra (SIGKILL)"),
        ([sys.executable, "-c", "pass"], "pyinfra exited 0 before the run came to its end"),
    ],
)
def test_it_costs_its_own_hosts(monkeypatch: pytest.MonkeyPatch, launch: list[str], said: str) -> None:
    monkeypatch.setattr(part, "LAUNCH", launch)
    end = part.carry_out(JOB, HOSTS).end(HOSTS)
    assert said in end.problem
    assert end.lacking() == ["a", "b"]


def test_without_a_folder_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert "could not be carried out: [Errno 2]" in part.carry_out(JOB, HOSTS).problem


@pytest.mark.parametrize(
    "report", [b"{", b"[]", b'{"rows": []}', b'{"rows": [], "report": {"hosts": {"a": {"findings": [0]}}}}']
)
def test_a_report_that_cannot_be_read(report: bytes) -> None:
    assert Carried(report).end(HOSTS).problem.startswith("its report could not be read")
