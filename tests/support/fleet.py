"""Ends of parts, without a process that came to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deploys.report import report
from hullproof.fleet.parts import End, Host, Job, Part
from hullproof.fleet.run import Listing

TWO = MappingProxyType({"": 2})
JOB = Job("harden", "inv.py", (), "1")


def about(run: str = "r1", **more: Any) -> report.Run:
    return report.Run(run, "harden", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "baseline", **more)


def ended(part: Part, run: report.Run | None = None, statuses: Mapping[str, str] = MappingProxyType({})) -> End:
    """All hosts of the part are well, but for those whose status is given."""
    hosts = [
        report.HostReport(
            name,
            statuses.get(name, "ok").partition(" ")[0],  # type: ignore[arg-type]
            "it broke" if name in statuses else None,
            changes=[{"subject": "s", "what": "w", "journal": "r1/0001"}]
            if "changed" in statuses.get(name, "")
            else (),
        )
        for name in part.hosts
    ]
    return End(part, report.build(run or about(), hosts))


class Team:
    """It carries nothing out: hosts end as `statuses` say. `begun` has the parts in the order in which they came."""

    ids_are_shared = True
    by_region = True
    problem = ""

    def __init__(
        self, slots: Mapping[str, int] | None = None, statuses: Mapping[str, str] | None = None, stopped: str = ""
    ) -> None:
        self._slots = slots or {"": 2}
        self._stopped = stopped
        self._statuses = statuses or {}
        self.begun: list[Part] = []

    def slots(self) -> Mapping[str, int]:
        return self._slots

    def run(self, job: Job, parts: Sequence[Part]) -> Iterator[End]:
        for part in parts:
            self.begun.append(part)
            yield End(part, ended(part, statuses=self._statuses).report, stopped=self._stopped)


def listed(*names: str, batches: Sequence[str] = ("25%",)) -> Listing:
    """Hosts by name: `canary1` is a canary, `x@eu` is in the region eu."""
    hosts = [Host(name.partition("@")[0], name.partition("@")[2], name.startswith("canary")) for name in names]
    return Listing(hosts, batches, Path("reports"))
