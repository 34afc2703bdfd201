"""Networks: a container reaches its sibling though nothing was published."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import CannotTell, Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict, unreached


def reach(prober: Prober, network: str) -> Verdict:
    found = scenarios.siblings(prober)
    if f"host:{network}" not in found:
        raise CannotTell("Docker has no such network here")
    return unreached(found[f"sibling:{network}"], found[f"host:{network}"])


@pytest.mark.proof("a container reaches its sibling on the default bridge", control="networks.icc-default")
def test_default_bridge(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: reach(prober, "default"))


@pytest.mark.proof("a container reaches its sibling on a network made with default options", control="networks.icc-own")
def test_own_network(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: reach(prober, "own"))
