"""AppArmor (or another LSM): what stands in the way where capabilities and masked paths no longer do."""

from __future__ import annotations

import pytest

from deploys.apparmor.controls import AppArmorRules
from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict

pytestmark = pytest.mark.proof(control="apparmor.containers-confined")

TITLES = {
    "mount": "a container with CAP_SYS_ADMIN mounts a file system",
    "core_pattern": "root in a container with all of /proc writes the host's core_pattern",
    "sysrq": "root in a container with all of /proc writes to the host's sysrq-trigger",
}


@pytest.mark.parametrize("what", [pytest.param(what, marks=pytest.mark.proof(TITLES[what])) for what in TITLES])
def test_stopped(prober: Prober, proof: Proof, what: str) -> None:
    proof.settle(lambda: scenarios.containers(prober)[what])


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
        proof.settle(lambda: scenarios.containers(prober)[what])
    else:
        proof.settle(lambda: Verdict(None, "the policy asks for no profile stricter than Docker's own"))
