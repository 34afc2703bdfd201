"""Containers of engines that give fewer capabilities where the policy says so."""

from __future__ import annotations

import pytest

from tests.verify import claims
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import denied

ENGINES = ("podman", "lxc", "nspawn")
CALLS = {
    "raw_socket": "a container sends packets of its own making (a raw socket)",
    "mknod": "a container makes a device node of the host's disk",
}
CONTROL = {engine: f"{engine}.capabilities" for engine in ENGINES}

pytestmark = pytest.mark.parametrize("engine", ENGINES)


@pytest.mark.parametrize(
    "call", [pytest.param(call, marks=pytest.mark.proof(CALLS[call], control=CONTROL)) for call in CALLS]
)
def test_withheld(prober: Prober, proof: Proof, engine: str, call: str) -> None:
    proof.settle(lambda: claims.judged(prober, engine, proof.control, call, lambda found: denied(found[call])))
