"""`python -m docs.fleet_needs [HOSTS ...]`: what a drift of a fleet needs, by a small simulation from measured figures.

Parts go to workers as they come free. Within a part, a worker's processor takes one host after the other, while its
connections wait for as many hosts at once; some hosts are down, and a few hang until the survey's limit. The controller
lists the hosts, takes the parts' reports in, and writes the whole. `python -m tests.bench_fleet` measures the figures.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PART = 250  # hosts, as in hullproof/fleet/parts.py


@dataclass(frozen=True)
class Figures:
    """Seconds of CPU, seconds of wall time, and MB; of a process of pyinfra (`part_`) and of the controller."""

    part_start: float = 1.8  # pyinfra, the deploys and the policy are loaded
    part_host: float = 0.070
    part_memory: float = 120.0
    part_host_memory: float = 1.5
    inventory_host: float = 0.000022  # of the whole inventory, where it has a group `all`, in each part
    connections: int = 40  # of a process: 20 for each processor of its machine
    answer: float = 1.5  # a connection and a survey, in the median
    down: float = 0.01  # of the hosts: 10 s, and a second attempt
    hang: float = 0.001  # of the hosts: 180 s
    listed_host: float = 0.00014
    taken_in_host: float = 0.0003
    written_host: float = 0.012
    host_memory: float = 0.06
    report_host: float = 0.13  # of report.json
    sent_host: float = 0.0015


@dataclass(frozen=True)
class Needs:
    """Seconds, MB, and connections at once."""

    wall: float
    surveyed: float
    workers_cpu: float
    controller_cpu: float
    controller_memory: float
    connections: int
    sent: float
    report: float


def answers(count: int, figures: Figures, chance: random.Random) -> Iterator[float]:
    """How long each host takes to answer."""
    for _ in range(count):
        luck = chance.random()
        if luck < figures.hang:
            yield 180.0
        elif luck < figures.hang + figures.down:
            yield 20.0
        else:
            yield figures.answer * chance.lognormvariate(0, 0.4)


def busy(times: Sequence[float], at_once: int) -> float:
    """When the last is done, of which so many run at once."""
    free = [0.0] * at_once
    for time in times:
        heapq.heapreplace(free, free[0] + time)
    return max(free)


def part_time(count: int, of: int, figures: Figures, chance: random.Random) -> tuple[float, float]:
    """The wall time and the CPU of a part of so many hosts, of an inventory of so many."""
    start = figures.part_start + of * figures.inventory_host
    cpu = count * figures.part_host
    return start + max(cpu, busy(list(answers(count, figures, chance)), figures.connections)), start + cpu


def simulate(hosts: int, workers: int, figures: Figures, regions: int = 1, seed: int = 1) -> Needs:
    """A drift of so many hosts. `regions`: workers have inventories of their own region alone."""
    chance, free, cpu = random.Random(seed), [0.0] * workers, 0.0
    for first in range(0, hosts, PART):
        wall, used = part_time(min(PART, hosts - first), hosts // regions, figures, chance)
        cpu += used
        heapq.heapreplace(free, free[0] + wall)
    controller = hosts * (figures.listed_host + figures.taken_in_host + figures.written_host)
    surveyed = max(free)
    return Needs(
        wall=hosts * figures.listed_host + surveyed + hosts * figures.written_host,
        surveyed=surveyed,
        workers_cpu=cpu,
        controller_cpu=controller,
        controller_memory=100 + hosts * figures.host_memory,
        connections=min(hosts, workers * figures.connections),
        sent=hosts * figures.sent_host,
        report=hosts * figures.report_host,
    )


def table(fleets: Sequence[int], figures: Figures) -> Iterator[str]:
    """Markdown."""
    yield "| hosts | workers | surveyed after, min | whole run, min | CPU of the workers, h | of the controller, min |"
    yield "|---|---|---|---|---|---|"
    for hosts in fleets:
        for workers in (4, 16, 64):
            need = simulate(hosts, workers, figures, regions=max(1, hosts // 10_000))
            yield (
                f"| {hosts:,} | {workers} | {need.surveyed / 60:.1f} | {need.wall / 60:.1f} "
                f"| {need.workers_cpu / 3600:.2f} | {need.controller_cpu / 60:.1f} |"
            )
    yield ""
    yield "| hosts | connections by 64 workers | controller's memory, GB | sent to it, GB | report.json, GB |"
    yield "|---|---|---|---|---|"
    for hosts in fleets:
        need = simulate(hosts, 64, figures)
        sizes = (need.controller_memory, need.sent, need.report)
        yield f"| {hosts:,} | {need.connections:,} | {' | '.join(f'{size / 1000:.2f}' for size in sizes)} |"


def main() -> None:
    for line in table([int(word) for word in sys.argv[1:]] or [1_000, 10_000, 100_000], Figures()):
        print(line)


if __name__ == "__main__":
    main()
