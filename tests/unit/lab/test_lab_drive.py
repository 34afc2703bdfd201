"""What a run against a lab host came to: of a host that was not judged nothing is taken for held."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.machine.drive import Result


def result(status: str, error: str | None, *findings: dict[str, str]) -> Result:
    host: dict[str, Any] = {"status": status, "error": error, "findings": list(findings)}
    return Result(1, "drift, policy p: 1 unreachable\n", "", {"hosts": {"a": host}})


@pytest.mark.parametrize("ask", [Result.states, Result.not_holding, lambda ended: ended.reason("nspawn.pids")])
def test_a_host_that_was_not_judged_fails_the_test_with_its_reason(ask: Any) -> None:
    with pytest.raises(AssertionError, match=r"not judged \(unreachable: SSH error \(No existing session\)\)"):
        ask(result("unreachable", "SSH error (No existing session)"))


def test_of_one_that_was_judged_findings_are_told_apart() -> None:
    held = {"control": "nspawn.pids", "state": "pass", "reason": "a"}
    broken = {"control": "nspawn.memory", "state": "fail", "reason": "b"}
    ended = result("error", "nspawn: cannot be planned", held, broken)
    assert ended.states() == {"nspawn.pids": "pass", "nspawn.memory": "fail"}
    assert ended.not_holding() == {"nspawn.memory": "fail: b"}
