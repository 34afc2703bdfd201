"""Limits of containers: one that forks without end, and one that takes all memory. Tried where the policy sets limits
low enough to go past them on a host that is in use."""

from __future__ import annotations

import pytest

from tests.verify import claims
from tests.verify.probe import CannotTell, Outcomes, Prober
from tests.verify.proof import Proof
from tests.verify.scenarios import LIMITED, MOST_BYTES, MOST_FORKS, limits
from tests.verify.verdict import Verdict, bounded

pytestmark = pytest.mark.parametrize("engine", LIMITED)


def settle(prober: Prober, proof: Proof, engine: str, name: str) -> None:
    def judge(found: Outcomes) -> Verdict:
        if name not in {attempt.name for attempt in limits(prober, engine)}:
            most = f"{MOST_FORKS} processes" if name == "forks" else f"{MOST_BYTES >> 20} MiB of memory"
            raise CannotTell(f"the policy allows a container more than the {most} that a proof goes to")
        return bounded(found[name])

    proof.settle(lambda: claims.judged(prober, engine, proof.control, name, judge))


@pytest.mark.proof("a container starts more processes than it may", control={each: f"{each}.pids" for each in LIMITED})
def test_processes(prober: Prober, proof: Proof, engine: str) -> None:
    settle(prober, proof, engine, "forks")


@pytest.mark.proof("a container takes more memory than it may", control={each: f"{each}.memory" for each in LIMITED})
def test_memory(prober: Prober, proof: Proof, engine: str) -> None:
    settle(prober, proof, engine, "fill")
