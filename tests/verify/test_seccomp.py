"""Seccomp: a container's process makes system calls that its filter forbids."""

from __future__ import annotations

import pytest

from tests.verify import scenarios
from tests.verify.probe import CannotTell, Prober
from tests.verify.proof import Proof
from tests.verify.verdict import Verdict, call_denied

pytestmark = pytest.mark.proof(control="seccomp.default-profile")

# Docker's own profile allowed io_uring until version 25.
ALLOWED_BEFORE = {"io_uring_setup": (25,)}

TITLES = {
    "unshare": "a container makes a user namespace of its own",
    "setns": "a container enters another namespace",
    "keyctl": "a container reads the kernel's keyrings",
    "add_key": "a container adds a key to the kernel's keyrings",
    "mount": "a container calls mount",
    "userfaultfd": "a container handles page faults in user space",
    "perf_event_open": "a container opens performance counters",
    "io_uring_setup": "a container sets up io_uring",
}


@pytest.mark.parametrize(
    "call", [pytest.param(call, marks=pytest.mark.proof(TITLES[call])) for call in scenarios.SYSTEM_CALLS]
)
def test_forbidden_call(prober: Prober, proof: Proof, call: str) -> None:
    def attempt() -> Verdict:
        found = scenarios.containers(prober)
        verdict = call_denied(found[f"container:{call}"], found[f"host:{call}"])
        if verdict.holds is False and prober.docker_version() < ALLOWED_BEFORE.get(call, ()):
            raise CannotTell(f"the default profile of this Docker version allows it; {verdict.evidence}")
        return verdict

    proof.settle(attempt)
