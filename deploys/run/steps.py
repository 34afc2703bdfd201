"""From what the subjects plan to what is executed: steps in a fixed order, one journalled script each.

Packages of all subjects are installed first, at once: a package manager's start costs more than a package. Changes that
need a service to take them up are gathered into that service's own step at the end: one write per file, one activation
per service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from deploys.core.change import Activate, Blocked, Change, Install, MergeJson, Reboot, Service, WriteFile, controls_of
from deploys.core.json_merge import merged
from deploys.run.three_way import Conflict, merged_lines

PACKAGES = "packages"  # the step that comes first


@dataclass(frozen=True)
class Step:
    """What one script does on one host: a subject's own changes, or a service's files and its activation. `planned`:
    the changes of the plan that it makes, where it joins several."""

    name: str
    changes: tuple[Change, ...]
    service: Service | None = None
    planned: tuple[Change, ...] = field(default=(), compare=False)

    @property
    def makes(self) -> tuple[Change, ...]:
        return self.planned or self.changes

    @property
    def controls(self) -> tuple[str, ...]:
        return controls_of(self.makes)

    @property
    def commit_confirmed(self) -> bool:
        return any(change.commit_confirmed for change in self.changes)


def arrange(changes: Iterable[Change], order: Sequence[str]) -> list[Step]:
    """Steps: packages, the subjects in `order`, the services, reboots last. Blocked changes are in none of them."""
    doable = [change for change in changes if not isinstance(change, Blocked)]
    installs = [change for change in doable if isinstance(change, Install)]
    reboots = [Step("reboot", (change,)) for change in doable if isinstance(change, Reboot)]
    others = [change for change in doable if not isinstance(change, (Install, Reboot))]
    steps = [Step(PACKAGES, (joined(installs),), planned=tuple(installs))] if installs else []
    steps += [
        Step(name, own)
        for name in order
        if (own := tuple(change for change in others if change.subject == name and _service(change) is None))
    ]
    services: dict[str, Service] = {}
    for change in others:
        if service := _service(change):
            services.setdefault(service.name, service)
    for name, service in services.items():
        mine = [change for change in others if (found := _service(change)) and found.name == name]
        steps.append(Step(name, _files(mine), service=service, planned=tuple(mine)))
    return [*_composed(steps), *reboots]


def _composed(steps: Iterable[Step]) -> Iterator[Step]:
    """Where several changes write lines of their own into one file, each as what the one before it leaves behind."""
    left: dict[str, WriteFile] = {}
    for step in steps:
        changes = list(step.changes)
        for number, change in enumerate(changes):
            if isinstance(change, WriteFile) and change.shared == "lines":
                changes[number] = left[change.path] = _upon(left.get(change.path), change)
        yield replace(step, changes=tuple(changes))


def _upon(earlier: WriteFile | None, change: WriteFile) -> WriteFile:
    """The change, to a file which the earlier one has changed since it was read."""
    if earlier is None:
        return change
    try:
        # An undo the other way round: what the change adds comes back, what it takes away goes.
        text = merged_lines(change.text, change.before or "", earlier.text)
    except Conflict:
        return change  # the host refuses it, and the next run plans it anew
    return replace(change, before=earlier.text, text=text or "")


def _service(change: Change) -> Service | None:
    return change.service if isinstance(change, (WriteFile, MergeJson, Activate)) else None


def _files(mine: Iterable[Change]) -> tuple[Change, ...]:
    """The files of a service, with all merges of one path made into one write; those last, for they may name the
    others, and their validation then looks for them."""
    merges: dict[str, list[MergeJson]] = {}
    for change in mine:
        if isinstance(change, MergeJson):
            merges.setdefault(change.path, []).append(change)
    files = [change for change in mine if isinstance(change, WriteFile)]
    return tuple(files + [merged(group) for group in merges.values()])


def joined(installs: Sequence[Install]) -> Install:
    """One installation out of several."""
    packages = dict.fromkeys(package for install in installs for package in install.packages)
    what = "; ".join(dict.fromkeys(install.what for install in installs))
    return Install(PACKAGES, what, packages=tuple(packages), controls=controls_of(installs))
