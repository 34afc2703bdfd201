"""Real hosts for the tests: `pytest tests/lab --distribution debian12` on one distribution, without it on both.

`@pytest.mark.on("debian12")` runs a drill on that distribution alone, where what it tries does not differ between
them: an emulated host is slow. Without the mark a test runs on both. Debian 14 is not released yet, and runs only what
is named with `--distribution debian14`, all of it.

`@pytest.mark.story` is on modules whose tests are steps that build on each other, on one host: once a step has failed,
nothing that comes after it says anything about hullproof, and is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.lab import Vm, up
from tests.lab.machine.drive import count_executions

DISTRIBUTIONS = ("debian12", "debian13")
NEXT = "debian14"

BROKEN = pytest.StashKey[dict[tuple[str, str], str]]()  # of each story that broke, the step


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--distribution", choices=(*DISTRIBUTIONS, NEXT), help="run on this distribution of the lab alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "distribution" in metafunc.fixturenames:
        marks = [mark.args for mark in metafunc.definition.iter_markers("on")]
        wanted = marks[0] if marks else DISTRIBUTIONS
        asked = metafunc.config.getoption("--distribution")
        rows = [NEXT] if asked == NEXT else [name for name in wanted if asked in (None, name)]
        metafunc.parametrize("distribution", rows, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What does not run on the distribution asked for is left out, not counted as skipped."""
    items[:] = [item for item in items if "NOTSET" not in item.name]


def story_of(item: pytest.Item) -> tuple[str, str] | None:
    """A module's story is told once on each distribution."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker("story") is None:
        return None
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return str(item.path), str(params.get("distribution", ""))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (story := story_of(item)):
        item.session.stash.setdefault(BROKEN, {}).setdefault(story, item.name)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures: a host that did not start is not started again for each step."""
    story = story_of(item)
    if story and (name := item.session.stash.get(BROKEN, {}).get(story)):
        pytest.skip(f"an earlier step of this story failed: {name}")


@pytest.fixture(scope="module")
def vm(request: pytest.FixtureRequest, distribution: str) -> Iterator[Vm]:
    """The host of a test module, of the variant that the module names; gone when the module is done."""
    variant = request.module.VARIANT
    machine = up(distribution, variant=variant, name=f"t-{os.getpid()}-{distribution}-{variant}")
    machine.one_connection = request.node.get_closest_marker("drill") is None
    try:
        count_executions(machine)
        machine.save("begin")
        yield machine
    finally:
        machine.down()


@pytest.fixture
def fresh(vm: Vm) -> Vm:
    """The module's host as it was in the beginning."""
    vm.load("begin")
    return vm
