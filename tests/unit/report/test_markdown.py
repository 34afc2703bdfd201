"""The report as Markdown: what a reader of a pull request sees, and that nothing in it is a host's markup."""

from __future__ import annotations

import re

import pytest

from deploys.core.control import State
from deploys.report.markdown import code_span, markdown
from deploys.report.report import HostReport, build
from tests.support.report import a_report, a_run, finding


def test_the_summary() -> None:
    hosts = [HostReport(name, "ok", findings=[finding(State.PASS, "boat.a"), finding(State.FAIL)]) for name in "ab"]
    said = markdown(build(a_run(), [*hosts, HostReport("c", "unreachable", "no route")]))
    assert (
        said
        == """\
## hullproof drift: not clear

`no answer from c` (exit code 1).

Policy `baseline` · hosts: 2 ok, 1 unreachable · run `20260102-030405`, 2026-01-02T03:04:09+00:00

| fail | pending-restart | pending-reboot | unknown | pass | waived | not applicable |
|---:|---:|---:|---:|---:|---:|---:|
| 2 | 0 | 0 | 0 | 2 | 0 | 0 |

### Hosts that were not judged to the end

- `c`: unreachable: `no route`

### What does not hold

- **fail** `boat.icc` (high) on 2 hosts: `a`, `b`
  - `icc is true`
"""
    )


def test_a_run_that_holds_is_short() -> None:
    said = markdown(a_report(finding(State.PASS)))
    assert said.startswith("## hullproof drift: holds\n\n`everything holds` (exit code 0).\n")
    assert "###" not in said


@pytest.mark.parametrize("text", ["", "a", "`", "``", "a`b", "`@all`", "a``` b", "<b> @team #12 [x](y) |"])
def test_nothing_gets_out_of_a_code_span(text: str) -> None:
    """As CommonMark reads it: a span ends with a run of as many backquotes as it began with."""
    span = code_span(text)
    fence = re.match("`+", span)
    assert fence
    inside = span[len(fence[0]) : -len(fence[0])]
    assert len(fence[0]) not in [len(run) for run in re.findall("`+", inside)]
    assert not inside.startswith("`")
    assert not inside.endswith("`")
    assert inside.strip() == text.strip()


def test_the_size_is_bounded() -> None:
    hosts = [
        HostReport(f"host{number}.example.net", "ok", findings=[
            finding(State.FAIL, f"boat.c{control}", f"{number} {'x' * 1990}") for control in range(60)
        ])
        for number in range(60)
    ]  # fmt: skip
    said = markdown(build(a_run(), hosts))
    assert len(said) < 65_000
    assert "`host9.example.net` and 50 more" in said
    assert "- and 57 more reasons" in said
    assert "- and 20 more controls" in said
