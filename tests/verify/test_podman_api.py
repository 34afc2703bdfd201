"""The API of root's Podman: who reaches it."""

from __future__ import annotations

import pytest

from deploys.engines.podman.rules import PodmanRules
from tests.verify import scenarios
from tests.verify.probe import CannotTell, Outcomes, Prober
from tests.verify.proof import Proof
from tests.verify.verdict import listeners_held, unanswered


def tried(prober: Prober) -> Outcomes:
    if prober.policy[PodmanRules].api is None:
        raise CannotTell("the policy does not declare podman.api")
    return scenarios.api(prober, "podman")


@pytest.mark.proof("nobody talks to root's Podman through a socket", control="podman.api")
def test_socket(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: unanswered(tried(prober)))


@pytest.mark.proof("nobody talks to root's Podman by TCP", control="podman.api")
def test_tcp(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: listeners_held(tried(prober), "Podman"))
