"""`hullproof verify`: what pytest is asked, and what its end means."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hullproof.command import main
from hullproof.commands import verify


def proof(outcome: str, settled: str = "yes") -> dict[str, Any]:
    return {"outcome": outcome, "settled": settled}


PASSED, FAILED, LOST, SKIPPED = proof("passed"), proof("failed"), proof("failed", ""), proof("skipped", "")


@pytest.mark.parametrize(
    ("status", "rows", "code"),
    [
        (0, [PASSED, SKIPPED], 0),
        (1, [PASSED, FAILED], 2),
        (1, [FAILED, LOST], 1),
        (1, [PASSED], 1),
        (0, [SKIPPED], 1),
        (0, [], 1),
        *((status, rows, 1) for status in (2, 3, 4, 5, -9) for rows in ([], [PASSED])),
    ],
)
def test_only_attempts_that_were_made_count(status: int, rows: list[dict[str, Any]], code: int) -> None:
    found, why = verify.ended(status, rows)
    assert found == code
    assert bool(why) == (code == 1)


STAND_IN = "import json, sys; open(sys.argv[-1].split('=')[1], 'w').write({rows!r}); sys.exit({status})"


def test_the_command_has_pytest_say_what_each_proof_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = json.dumps([PASSED, FAILED])
    monkeypatch.setattr(verify, "PYTEST", (sys.executable, "-c", STAND_IN.format(rows=rows, status=1)))
    words = ["verify", "@local", "--limit", "a", "--policy", "strict", "--data", "_sudo_password=x"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2, result.output
    assert result.stderr == (
        f"runs: pytest {verify.PROOFS} --inventory=@local --limit=a '--data=_sudo_password=***' --data=policy=strict\n"
    )


def test_without_a_proof_it_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(main, ["verify", "nosuch/inventory.py"])
    assert result.exit_code == 1
    assert "no proof was made" in result.stderr
