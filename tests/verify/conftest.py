"""`pytest tests/verify --inventory INVENTORY [--limit HOST] [--data KEY=VALUE]`: every proof on every host."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verify.hosts import BoundedSsh, InventoryError, Target, ask_inventory, connect
from tests.verify.probe import Prober
from tests.verify.proof import Proof, ProofReport

ASK = (
    "the proofs attack the hosts that you name, and none unasked: pytest tests/verify --inventory INVENTORY "
    "(--inventory=@local is this machine)"
)
TARGETS = pytest.StashKey[list[Target]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hullproof")
    group.addoption("--inventory", help="a pyinfra inventory: the hosts to attack; @local is this machine")
    group.addoption("--limit", action="append", default=[], help="host or group to prove on, as in pyinfra; repeatable")
    group.addoption("--data", action="append", default=[], metavar="KEY=VALUE", help="pyinfra's --data; repeatable")
    group.addoption("--proofs-json", metavar="FILE", help="write what each proof found to FILE")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config.option, "inventory"):
        raise pytest.UsageError(ASK)
    if config.option.help or config.option.markers:
        return
    if not config.option.inventory:
        raise pytest.UsageError(ASK)
    if config.option.proofs_json and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ProofReport(Path(config.option.proofs_json).absolute()))
    try:
        config.stash[TARGETS] = ask_inventory(config.option.inventory, config.option.limit, config.option.data)
    except InventoryError as error:
        raise pytest.UsageError(f"{config.option.inventory}: {error}") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "prober" in metafunc.fixturenames:
        hosts = metafunc.config.stash[TARGETS]
        metafunc.parametrize("prober", hosts, ids=[host.name for host in hosts], indirect=True, scope="session")


@pytest.fixture(scope="session")
def prober(request: pytest.FixtureRequest) -> Iterator[Prober]:
    """The probes of one host. It connects at the first attempt, so that a host out of reach fails its own tests."""
    control = Path(tempfile.mkdtemp(prefix="hullproof-"))
    probes = Prober(lambda: connect(request.param, control), str(request.param.data.get("policy", "baseline")))
    yield probes
    if "host" in vars(probes) and isinstance(probes.host.backend, BoundedSsh):
        probes.host.backend.close()
    shutil.rmtree(control)


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    return Proof(request.node, request.node.callspec.params["prober"].name)
