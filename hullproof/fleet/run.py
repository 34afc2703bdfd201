"""A run over a fleet: its hosts are listed and divided, parts are carried out, and one report comes out."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from pyinfra.api.exceptions import PyinfraError

from deploys.core.text import clean_text
from deploys.report import files, report, terminal
from deploys.run.reboot import batches
from deploys.run.run import KINDS, new_id
from hullproof.afterwards import afterwards
from hullproof.fleet.part import python
from hullproof.fleet.parts import End, Host, Job, Part, split
from hullproof.fleet.whole import now, whole
from hullproof.running import READS_ONLY


class FleetError(Exception):
    """The run makes no sense, or cannot begin: one sentence why."""


class Team(Protocol):
    """What carries parts out. `ids_are_shared`: all parts may be one run in the hosts' journals. `by_region`: not all
    of it reaches every host. `problem`: why it ended before its time; "" where it did not."""

    ids_are_shared: bool
    by_region: bool
    problem: str

    def slots(self) -> Mapping[str, int]:
        """How many parts of a region can run at once, by region; of hosts without a region: ""."""

    def run(self, job: Job, parts: Sequence[Part]) -> Iterator[End]:
        """The end of each part, as it comes."""


@dataclass(frozen=True)
class Listing:
    """What the inventory says: its hosts, the sizes of batches that it wants, and the folder for the report."""

    hosts: Sequence[Host]
    batches: Sequence[str]
    report: Path


def listing(inventory: str, options: Sequence[str], by_region: bool) -> Listing:
    """The hosts that pyinfra's options choose. FleetError where there is one twice, or, where regions matter, one in
    two of them."""
    with tempfile.TemporaryDirectory(prefix="hullproof-") as folder:
        out = Path(folder, "hosts.json")
        subprocess.run([*python("hullproof.fleet.listing"), str(out), inventory, *options], stdin=subprocess.DEVNULL)
        try:
            found = json.loads(out.read_bytes())
        except OSError:
            raise FleetError(f"the inventory {inventory} could not be listed") from None
    wrong = [found["problem"]] if "problem" in found else [*found["twice"], *(found["regions"] if by_region else ())]
    if wrong:
        raise FleetError("; ".join([*wrong[:10], *([f"and {len(wrong) - 10} more"] if len(wrong) > 10 else [])]))
    hosts = [Host(name, region if by_region else "", canary) for name, region, canary in found["hosts"]]
    return Listing(hosts, found["batches"], Path(found["report"]))


@dataclass(frozen=True)
class Asked:
    """A run as it was asked for: its kind, the inventory, pyinfra's options, and what is done with its report (see
    hullproof.afterwards)."""

    kind: str
    inventory: str
    options: Sequence[str]
    history: str | None = None
    output: str | None = None

    @property
    def dry(self) -> bool:
        return "--dry" in self.options

    @property
    def reads_only(self) -> bool:
        return self.dry or self.kind in READS_ONLY

    def job(self, run: str) -> Job:
        """The options for each part: which hosts, where its report goes and who reboots when is decided here."""
        kept: list[str] = []
        words = iter(self.options)
        for word in words:
            value = next(words) if word in ("--limit", "--exclude", "--data") else ""
            if word == "--data" and value.partition("=")[0] not in ("report", "batch"):
                kept += [word, value]
            elif not value:
                kept.append(word)
        batch = [] if self.reads_only else ["--data", "batch=100%"]
        return Job(self.kind, self.inventory, (*kept, *batch), report.version(), run)


def run(asked: Asked, found: Listing, team: Team) -> int:
    """Carry the run out, write its report and show its table; the exit code."""
    started, id_ = now(), new_id(datetime.datetime.now(datetime.UTC))
    ends = carry_out(asked.job(id_ if team.ids_are_shared else ""), found, team, asked.reads_only)
    about = report.Run(id_, KINDS[asked.kind], started, started, "", asked.dry, team.problem)
    made = whole(about, found.hosts, ends)
    shown = sys.stderr if asked.output else sys.stdout
    if about.kind == "runs":  # it judged nothing: an earlier report stays what it is
        show(made, shown)
        return int(made["exit_code"])
    code = reported(made, found.report, shown)
    history = Path(asked.history) if asked.history else None
    return afterwards(made, code, history=history, output=asked.output, folder=found.report)


def reported(made: dict[str, Any], folder: Path, shown: TextIO) -> int:
    """Write the report and show its table; the exit code."""
    if problems := files.write(folder, made):
        made["run"]["problem"], made["exit_code"] = clean_text("; ".join(problems)), 1
        files.write(folder, made)  # what can be written says the same
    show(made, shown)
    if not problems:
        print(f"report: {folder / 'report.json'}", file=shown, flush=True)
    return int(made["exit_code"])


def show(made: Mapping[str, Any], shown: TextIO) -> None:
    """Its table."""
    width = shutil.get_terminal_size((120, 24)).columns
    print(terminal.render_table(made, color=terminal.wants_color(shown), width=width), file=shown, flush=True)


def carry_out(job: Job, found: Listing, team: Team, reads_only: bool) -> list[End]:
    """The end of every part. What changes hosts goes in waves: the canaries first, then one batch after the other, and
    after a failure no other one."""
    ends: list[End] = []
    failed = stopped = ""
    for wave in _waves(found, reads_only):
        if failed:
            ends.append(End(Part(tuple(host.name for host in wave)), problem=f"not begun, since {failed}"))
            continue
        slots = team.slots()
        parts = split([host for host in wave if host.region in slots], slots, stopped)
        these = list(_nowhere(wave, slots))
        for end in team.run(job, parts):
            these.append(end)
            done = sum(len(each.part.hosts) for each in [*ends, *these])
            print(f"hullproof: {done} of {len(found.hosts)} hosts", file=sys.stderr, flush=True)
        ends += these
        failed = next((why for end in these if (why := end.failed(canaries=wave[0].canary))), "")
        stopped = next((end.stopped for end in these if end.stopped), stopped)
    return ends


def _waves(found: Listing, reads_only: bool) -> list[list[Host]]:
    """One where nothing is changed; else those of the smallest batches that a host's data wants."""
    if not found.hosts:
        return []
    if reads_only:
        return [list(found.hosts)]
    hosts = {host.name: host for host in found.hosts}
    canaries = [host.name for host in found.hosts if host.canary]
    try:
        names = max((batches(list(hosts), canaries, size) for size in found.batches), key=len)
    except PyinfraError as error:
        raise FleetError(str(error)) from None
    return [[hosts[name] for name in wave] for wave in names]


def _nowhere(wave: Sequence[Host], slots: Mapping[str, int]) -> Iterator[End]:
    """The ends of hosts that no worker is there for."""
    for region in dict.fromkeys(host.region for host in wave if host.region not in slots):
        names = tuple(host.name for host in wave if host.region == region)
        why = f"no worker of the region {region} is connected to the scheduler"
        yield End(Part(names, region), problem=why, unreachable=True)
