"""Registries that Docker uses without TLS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from deploys.core.change import Change, Context
from deploys.core.control import Impact, Verdict, agree, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import configured, daemon_json
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker


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


def insecure_registries(survey: Survey, policy: Policy) -> Verdict:
    """CIS 2.5. Docker itself always adds 127.0.0.0/8 and ::1/128."""
    docker, allowed = survey[Docker], policy[DockerRules].insecure_registries
    if allowed is None:
        return not_applicable("the policy does not declare docker.insecure_registries")
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    disk = configured(docker, "insecure-registries") or []
    disk = disk.split() if isinstance(disk, str) else disk
    live = list(_asked_without_tls(docker.told("RegistryConfig", dict) or {}))
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
            what="insecure-registries",
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
    kept = [name for name in configured(context.survey[Docker], "insecure-registries") or () if name in allowed]
    what = "use TLS for every registry that the policy does not exempt"
    put = {"insecure-registries": kept} if kept else {}
    yield daemon_json(context, "docker", what, put=put, drop=() if kept else ("insecure-registries",))
