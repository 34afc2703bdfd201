"""Containers of every engine: what the process in one that was started without a word may do."""

from __future__ import annotations

import pytest

from deploys.containers.rules import ContainersRules
from deploys.engines.podman.rules import PodmanRules
from tests.verify import scenarios
from tests.verify.probe import ENGINES, CannotTell, Outcome, Prober
from tests.verify.proof import Proof
from tests.verify.verdict import (
    Verdict,
    call_denied,
    denied,
    root_is_mapped,
    setuid_gains_nothing,
    unseen,
    unsignalled,
)

pytestmark = pytest.mark.parametrize("engine", ENGINES)

# Docker's own profile allowed io_uring until version 25.
ALLOWED_BEFORE = {("docker", "io_uring_setup"): (25,)}
# What its profile as shipped lets through (containers-common 0.62), unless the policy has hullproof's in its place.
ALLOWED_ANYWAY = {("podman", "setns"), ("podman", "keyctl"), ("podman", "mount")}

CALLS = {
    "unshare": "a container makes a user namespace of its own",
    "setns": "a container enters another namespace",
    "keyctl": "a container reads the kernel's keyrings",
    "add_key": "a container adds a key to the kernel's keyrings",
    "mount": "a container calls mount",
    "userfaultfd": "a container handles page faults in user space",
    "perf_event_open": "a container opens performance counters",
    "io_uring_setup": "a container sets up io_uring",
}
CONFINED = {
    "mount": "a container with CAP_SYS_ADMIN mounts a file system",
    "core_pattern": "root in a container with all of /proc writes the host's core_pattern",
    "sysrq": "root in a container with all of /proc writes to the host's sysrq-trigger",
}


NAMESPACES = {
    "process": "a container sees a process of the host's",
    "signal": "a container sends a signal to a process of the host's",
    "mount": "a container sees a mount of the host's",
    "memory": "a container opens shared memory of the host's",
    "name": "a container has the host's name",
}


def tried(prober: Prober, engine: str, key: str, name: str) -> Outcome:
    """What came of an attempt in a container of the engine. Docker is always asked, since its daemon is hardened by
    policy; what other engines give their containers is asked where the policy demands it of containers."""
    if engine != "docker" and getattr(prober.policy[ContainersRules], key) is None:
        raise CannotTell(f"the policy does not declare containers.{key}")
    return scenarios.containers(prober, engine)[name]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            call,
            marks=pytest.mark.proof(
                CALLS[call], control={"docker": "seccomp.default-profile", "podman": "containers.seccomp"}
            ),
        )
        for call in scenarios.SYSTEM_CALLS
    ],
)
def test_forbidden_call(prober: Prober, proof: Proof, engine: str, call: str) -> None:
    def attempt() -> Verdict:
        inside = tried(prober, engine, "unfiltered", f"container:{call}")
        verdict = call_denied(inside, scenarios.containers(prober, engine)[f"host:{call}"])
        if verdict.holds is False and prober.version(engine) < ALLOWED_BEFORE.get((engine, call), ()):
            raise CannotTell(f"the default profile of this version allows it; {verdict.evidence}")
        shipped = prober.policy[PodmanRules].seccomp != "hullproof"
        if verdict.holds is False and shipped and (engine, call) in ALLOWED_ANYWAY:
            raise CannotTell(f"the profile that comes with {engine.capitalize()} allows it; {verdict.evidence}")
        return verdict

    proof.settle(attempt)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            what,
            marks=pytest.mark.proof(CONFINED[what], control="containers.confined"),
        )
        for what in CONFINED
    ],
)
def test_confined(prober: Prober, proof: Proof, engine: str, what: str) -> None:
    proof.settle(lambda: tried(prober, engine, "unconfined", what))


@pytest.mark.proof(
    "a setuid program in a container makes root of an ordinary user",
    control={"docker": "docker.no-new-privileges", "podman": "containers.no-new-privileges"},
)
def test_setuid(prober: Prober, proof: Proof, engine: str) -> None:
    proof.settle(lambda: setuid_gains_nothing(tried(prober, engine, "new_privileges", "setuid")))


@pytest.mark.proof(
    "root in a container is root on the host",
    control={"docker": "userns.docker-remap", "podman": "containers.user-namespace"},
)
def test_uid_map(prober: Prober, proof: Proof, engine: str) -> None:
    proof.settle(lambda: root_is_mapped(tried(prober, engine, "host_ids", "uid_map")))


@pytest.mark.proof(
    "root in a container reads a host file that only root may read",
    control={"docker": "userns.docker-remap", "podman": "containers.user-namespace"},
)
def test_root_only_file(prober: Prober, proof: Proof, engine: str) -> None:
    proof.settle(lambda: denied(tried(prober, engine, "host_ids", "secret")))


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.proof(NAMESPACES[what], control="containers.host-namespaces"))
        for what in NAMESPACES
    ],
)
def test_namespaces(prober: Prober, proof: Proof, engine: str, what: str) -> None:
    def attempt() -> Verdict:
        inside = tried(prober, engine, "host_namespaces", f"container:hosts-{what}")
        judge = unsignalled if what == "signal" else unseen
        return judge(inside, scenarios.containers(prober, engine)[f"host:hosts-{what}"])

    proof.settle(attempt)
