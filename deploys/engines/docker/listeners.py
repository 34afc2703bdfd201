"""Which of dockerd's own TCP listeners serve its API, and which only forward published ports.

With `userland-proxy: false` dockerd itself listens on each published port; in a swarm, also on the ports of services
and of the swarm.
"""

from __future__ import annotations

from typing import Any

from deploys.engines.docker.daemon import configured
from facts.core.reading import UnknownReading, known
from facts.engines.docker.docker import DockerReading

SWARM_PORTS = ("2377", "7946")  # cluster management and gossip, both with certificates of their own
NOT_KNOWN = "cannot determine whether the API or a swarm's service listens on"
NOT_TCP = ("unix://", "fd://", "npipe://")
DEFAULT_PORTS = ("2375", "2376")  # of tcp:// without a port: without TLS and with it
ANYWHERE = ("*", "0.0.0.0", "::", "")  # published for every address, as Docker and ss(8) write it


def tcp(hosts: Any) -> list[str]:
    """Those of dockerd's hosts that are TCP addresses: also what has no scheme, such as 0.0.0.0:2375."""
    return [host for host in hosts if isinstance(host, str) and host and not host.startswith(NOT_TCP)]


def api_listeners(docker: DockerReading) -> list[str]:
    """The TCP addresses of the API. UnknownReading where a listener may be the API or the port of a service."""
    metrics = _port(str(configured(docker, "metrics-addr") or ""))
    swarm = docker.in_swarm
    not_api = {metrics, *(SWARM_PORTS if swarm else ())}
    found = [address for address in known(docker.listeners) if _port(address) not in not_api]
    return [address for address in found if _is_api(address, docker, swarm)]


def _is_api(address: str, docker: DockerReading, swarm: bool) -> bool:
    if address in docker.handed:
        return True
    if _published(address, docker):
        return False
    if _port(address) in _given_ports(docker) or not swarm:
        return True  # perhaps by an earlier setting: dockerd listens for nothing else
    # In a swarm it listens on the ports of services too, wherever their containers run.
    if known(docker.stale):
        raise UnknownReading(f"{NOT_KNOWN} {address}: daemon.json was changed after dockerd started")
    return False


def _given_ports(docker: DockerReading) -> set[str]:
    """The ports of the TCP addresses that dockerd was started with, if its settings have not changed since."""
    hosts = configured(docker, "hosts") or ()
    found = tcp(hosts.split() if isinstance(hosts, str) else hosts)
    return {port for host in found for port in ([_port(host)] if _port(host).isdigit() else DEFAULT_PORTS)}


def _published(address: str, docker: DockerReading) -> bool:
    """Whether a running container's port is published there."""
    ports = (published for container in known(docker.containers) for published in container.published)
    return any(_port(published) == _port(address) and _same_host(published, address) for published in ports)


def _same_host(published: str, address: str) -> bool:
    one, other = (text.rpartition(":")[0].strip("[]").partition("%")[0] for text in (published, address))
    return one == other or (one in ANYWHERE and other in ANYWHERE)


def _port(address: str) -> str:
    return address.rpartition(":")[2]
