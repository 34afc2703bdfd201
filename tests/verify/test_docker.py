"""The Docker daemon: who reaches it, and what its containers may gain."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import listeners_held, setuid_gains_nothing, sockets_held


@pytest.mark.proof("a setuid program in a container makes root of an ordinary user", control="docker.no-new-privileges")
def test_setuid(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: setuid_gains_nothing(scenarios.containers(prober)["setuid"]))


@pytest.mark.proof("nobody talks to the Docker daemon through its socket", control="docker.file-modes")
def test_socket(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: sockets_held(scenarios.daemon(prober)))


@pytest.mark.proof("nobody talks to the Docker daemon by TCP", control="docker.no-tcp")
def test_tcp(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: listeners_held(scenarios.daemon(prober)))
