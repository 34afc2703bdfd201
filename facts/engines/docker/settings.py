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
    return {"true": True, "false": False}.get(flags[key], flags[key])


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
