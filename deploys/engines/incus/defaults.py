"""The rows of the profile `default`, which instances get that name no profile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploys.core.change import Blocked, Change, Command, Context
from deploys.core.control import Severity, some
from deploys.engines.defaults import Default, Put
from facts.core.reading import known
from facts.engines.incus.incus import DEFAULT, Daemon, Incus, IncusReading

ACCEPT = "incus-profile"  # accepting it: instances that are there get what new ones get
ISOLATED, PIDS, MEMORY = "security.idmap.isolated", "limits.processes", "limits.memory"
UNITS = {"": 1, "B": 1, "bytes": 1} | {
    f"{letter}{kind}": base**power
    for power, letter in enumerate("kMGTPE", 1)
    for kind, base in (("B", 1000), ("iB", 1024))
}
Row = Default[IncusReading]


def amount(value: str) -> int | None:
    """As Incus reads it (shared/units): 512MiB. None for a share of the host's, 50%."""
    row = re.fullmatch(r"([0-9]{1,18}) ?([A-Za-z]{0,5})", value)
    unit = UNITS.get(row[2].replace("KiB", "kiB").replace("KB", "kB")) if row else None
    return int(row[1]) * unit if row and unit else None


def _said(daemon: Daemon, key: str) -> str:
    value = daemon.default.config.get(key)
    return f"{daemon.name}'s profile {DEFAULT} " + (f"sets {key} to {value}" if value else f"does not set {key}")


def _shared_ids(reading: IncusReading, wanted: Any) -> str:
    return some(_said(each, ISOLATED) for each in reading.daemons if not each.default.on(ISOLATED))


def _isolate(reading: IncusReading, wanted: Any) -> Put:
    return {f"{each.name}.{ISOLATED}": "true" for each in reading.daemons if not each.default.on(ISOLATED)}


def _above(daemon: Daemon, key: str, wanted: int) -> bool:
    own = amount(daemon.default.config.get(key, ""))
    return own is None or own > wanted


def _unlimited(key: str) -> Any:
    return lambda reading, wanted: some(_said(each, key) for each in reading.daemons if _above(each, key, wanted))


def _limit(key: str) -> Any:
    """One that is not understood stays: it may be lower."""

    def put(reading: IncusReading, wanted: int) -> Put:
        wrong = [each for each in reading.daemons if _above(each, key, wanted)]
        stays = any((own := each.default.config.get(key)) and amount(own) is None for each in wrong)
        return {} if stays else {f"{each.name}.{key}": str(wanted) for each in wrong}

    return put


# ------------------------------------------------------------------------------------------------ what is written


def write(context: Context, put: Put, what: str) -> Iterator[Change]:
    for daemon in context.survey[Incus].daemons:
        keys = {key.partition(".")[2]: str(value) for key, value in put.items() if key.startswith(f"{daemon.name}.")}
        if keys:
            said = (
                f"set {', '.join(f'{key}={value}' for key, value in keys.items())} in {daemon.name}'s profile {DEFAULT}"
            )
            yield from _set(context, daemon, keys, said)


def _set(context: Context, daemon: Daemon, keys: Mapping[str, str], what: str) -> Iterator[Change]:
    todo = f"set it with {daemon.client} profile set {DEFAULT}"
    if known(daemon.clustered):
        why = f"{daemon.name} is a member of a cluster, whose instances on other hosts have this profile too"
        yield Blocked("incus", what, why=why, by_hand=todo)
        return
    if daemon.snap:
        yield Blocked("incus", what, why="LXD is a snap, whose client is not at hand", by_hand=todo)
        return
    if not context.accepts(ACCEPT):
        why = (
            "instances that are there have the profile too: its limits hold at once for those that run, and may end "
            "what takes more; their ids change at their next start"
        )
        yield Blocked("incus", what, why=why, by_hand="give these instances a profile of their own", accepts=(ACCEPT,))
        return
    yield Command(
        "incus", f"{what}: limits hold at once for instances that have it, ids from their next start on",
        script=_as(daemon, _put(keys)), undo=_as(daemon, _back(daemon, keys)),
    )  # fmt: skip


def _as(daemon: Daemon, lines: Iterable[str]) -> str:
    """The client writes a file into its user's home: it gets one that goes again."""
    return (
        "(HOME=$(mktemp -d) || exit 1; export HOME; trap 'rm -rf \"$HOME\"' EXIT\n"
        f'profile() {{ {daemon.client} --force-local profile "$@"; }}\n' + "\n".join(lines) + ")\n"
    )


def _put(keys: Mapping[str, str]) -> Iterator[str]:
    """The client fails too where an instance that runs cannot have it at once, and the profile is changed."""
    yield f"profile set {DEFAULT} {' '.join(f'{key}={value}' for key, value in keys.items())}"
    for key, value in keys.items():
        yield f'[ "$(profile get {DEFAULT} {key})" = {value} ] || exit 1'


def _back(daemon: Daemon, keys: Mapping[str, str]) -> Iterator[str]:
    """Each key that still has what was written."""
    yield f"profile show {DEFAULT} >/dev/null || exit 1"
    for key, value in keys.items():
        old = daemon.default.config.get(key, "")
        yield f'if [ "$(profile get {DEFAULT} {key})" = {value} ]; then'
        yield f"  profile set {DEFAULT} {shlex.quote(f'{key}={old}')}" if old else f"  profile unset {DEFAULT} {key}"
        yield f'  [ "$(profile get {DEFAULT} {key})" = {shlex.quote(old)} ] || exit 1\nfi'


ROWS: tuple[Row, ...] = (
    Row(
        name="isolated",
        title="Containers of Incus and LXD have ids that no other has",
        severity=Severity.MEDIUM,
        why="By default all containers have the same ids: root of one that got out is root of all others.",
        references=("NIST-800-190-4.4.3",),
        wrong=_shared_ids,
        put=_isolate,
        by_hand=f"set {ISOLATED} in the profile {DEFAULT}",
    ),
    Row(
        name="pids",
        title="Containers of Incus and LXD have a limit of processes",
        severity=Severity.MEDIUM,
        why="A fork bomb in one container would take the processes of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_unlimited(PIDS),
        put=_limit(PIDS),
        by_hand=f"set {PIDS} in the profile {DEFAULT}",
    ),
    Row(
        name="memory",
        title="Instances of Incus and LXD have a limit of memory",
        severity=Severity.MEDIUM,
        why="One container without a limit can take the memory of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_unlimited(MEMORY),
        put=_limit(MEMORY),
        by_hand=f"set {MEMORY} in the profile {DEFAULT} to a number of bytes",
    ),
)
