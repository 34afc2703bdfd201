"""What dockerd's command line and daemon.json set, and what a release of it does by itself."""

from __future__ import annotations

from typing import Any

from facts.core.reading import UnknownReading, known
from facts.engines.docker.options import config_key, misfit, read_flags, read_release
from facts.engines.docker.shapes import DockerReading

NO_LOADING = (28, 0)  # the first Docker that loads br_netfilter only where a network needs it


def given_flags(docker: DockerReading) -> dict[str, str]:
    """Options of the daemon's command line, running and in its unit, by their daemon.json keys."""
    return docker.remember("flags", lambda: _given_flags(docker))


def _given_flags(docker: DockerReading) -> dict[str, str]:
    unit = read_flags(docker.unit.exec_start.split()[1:] + docker.unit.options.split())
    return {config_key(option): value for option, value in {**unit, **docker.flags}.items()}


def configured(docker: DockerReading, key: str) -> Any:
    """The JSON value that the command line or daemon.json gives a key; None where neither does. UnknownReading where
    daemon.json cannot be read, or dockerd would not start with the value."""
    flags = given_flags(docker)
    if key not in flags:
        return in_daemon_json(docker, key)
    return _read(flags[key])


def at_next_start(docker: DockerReading, key: str) -> Any:
    """The value that the unit's command line or daemon.json gives a key, whatever the running daemon was started with;
    None where neither does."""
    unit = docker.unit
    flags = read_flags(f"{unit.exec_start} {unit.options}".split()[1:]) if unit.exec_start else docker.flags
    named = {config_key(option): value for option, value in flags.items()}
    return _read(named[key]) if key in named else in_daemon_json(docker, key)


def in_force(docker: DockerReading, key: str) -> Any:
    """The value that the running daemon was given; None where it was given none, or by a file that has changed since.
    UnknownReading where it is not known whether that has."""
    flags = docker.flag_keys
    if key in flags:
        return _read(flags[key])
    return None if known(docker.stale) else in_daemon_json(docker, key)


def _read(flag: str) -> Any:
    return {"true": True, "false": False}.get(flag, flag)


def in_daemon_json(docker: DockerReading, key: str) -> Any:
    """The same from the file alone."""
    value = known(docker.daemon_json.keys).get(key)
    if why := misfit(key, value):
        raise UnknownReading(f"{docker.daemon_json.path}: {why}, so dockerd does not start with it")
    return value


def misfits(docker: DockerReading) -> list[str]:
    """The values in daemon.json with which dockerd does not start."""
    return [why for key, value in known(docker.daemon_json.keys).items() if (why := misfit(key, value))]


def off(value: Any) -> bool:
    return value is False or str(value).lower() == "false"


def loads_br_netfilter(docker: DockerReading) -> bool:
    """Whether Docker loads it whenever it starts."""
    release = read_release(docker.version)
    return release is None or release < NO_LOADING
