"""AppArmor: what a stricter profile than the engine's own refuses."""

from __future__ import annotations

import pytest

from deploys.apparmor.controls import AppArmorRules
from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict

STRICTER = {
    "raw_socket": "a container sends packets of its own making (a raw socket)",
    "packet_socket": "a container reads and forges frames on its network (a packet socket)",
}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.proof(STRICTER[what], control="apparmor.container-default"))
        for what in STRICTER
    ],
)
def test_stricter_than_dockers_own(prober: Prober, proof: Proof, what: str) -> None:
    if prober.policy[AppArmorRules].container_profile == "default":
        proof.settle(lambda: scenarios.containers(prober, "docker")[what])
    else:
        proof.settle(lambda: Verdict(None, "the policy asks for no profile stricter than Docker's own"))
