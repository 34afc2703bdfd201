"""How a run is divided: hosts into waves that follow each other, and a wave into parts that run at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from deploys.core.text import clean_text

PART = 250  # hosts at most: what one process holds in memory, and what the death of a worker costs


@dataclass(frozen=True)
class Host:
    """A host of the inventory. `region`: where the workers are that reach it; "": any of them does."""

    name: str
    region: str = ""
    canary: bool = False


@dataclass(frozen=True)
class Job:
    """What is asked of every host: a kind of run, the inventory and pyinfra's options as they were typed. `run`: the id
    that all parts share, "" where each has its own. `version` is hullproof's."""

    kind: str
    inventory: str
    options: tuple[str, ...]
    version: str
    run: str = ""


@dataclass(frozen=True)
class Part:
    """Hosts of one region that one process takes. `stopped`: why none of them reboots; "" where they may."""

    hosts: tuple[str, ...]
    region: str = ""
    stopped: str = ""


@dataclass(frozen=True)
class End:
    """How a part ended: its report, or why there is none (`problem`). `stopped`: why no host after it may reboot.
    `unreachable`: nothing has touched its hosts, or they were only read."""

    part: Part
    report: Mapping[str, Any] | None = None
    problem: str = ""
    stopped: str = ""
    unreachable: bool = False

    def lacking(self) -> list[str]:
        """The hosts of the part that its report says nothing of."""
        there = self.report["hosts"] if self.report else {}
        return [name for name in self.part.hosts if clean_text(name) not in there]

    def failed(self, canaries: bool) -> str:
        """Why what has not begun is not to begin after this; "" where it may. A host that was out of reach from the
        beginning stops nothing, since a fleet always has one, unless it is one of the canaries."""
        if self.problem:
            return self.problem
        hosts = self.report["hosts"] if self.report else {}
        for name, host in hosts.items():
            if host["status"] == "error" or (host["status"] == "unreachable" and (canaries or host["changes"])):
                return f"something went wrong on {name}: {host['error'] or host['status']}"
        return ""


def split(hosts: Sequence[Host], slots: Mapping[str, int], stopped: str = "", most: int = PART) -> list[Part]:
    """Parts of one region each, as equal as can be: one for each of its `slots` or more, of `most` hosts at most."""
    parts = []
    for region in dict.fromkeys(host.region for host in hosts):
        names = [host.name for host in hosts if host.region == region]
        count = max(min(slots[region], len(names)), -(-len(names) // most))
        bounds = [len(names) * at // count for at in range(count + 1)]
        parts += [Part(tuple(names[a:b]), region, stopped) for a, b in pairwise(bounds)]
    return parts
