"""Networks: a container reaches its sibling though nothing was published."""

from __future__ import annotations

import pytest

from deploys.isolation import NetworksRules
from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict, frames_stopped, unreached


def reach(prober: Prober, network: str) -> Verdict:
    found = scenarios.containers(prober)
    return unreached(found[f"sibling:{network}"], found[f"host:{network}"])


@pytest.mark.proof("a container reaches its sibling on the default bridge", control="networks.icc")
def test_default_bridge(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: reach(prober, "default"))


@pytest.mark.proof("a container reaches its sibling on a network made with default options", control="networks.icc")
def test_own_network(prober: Prober, proof: Proof) -> None:
    if prober.policy[NetworksRules].cover == "all":
        proof.settle(lambda: reach(prober, "own"))
    else:
        proof.settle(lambda: Verdict(None, "the policy leaves networks that users make to talk"))


@pytest.mark.proof("a container reaches its sibling on the default bridge by raw frames", control="networks.icc")
def test_raw_frames(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: frames_stopped(scenarios.frames(prober, ["docker0"])))
