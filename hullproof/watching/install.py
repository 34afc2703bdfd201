"""A watch put into systemd and taken out of it. What others wrote, or changed after us, is never overwritten."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from deploys.core.policy_file import load_policy
from deploys.core.policy_tree import PolicyError
from deploys.core.text import clean_text
from deploys.report.files import write_whole
from deploys.subjects import SUBJECTS
from hullproof import PACKAGE
from hullproof.watching.look import metrics_file, unreadable
from hullproof.watching.systemd import Manager
from hullproof.watching.units import Watch, WatchError, asked, service, timer, whose

USER = "hullproof"  # made where it is missing; any other has to be there
UNIT_MODE = 0o644
TEMPORARY = ("/tmp", "/var/tmp")


def units(watch: Watch) -> dict[str, str]:
    """The text of each unit, by name."""
    return {f"{watch.unit}.service": service(watch), f"{watch.unit}.timer": timer(watch)}


def install(watch: Watch, manager: Manager) -> None:
    """Raises WatchError, and has changed nothing then but that the user is there, unless systemctl itself failed."""
    if why := manager.absent():
        raise WatchError(f"{why}, so nothing was installed; --dry shows the units")
    _check_root(manager)
    _check_files(watch)
    rendered = units(watch)
    _not_of_others(rendered, manager)
    before = _metrics_before(watch, manager)
    _check_policy(watch)
    if watch.user:
        _check_user(watch)
    _check_inventory(watch)
    manager.verify(rendered)
    try:
        if manager.own:
            watch.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in rendered.items():
            manager.units.mkdir(parents=True, exist_ok=True)
            write_whole(manager.units / name, text, UNIT_MODE)
    except OSError as error:
        raise WatchError(f"the units could not be written: {error}") from error
    manager.ctl("daemon-reload")
    manager.ctl("enable", f"{watch.unit}.timer")
    manager.ctl("restart", f"{watch.unit}.timer")  # started already where it is installed again, with another interval
    if before and before != watch.metrics:
        _drop(metrics_file(before, watch.name))


def remove(unit: str, manager: Manager) -> None:
    """Stop the timer, take both units away, and the metrics, which would grow old. Reports stay. Raises WatchError."""
    if why := manager.absent():
        raise WatchError(why)
    _check_root(manager)
    names = [name for name in (f"{unit}.timer", f"{unit}.service") if (manager.units / name).exists()]
    if not names:
        raise WatchError(f"{manager.units} has no {unit}.timer: there is no such watch")
    _not_of_others(names, manager)
    found = _installed(unit, manager)
    manager.ctl("disable", "--now", f"{unit}.timer")
    manager.ctl("stop", f"{unit}.service")  # a look under way would write metrics again
    for name in names:
        (manager.units / name).unlink(missing_ok=True)
    if found and found[2]:
        _drop(metrics_file(found[2], found[0]))
    manager.ctl("daemon-reload")


def _installed(unit: str, manager: Manager) -> tuple[str, Path, Path | None] | None:
    path = manager.units / f"{unit}.service"
    return asked(path.read_text(encoding="utf-8")) if path.exists() else None


def _metrics_before(watch: Watch, manager: Manager) -> Path | None:
    """The folder of metrics of the watch that is to be replaced. Raises WatchError where that is of other hosts."""
    found = _installed(watch.unit, manager)
    if found and found[1] != watch.inventory:
        raise WatchError(f"the watch {watch.name} looks at {found[1]}: choose another --name, or remove it first")
    return found[2] if found else None


def _drop(metrics: Path) -> None:
    """Series that nobody brings up to date would be alerts for ever."""
    with contextlib.suppress(OSError):
        metrics.unlink(missing_ok=True)


def _check_root(manager: Manager) -> None:
    if not manager.own and os.geteuid() != 0:
        raise WatchError("only root may change units of the system: use sudo, or --user-units for units of your own")


def _not_of_others(names: Iterable[str], manager: Manager) -> None:
    for name in names:
        path = manager.units / name
        if path.is_symlink() or path.exists():
            kind = whose(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else "foreign"
            if kind != "ours":
                what = "was not written by hullproof" if kind == "foreign" else "was changed after hullproof wrote it"
                raise WatchError(
                    f"{path} {what}, so it stays as it is: choose another --name, or move the file away "
                    "(settings of your own belong into a drop-in)"
                )
        if hidden := next((folder / name for folder in manager.others if (folder / name).exists()), None):
            raise WatchError(f"{hidden} is there already, and a unit of that name would hide it: choose another --name")


def _check_files(watch: Watch) -> None:
    if why := unreadable(watch.inventory):
        raise WatchError(why)
    for name, path in watch.credentials:
        if not path.is_file():
            raise WatchError(f"the file for {name}, {path}, is not there")


def _check_policy(watch: Watch) -> None:
    try:
        if watch.policy:
            load_policy(watch.policy, SUBJECTS)
    except PolicyError as error:
        raise WatchError(error.message) from error


def _check_user(watch: Watch) -> None:
    try:
        pwd.getpwnam(watch.user)
    except KeyError:
        if watch.user != USER:
            raise WatchError(f"there is no user {watch.user}: make it, or leave --user out") from None
        make = f'u {USER} - "hullproof watch" {watch.state.parent}'
        made = subprocess.run(["systemd-sysusers", "-"], input=make, capture_output=True, text=True)
        if made.returncode:
            raise WatchError(f"the user {USER} could not be made: {clean_text(made.stderr.strip())}") from None
    if watch.metrics and not _as_user(watch, ["test", "-d", str(watch.metrics), "-a", "-w", str(watch.metrics)]):
        raise WatchError(
            f"{watch.user} may not write to {watch.metrics}: install -d -m 2775 -g {watch.user} {watch.metrics}"
        )
    read = [PACKAGE, Path(sys.executable), watch.inventory, *filter(None, [watch.policy_file])]
    for path in [*read, *filter(None, [watch.metrics])]:
        if any(path.is_relative_to(folder) for folder in TEMPORARY):
            raise WatchError(f"{path} is among temporary files, of which a service sees none: move it to /etc or /opt")
    for path in read:
        if not _as_user(watch, ["test", "-r", str(path)]):
            raise WatchError(
                f"{watch.user} may not read {path}: move it to where it may (/opt, /etc), or choose another --user"
            )


def _as_user(watch: Watch, words: list[str]) -> bool:
    return subprocess.run(words, **_identity(watch)).returncode == 0  # type: ignore[call-overload, no-any-return]


def _identity(watch: Watch) -> Mapping[str, object]:
    """What makes a process the watch's user's, as the service will be."""
    if not watch.user:
        return {}
    entry = pwd.getpwnam(watch.user)
    groups = os.getgrouplist(watch.user, entry.pw_gid)
    env = {"PATH": os.defpath, "HOME": entry.pw_dir, "PYTHONPATH": str(PACKAGE.parent)}
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups, "cwd": "/", "env": env}


def _check_inventory(watch: Watch) -> None:
    """Whether pyinfra makes hosts of it, as the watch's user."""
    words = [sys.executable, "-P", "-m", "pyinfra", str(watch.inventory), "debug-inventory"]
    done = subprocess.run(words, capture_output=True, text=True, **_identity(watch))  # type: ignore[call-overload]
    hosts = re.findall(r"^\[(\S+)\]\s*$", done.stderr + done.stdout, re.MULTILINE)
    if done.returncode or not hosts:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        why = "it names no host" if not done.returncode else clean_text(" ".join(said[2:8]))
        raise WatchError(f"the inventory {watch.inventory} cannot be used: {why}")
    if watch.user and "@local" in hosts:
        raise WatchError(
            f"the inventory {watch.inventory} has @local, which a service in its sandbox would judge by that sandbox: "
            "name this machine by its address, for it to be reached over SSH"
        )
