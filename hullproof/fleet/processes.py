"""The workers of one machine: each part is a process of pyinfra, so many at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Self

from hullproof import running
from hullproof.fleet.part import carry_out
from hullproof.fleet.parts import End, Job, Part


class Processes:
    """Signals reach the parts that run, whose end is awaited; no other one begins."""

    ids_are_shared = True  # no host gets a second attempt, so no journal is opened twice
    by_region = False  # this machine reaches all hosts, or none does
    problem = ""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._forwarding = running.forwarding()

    def __enter__(self) -> Self:
        self._signals = self._forwarding.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._forwarding.__exit__(None, None, None)

    def slots(self) -> Mapping[str, int]:
        return {"": self.workers}

    def run(self, job: Job, parts: Sequence[Part]) -> Iterator[End]:
        """The end of each part, as it comes."""
        with ThreadPoolExecutor(self.workers) as pool:
            for ended in as_completed([pool.submit(self._one, job, part) for part in parts]):
                yield ended.result()

    def _one(self, job: Job, part: Part) -> End:
        if self._signals.received:
            name = signal.Signals(self._signals.received[0]).name
            return End(part, problem=f"the run was ended ({name}) before it came to this host")
        return carry_out(job, part, self._signals).end(part)
