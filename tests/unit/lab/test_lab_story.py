"""A story of the lab that breaks shows where, and says nothing more; other stories go on."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

STORY = """
import pytest

pytestmark = pytest.mark.story

@pytest.fixture(scope="module")
def vm(distribution):
    assert distribution != BARRED, "the host does not start"
    return distribution

def test_before(vm): pass
def test_hardened(vm): assert vm != "debian12"
def test_after(vm): pass
def test_undone(vm): pass
"""


def results(pytester: pytest.Pytester, **modules: str) -> dict[str, str]:
    """What became of each test, by its name, and why where it was skipped."""
    pytester.makepyfile(**modules)
    ran = pytester.inline_run("-p", "tests.lab.conftest", "-p", "no:cacheprovider", "-W", "ignore")
    found: dict[str, str] = {}
    for report in ran.getreports("pytest_runtest_logreport"):
        assert isinstance(report, pytest.TestReport)
        if report.when == "call" or report.outcome != "passed":
            why = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
            found[report.nodeid.partition("::")[2]] = f"{report.outcome} {why}".strip()
    return found


def test_what_comes_after_a_step_that_failed_is_skipped_on_that_host_alone(pytester: pytest.Pytester) -> None:
    found = results(pytester, test_one=f"BARRED = None\n{STORY}")
    why = "skipped an earlier step of this story failed: test_hardened[debian12]"
    assert found == {
        "test_before[debian12]": "passed",
        "test_hardened[debian12]": "failed",
        "test_after[debian12]": why,
        "test_undone[debian12]": why,
        **dict.fromkeys([f"test_{name}[debian13]" for name in ("before", "hardened", "after", "undone")], "passed"),
    }


def test_a_host_that_does_not_start_is_tried_once(pytester: pytest.Pytester) -> None:
    found = results(pytester, test_one=f"BARRED = 'debian13'\n{STORY}")
    assert found["test_before[debian13]"] == "failed"
    why = "skipped an earlier step of this story failed: test_before[debian13]"
    assert {found[f"test_{name}[debian13]"] for name in ("hardened", "after", "undone")} == {why}


def test_tests_that_are_no_steps_and_other_modules_go_on(pytester: pytest.Pytester) -> None:
    loose = "def test_bad(): assert 0\ndef test_good(): pass\n"
    found = results(pytester, test_one=f"BARRED = None\n{STORY}", test_two=loose)
    assert (found["test_bad"], found["test_good"]) == ("failed", "passed")
