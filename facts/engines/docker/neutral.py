"""Docker as one of the host's container engines."""

from __future__ import annotations

from typing import Any

from facts.core.reading import Unknown, attempt, known
from facts.engines.docker.docker import DockerReading
from facts.engines.docker.settings import configured, loads_br_netfilter, off
from facts.engines.docker.shapes import Container
from facts.engines.shapes import EngineReading, Member

ENABLE_ICC = "com.docker.network.bridge.enable_icc"
NET_ADMIN = {"NET_ADMIN", "CAP_NET_ADMIN", "ALL", "CAP_ALL"}


def neutral(docker: DockerReading) -> EngineReading:
    return docker.remember("neutral", lambda: _neutral(docker))


def _neutral(docker: DockerReading) -> EngineReading:
    containers = docker.containers
    return EngineReading(
        name="Docker",
        installed=docker.installed is not False,
        running=docker.running,
        default_network="bridge",
        networks=docker.networks,
        containers=containers if isinstance(containers, Unknown) else tuple(map(_member, containers)),
        icc=_asked(docker, "icc"),
        icc_later=attempt("default-network-opts", lambda: _icc_later(docker)),
        iptables=_asked(docker, "iptables"),
        dns=attempt("dns", lambda: _dns(configured(docker, "dns"))),
        pools=attempt("default-address-pools", lambda: _pools(configured(docker, "default-address-pools"))),
        loads_br_netfilter=loads_br_netfilter(docker),
    )


def _member(container: Container) -> Member:
    net_admin = container.privileged or not NET_ADMIN.isdisjoint(container.cap_add)
    return Member(container.name, container.pid, container.networks, net_admin)


def _asked(docker: DockerReading, key: str) -> bool | Unknown:
    """A switch that is on where nothing is said of it."""
    return attempt(key, lambda: not off(configured(docker, key)))


def _icc_later(docker: DockerReading) -> bool | None:
    """Docker 24 and later have the setting."""
    if "default-network-opts" not in known(docker.keys_known):
        return None
    options = configured(docker, "default-network-opts")
    bridge = options.get("bridge") if isinstance(options, dict) else None
    return not (isinstance(bridge, dict) and off(bridge.get(ENABLE_ICC)))


def _dns(given: Any) -> tuple[str, ...]:
    """A list in daemon.json, and words on the command line."""
    words = given.split() if isinstance(given, str) else given
    return tuple(map(str, words)) if isinstance(words, list) else ()


def _pools(given: Any) -> tuple[tuple[str, str], ...]:
    pools = given if isinstance(given, list) else []
    bases = (str(pool.get("base")) for pool in pools if isinstance(pool, dict))
    return tuple((base, "a pool of Docker's default-address-pools") for base in bases)
