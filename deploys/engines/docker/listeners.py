"""Which of the TCP ports that dockerd itself holds are its API, and which it only holds for others.

With `userland-proxy: false` dockerd holds each published port; in a swarm the ports of services and of the swarm too.
"""

from __future__ import annotations

from typing import Any

from deploys.engines.docker.daemon import configured, given_flags
from facts.core.reading import UnknownReading, known
from facts.engines.docker.docker import DockerReading

SWARM_PORTS = ("2377", "7946")  # cluster management and gossip, both with certificates of their own
DEFAULT_PORTS = ("2375", "2376")  # of tcp:// without a port: without TLS and with it
ANYWHERE = ("*", "0.0.0.0", "::", "")  # published for every address: Docker and ss(8) each have words of their own


def tcp(hosts: Any) -> list[str]:
    """Those of dockerd's hosts that are TCP addresses."""
    return [host for host in hosts if isinstance(host, str) and host.startswith(("tcp://", ":"))]


def api_listeners(docker: DockerReading) -> list[str]:
    """Where dockerd takes API calls by TCP. UnknownReading where a listener may be that or the port of a service."""
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
        return True  # or given before its settings were changed: nothing else has dockerd listen
    # It holds the ports of a swarm's services too, wherever their containers run.
    if "config-file" in given_flags(docker):
        raise UnknownReading(f"whether the API or a swarm's service is on {address} is not known: dockerd has a file "
                             "of settings of its own")  # fmt: skip
    if known(docker.stale):
        raise UnknownReading(f"whether the API or a swarm's service is on {address} is not known: daemon.json was "
                             "written after dockerd started")  # fmt: skip
    return False


def _given_ports(docker: DockerReading) -> set[str]:
    """The ports of the TCP addresses that dockerd was started with, as far as its settings still are what it read."""
    hosts = configured(docker, "hosts") or ()
    found = tcp(hosts.split() if isinstance(hosts, str) else hosts)
    return {port for host in found for port in ([_port(host)] if _port(host).isdigit() else DEFAULT_PORTS)}


def _published(address: str, docker: DockerReading) -> bool:
    """Whether a running container's port is published there."""
    ports = (published for container in known(docker.containers) for published in container.published)
    return any(_port(published) == _port(address) and _same_host(published, address) for published in ports)


def _same_host(published: str, address: str) -> bool:
    ours, theirs = (text.rpartition(":")[0].strip("[]").partition("%")[0] for text in (published, address))
    return ours == theirs or (ours in ANYWHERE and theirs in ANYWHERE)


def _port(address: str) -> str:
    return address.rpartition(":")[2]
