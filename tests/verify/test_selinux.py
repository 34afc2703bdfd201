"""SELinux: containers and the host's files are kept apart by their labels, where every mode lets anybody read."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict, kept_apart

pytestmark = pytest.mark.proof(control="containers.own-category")

TITLES = {
    "siblings_file": "a container reads a file that belongs to another container",
    "hosts_file": "a container reads a file of the host that anybody may read",
}


@pytest.mark.parametrize("what", [pytest.param(what, marks=pytest.mark.proof(TITLES[what])) for what in TITLES])
def test_stopped(prober: Prober, proof: Proof, what: str) -> None:
    def attempts() -> Verdict:
        found = scenarios.containers(prober, "docker")
        return kept_apart(found[what], found["own_file"], found["first"])

    proof.settle(attempts)
