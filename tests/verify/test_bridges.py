"""Bridges: who joins a declared network reaches nobody there whom the policy keeps apart."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import frames_stopped


@pytest.mark.proof("a container reaches its sibling on a declared network by raw frames", control="bridges.declared")
def test_siblings(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: frames_stopped(scenarios.bridges(prober)))
