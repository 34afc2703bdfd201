"""Real hosts for the tests. Each worker of pytest-xdist has the hosts of one distribution.

`@pytest.mark.on("debian12")` runs a drill on that distribution alone, where what it tries does not differ between
them: an emulated host is slow. Without the mark a test runs on both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import Vm, up
from tests.lab.drive import count_executions

DISTRIBUTIONS = ("debian12", "debian13")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "distribution" in metafunc.fixturenames:
        marks = [mark.args for mark in metafunc.definition.iter_markers("on")]
        wanted = marks[0] if marks else DISTRIBUTIONS
        rows = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in wanted]
        metafunc.parametrize("distribution", rows, scope="session")


@pytest.fixture(scope="module")
def vm(request: pytest.FixtureRequest, distribution: str) -> Iterator[Vm]:
    """The host of a test module, of the variant that the module names; gone when the module is done."""
    variant = request.module.VARIANT
    machine = up(distribution, variant=variant, name=f"t-{os.getpid()}-{distribution}-{variant}")
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
