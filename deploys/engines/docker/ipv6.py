"""Docker's rules for IPv6: until 27.0 its releases write them only with experimental features, and without them do not
start with ip6tables (seen with 26.1: "ip6tables rules are only available if experimental features are enabled")."""

from __future__ import annotations

from typing import Any

from deploys.core.control import some
from deploys.engines.docker.daemon import configured
from facts.core.reading import known
from facts.engines.docker.docker import DockerReading
from facts.engines.docker.options import read_release

BY_ITSELF = (27, 0)  # the first release that writes them by itself


def filters_ipv6(docker: DockerReading) -> bool:
    """Whether this release writes them without being told."""
    release = read_release(docker.version or docker.package_version)
    return release is not None and release >= BY_ITSELF


def without_ipv6(docker: DockerReading) -> str:
    """Why an older release needs no such rules; "" where it does, or writes them by itself."""
    if filters_ipv6(docker) or configured(docker, "ip6tables") is True or _with_ipv6(docker):
        return ""
    return f"no network of Docker {docker.version} has IPv6, and it writes rules for that only as an experiment"


def unfiltered_ipv6(docker: DockerReading, value: Any) -> str:
    """What is wrong with a value on an older release, which nothing but an update mends."""
    if filters_ipv6(docker) or configured(docker, "experimental") is True:
        return ""
    update = "update Docker to 27 or later"
    if value is True:
        return (
            f"Docker {docker.version} does not start with ip6tables unless its experimental features are on: {update}"
        )
    names = some(_with_ipv6(docker))
    return (
        f"Docker {docker.version} writes no packet filter rules for IPv6, which {names} has: {update}" if names else ""
    )


def _with_ipv6(docker: DockerReading) -> list[str]:
    return [network.name for network in known(docker.networks) if any(":" in subnet for subnet in network.subnets)]
