"""Containers of every engine: what the process in one that was started without a word may do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.verify import claims, scenarios
from tests.verify.claims import by_engine
from tests.verify.probe import ENGINES, CannotTell, Outcomes, Prober
from tests.verify.proof import Proof
from tests.verify.verdict import (
    Verdict,
    all_denied,
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
MAPPED = by_engine("containers.user-namespace", docker="userns.docker-remap", lxc="lxc.user-namespace",
                   nspawn="nspawn.user-namespace")  # fmt: skip
LABELLED = by_engine("containers.confined", lxc="lxc.user-namespace", nspawn="nspawn.user-namespace",
                     libvirt="libvirt.confined")  # fmt: skip
OWN_MOUNT = by_engine("containers.confined")
NO_GAIN = by_engine("containers.no-new-privileges", docker="docker.no-new-privileges", lxc="lxc.no-new-privileges",
                    nspawn="nspawn.no-new-privileges")  # fmt: skip


def settle(prober: Prober, proof: Proof, engine: str, what: str, judge: Callable[[Outcomes], Verdict]) -> None:
    proof.settle(lambda: claims.judged(prober, engine, proof.control, what, judge))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, marks=pytest.mark.proof(CALLS[call], control=claims.for_call(call)))
        for call in scenarios.SYSTEM_CALLS
    ],
)
def test_forbidden_call(prober: Prober, proof: Proof, engine: str, call: str) -> None:
    def judge(found: Outcomes) -> Verdict:
        disabled = found["io_uring_disabled"] if call == "io_uring_setup" else None
        verdict = call_denied(found[f"container:{call}"], found[f"host:{call}"], disabled)
        if verdict.holds is False and prober.version(engine) < ALLOWED_BEFORE.get((engine, call), ()):
            raise CannotTell(f"the default profile of this version allows it; {verdict.evidence}")
        return verdict

    settle(prober, proof, engine, call, judge)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.proof(CONFINED[what], control=OWN_MOUNT if what == "mount" else LABELLED))
        for what in CONFINED
    ],
)
def test_confined(prober: Prober, proof: Proof, engine: str, what: str) -> None:
    def judge(found: Outcomes) -> Verdict:
        return all_denied(found, what, *(name for name in found if name == f"fresh_{what}"))

    settle(prober, proof, engine, "own mount" if what == "mount" else what, judge)


@pytest.mark.proof("a setuid program in a container makes root of an ordinary user", control=NO_GAIN)
def test_setuid(prober: Prober, proof: Proof, engine: str) -> None:
    settle(prober, proof, engine, "setuid", lambda found: setuid_gains_nothing(found["setuid"]))


@pytest.mark.proof("root in a container is root on the host", control=MAPPED)
def test_uid_map(prober: Prober, proof: Proof, engine: str) -> None:
    settle(prober, proof, engine, "uid_map", lambda found: root_is_mapped(found["uid_map"]))


@pytest.mark.proof("root in a container reads a host file that only root may read", control=MAPPED)
def test_root_only_file(prober: Prober, proof: Proof, engine: str) -> None:
    settle(prober, proof, engine, "secret", lambda found: denied(found["secret"]))


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.proof(NAMESPACES[what], control="containers.host-namespaces"))
        for what in NAMESPACES
    ],
)
def test_namespaces(prober: Prober, proof: Proof, engine: str, what: str) -> None:
    def judge(found: Outcomes) -> Verdict:
        compare = unsignalled if what == "signal" else unseen
        return compare(found[f"container:hosts-{what}"], found[f"host:hosts-{what}"])

    settle(prober, proof, engine, f"hosts-{what}", judge)
