"""Registries that Docker uses without TLS."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from deploys.core.change import Change, Context
from deploys.core.control import Impact, Verdict, agree, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import configured, daemon_json
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading

MIRRORS = "registry-mirrors"


def _asked_without_tls(config: dict[str, Any]) -> Iterator[str]:
    """The registries without TLS in docker info's RegistryConfig."""
    indexes, nets = config.get("IndexConfigs") or {}, config.get("InsecureRegistryCIDRs") or []
    if not isinstance(indexes, dict) or not isinstance(nets, list):
        raise UnknownReading("docker info: its RegistryConfig has an unexpected form")
    secure = {name: index.get("Secure", True) if isinstance(index, dict) else None for name, index in indexes.items()}
    if strange := [name for name, value in secure.items() if not isinstance(value, bool)]:
        raise UnknownReading(f"docker info: cannot determine whether {strange[0][:100]} is used with TLS")
    yield from (name for name, value in secure.items() if not value)
    yield from (str(net) for net in nets if net not in ("127.0.0.0/8", "::1/128"))


def _mirrors(config: dict[str, Any]) -> list[str]:
    mirrors = config.get("Mirrors") or []
    if not isinstance(mirrors, list):
        raise UnknownReading("docker info: its list of mirrors has an unexpected form")
    return [str(mirror) for mirror in mirrors]


def _listed(docker: DockerReading, name: str) -> list[str]:
    value = configured(docker, name) or []
    return value.split() if isinstance(value, str) else list(value)


def _plain(mirrors: Iterable[str]) -> list[str]:
    """Mirrors without TLS that are not on the host itself: http:// addresses, as a list of registries has them."""
    hosts = (url.removeprefix("http://").rstrip("/") for url in mirrors if url.startswith("http://"))
    return [host for host in hosts if not re.match(r"(127\.|localhost(:|$)|\[::1\])", host)]


def insecure_registries(survey: Survey, policy: Policy) -> Verdict:
    """CIS 2.5. Docker itself always adds 127.0.0.0/8 and ::1/128."""
    docker, allowed = survey[Docker], policy[DockerRules].insecure_registries
    if allowed is None:
        return not_applicable("the policy does not declare docker.insecure_registries")
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    config = docker.told("RegistryConfig", dict) or {}
    disk = [*_listed(docker, "insecure-registries"), *_plain(_listed(docker, MIRRORS))]
    live = [*_asked_without_tls(config), *_plain(_mirrors(config))]
    beyond = [name for name in (*disk, *live) if name not in allowed]
    if not beyond:
        return passed(
            "every registry is used with TLS, except for those that the policy allows",
            declared=allowed,
            disk=disk,
            live=live,
        )
    if not [name for name in disk if name not in allowed]:
        return agree(
            declared=allowed,
            disk=disk,
            live=live,
            impact=Impact.RESTART,
            holds=lambda value: value == disk,
            what="the list of registries without TLS",
        )
    return failed(
        f"these registries are used without TLS: {', '.join(sorted(set(beyond)))}; the policy wants TLS for them "
        "(docker.insecure_registries)",
        declared=allowed,
        disk=disk,
        live=live,
    )


def plan_insecure_registries(context: Context) -> Iterable[Change]:
    if not context.failing("docker.insecure-registries"):
        return
    allowed = context.policy[DockerRules].insecure_registries or []
    docker = context.survey[Docker]
    what = "use TLS for every registry that the policy does not exempt"
    refused = [host for host in _plain(_listed(docker, MIRRORS)) if host not in allowed]
    left = {
        "insecure-registries": [name for name in _listed(docker, "insecure-registries") if name in allowed],
        MIRRORS: [url for url in _listed(docker, MIRRORS) if not set(_plain([url])) & set(refused)],
    }
    there = known(docker.daemon_json.keys)
    changed = {name: value for name, value in left.items() if name in there and value != there[name]}
    put = {name: value for name, value in changed.items() if value}
    yield daemon_json(context, "docker", what, put=put, drop=tuple(name for name in changed if name not in put))
