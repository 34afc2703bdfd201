"""Real hosts for the tests. Each worker of pytest-xdist has the hosts of one distribution."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import Vm, up
from tests.lab.drive import count_executions


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("debian12", "debian13")],
)
def distribution(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def vm(request: pytest.FixtureRequest, distribution: str) -> Iterator[Vm]:
    """The host of a test module, of the variant that the module names; gone when the module is done."""
    variant = request.module.VARIANT
    machine = up(distribution, variant=variant, name=f"{distribution}-{variant}-test")
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
