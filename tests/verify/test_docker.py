"""The Docker daemon: who reaches it."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import listeners_held, sockets_held


@pytest.mark.proof("nobody talks to the Docker daemon through its socket", control="docker.file-modes")
def test_socket(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: sockets_held(scenarios.api(prober, "docker")))


@pytest.mark.proof("nobody talks to the Docker daemon by TCP", control="docker.no-tcp")
def test_tcp(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: listeners_held(scenarios.api(prober, "docker"), "dockerd"))
