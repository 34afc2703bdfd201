"""The rows of the profile `default`, which instances get that name no profile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from deploys.core.change import Blocked, Change, Command, Context
from deploys.core.control import Severity, some
from deploys.engines.defaults import Default, Put
from facts.core.reading import Unknown, known
from facts.engines.incus.incus import DEFAULT, PROGRAMS, Configured, Daemon, Incus, IncusReading

ACCEPT = "incus-profile"  # accepting it: instances that are there get what new ones get
PRIVILEGED = "security.privileged"
ISOLATED, PIDS, MEMORY = "security.idmap.isolated", "limits.processes", "limits.memory"
ENFORCE = "limits.memory.enforce"  # soft: a limit for when the host itself runs out of memory
Wrong = list[tuple[Daemon, Configured]]
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


def _wrong(reading: IncusReading, against: Callable[[Configured], bool]) -> Wrong:
    return [(daemon, each) for daemon in reading.daemons for each in daemon.defaults if against(each)]


def _said(wrong: Wrong, key: str) -> str:
    return some(f"{daemon.name}'s profile {each.name} {_says(each, key)}" for daemon, each in wrong)


def _says(profile: Configured, key: str) -> str:
    key = ENFORCE if key == MEMORY and _soft(profile) else key
    value = profile.config.get(key)
    return f"sets {key} to {value}" if value else f"does not set {key}"


def _set_in(wrong: Wrong, key: str, value: str) -> Put:
    """Profiles of other projects are left to whoever made these."""
    others = any(each.name != DEFAULT for _, each in wrong)
    return {} if others else {f"{daemon.name}.{key}": value for daemon, _ in wrong}


def _shares(profile: Configured) -> bool:
    return not profile.on(ISOLATED)


def _shared_ids(reading: IncusReading, wanted: Any) -> str:
    return _said(_wrong(reading, _shares), ISOLATED)


def _isolate(reading: IncusReading, wanted: Any) -> Put:
    """Of containers that become isolated later, Incus 6.0 takes it that their ids begin at 0 when it looks for free
    ones (findIdmap): it gives ids that are not root's in /etc/subuid, with which neither they nor new ones start."""
    there = [each for daemon in reading.daemons for each in _containers(daemon)]
    undecided = any(each is None or (not each.on(PRIVILEGED) and ISOLATED not in each.config) for each in there)
    return {} if undecided else _set_in(_wrong(reading, _shares), ISOLATED, "true")


def _containers(daemon: Daemon) -> Iterable[Configured | None]:
    """None: it is not known which there are."""
    if isinstance(daemon.instances, Unknown):
        return [None]
    return [each for each in daemon.instances if each.kind == "container"]


def _soft(profile: Configured) -> bool:
    return profile.config.get(ENFORCE) == "soft"


def _above(key: str, wanted: int, profile: Configured) -> bool:
    own = amount(profile.config.get(key, ""))
    return own is None or own > wanted or (key == MEMORY and _soft(profile))


def _unlimited(key: str) -> Any:
    return lambda reading, wanted: _said(_wrong(reading, partial(_above, key, wanted)), key)


def _limit(key: str) -> Any:
    """One that is not understood stays: it may be lower. So does a soft one."""

    def put(reading: IncusReading, wanted: int) -> Put:
        wrong = _wrong(reading, partial(_above, key, wanted))
        values = [each.config.get(key) for _, each in wrong]
        stays = any(value and amount(value) is None for value in values)
        soft = key == MEMORY and any(_soft(each) for _, each in wrong)
        return {} if stays or soft else _set_in(wrong, key, str(wanted))

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
    """The client writes a file into its user's home: it gets one that goes again. It would start a daemon that does not
    run."""
    program = PROGRAMS[daemon.name]
    return (
        f"(grep -sqx {program} /proc/[0-9]*/comm || {{ echo '{program} does not run' >&2; exit 1; }}\n"
        "HOME=$(mktemp -d) || exit 1; export HOME; trap 'rm -rf \"$HOME\"' EXIT\n"
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
        by_hand=f"set {ISOLATED}=false in each container that is there (incus config set NAME KEY=VALUE): it would get "
        f"ids that it cannot start with; then {ISOLATED}=true in the profile {DEFAULT} of each project",
    ),
    Row(
        name="pids",
        title="Containers of Incus and LXD have a limit of processes",
        severity=Severity.MEDIUM,
        why="A fork bomb in one container would take the processes of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_unlimited(PIDS),
        put=_limit(PIDS),
        by_hand=f"set {PIDS} in the profile {DEFAULT} of each project",
    ),
    Row(
        name="memory",
        title="Instances of Incus and LXD have a limit of memory",
        severity=Severity.MEDIUM,
        why="One container without a limit can take the memory of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_unlimited(MEMORY),
        put=_limit(MEMORY),
        by_hand=f"set {MEMORY} in the profile {DEFAULT} of each project to a number of bytes, and unset {ENFORCE}",
    ),
)
