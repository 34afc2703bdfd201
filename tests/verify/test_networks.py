"""Networks: a container reaches its sibling though nothing was published."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploys.isolation import NetworksRules, covers
from facts.docker import Network
from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict, frames_stopped, unreached

DEFAULT = Network("bridge", "bridge", "docker0", False, False, (), ())
OWN = Network("", "bridge", "br-", False, False, (), ())  # its name is made when the probe is: no policy gives it


def asked(rules: NetworksRules, network: Network) -> bool:
    return rules.icc is False and covers(rules, network)


def settle(prober: Prober, proof: Proof, network: Network, attempt: Callable[[], Verdict]) -> None:
    if asked(prober.policy[NetworksRules], network):
        proof.settle(attempt)
    else:
        proof.settle(lambda: Verdict(None, "the policy does not keep containers on this network apart"))


def reach(prober: Prober, network: str) -> Verdict:
    found = scenarios.containers(prober)
    return unreached(found[f"sibling:{network}"], found[f"host:{network}"])


@pytest.mark.proof("a container reaches its sibling on the default bridge", control="networks.icc")
def test_default_bridge(prober: Prober, proof: Proof) -> None:
    settle(prober, proof, DEFAULT, lambda: reach(prober, "default"))


@pytest.mark.proof("a container reaches its sibling on a network made with default options", control="networks.icc")
def test_own_network(prober: Prober, proof: Proof) -> None:
    settle(prober, proof, OWN, lambda: reach(prober, "own"))


@pytest.mark.proof("a container reaches its sibling on the default bridge by raw frames", control="networks.icc")
def test_raw_frames(prober: Prober, proof: Proof) -> None:
    settle(prober, proof, DEFAULT, lambda: frames_stopped(scenarios.frames(prober, ["docker0"])))
