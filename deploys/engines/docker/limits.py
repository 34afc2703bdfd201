"""Resource limits that the process that starts containers cannot set: with such a default no container starts."""

from __future__ import annotations

from typing import Any

from facts.core.reading import known
from facts.engines.docker.docker import DockerReading, Starter

# The names of setrlimit(2), as dockerd writes them, and the rows of /proc/PID/limits.
ROWS = {
    "as": "Max address space", "core": "Max core file size", "cpu": "Max cpu time", "data": "Max data size",
    "fsize": "Max file size", "locks": "Max file locks", "memlock": "Max locked memory",
    "msgqueue": "Max msgqueue size", "nice": "Max nice priority", "nofile": "Max open files",
    "nproc": "Max processes", "rss": "Max resident set", "rtprio": "Max realtime priority",
    "rttime": "Max realtime timeout", "sigpending": "Max pending signals", "stack": "Max stack size",
}  # fmt: skip


def beyond(docker: DockerReading, limits: Any) -> str:
    """Why no new container would start with these default-ulimits; "" where they can be set."""
    if not isinstance(limits, dict) or docker.starter is None:
        return ""
    starter = known(docker.starter)
    found = (_beyond(starter, name, row.get("Hard")) for name, row in limits.items() if isinstance(row, dict))
    return next(filter(None, found), "")


def _beyond(starter: Starter, name: str, hard: Any) -> str:
    if not isinstance(hard, int):
        return ""
    wanted = "no limit" if hard < 0 else f"{hard:,}"
    if name == "nofile" and starter.nr_open is not None and _above(hard, starter.nr_open):
        return (
            f"no new container starts with nofile={wanted}, because fs.nr_open, the kernel's maximum, is "
            f"{starter.nr_open:,}: declare less in docker.default_ulimits"
        )
    most = starter.hard.get(ROWS.get(name, ""), -1)
    if starter.sys_resource or most < 0 or not _above(hard, most):
        return ""
    return (
        f"no new container starts with {name}={wanted}, because {starter.program}, which starts them, has a hard limit "
        f"of {most:,} and no CAP_SYS_RESOURCE to exceed it: raise Limit{name.upper()}= of {starter.program}.service "
        "(if "
        "Docker itself runs in a container, that container's limit), or declare less in docker.default_ulimits"
    )


def _above(hard: int, most: int) -> bool:
    return hard < 0 or hard > most
