"""User namespaces: root in a container is nobody on the host."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import Prober
from tests.verify.proof import Proof
from tests.verify.verdict import root_is_mapped

pytestmark = pytest.mark.proof(control="userns.docker-remap")


@pytest.mark.proof("root in a container is root on the host")
def test_uid_map(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: root_is_mapped(scenarios.containers(prober)["uid_map"]))


@pytest.mark.proof("root in a container reads a host file that only root may read")
def test_root_only_file(prober: Prober, proof: Proof) -> None:
    proof.settle(lambda: scenarios.containers(prober)["secret"])
