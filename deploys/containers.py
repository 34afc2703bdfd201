"""Having running containers take up what only a start gives them: an LSM label, a seccomp filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from deploys.docker_daemon import docker_service
from deploys.engine.change import Activate, Blocked, Change, Context, Service
from facts.docker import Container, Docker
from facts.reading import Unknown, UnknownReading

ACCEPT = "restart-containers"


def start_anew(context: Context, subject: str, containers: Sequence[Container], why: str) -> Iterable[Change]:
    """Restart Docker, and where it leaves its containers running (live-restore), the containers themselves, which
    has to be accepted by name."""
    yield Activate(subject, f"restart Docker: {why}", service=docker_service(context))
    info = context.survey[Docker].info
    kept = isinstance(info, dict) and info.get("LiveRestoreEnabled") is True
    if not (kept and containers):
        return
    listed = ", ".join(container.name for container in containers)
    what = f"restart {listed}: {why}"
    if context.accepts(ACCEPT):
        yield Activate(subject, what, service=_restart(containers, listed), interrupts=f"restarts {listed}")
    else:
        yield Blocked(subject, what, why=f"live-restore keeps these containers running; accept {ACCEPT} to restart them")


def _restart(containers: Sequence[Container], listed: str) -> Service:
    ids = " ".join(quote(container.id) for container in containers)
    return Service(
        name=f"containers {listed}",
        activate=f"docker restart {ids}",
        healthy=f"docker inspect --format '{{{{.State.Running}}}}' {ids} | grep -vqx true && exit 1 || exit 0",
        explain=f"docker inspect --format '{{{{.Name}}}}: {{{{.State.Status}}}} {{{{.State.Error}}}}' {ids}",
        interrupts=f"restarts {listed}",
    )


def options(container: Container, kind: str) -> tuple[str, ...]:
    """The values of `--security-opt KIND=VALUE` (or the old `KIND:VALUE`) that the container was started with."""
    found = (option for option in container.security_opt if option.startswith((f"{kind}=", f"{kind}:")))
    return tuple(option[len(kind) + 1 :] for option in found)


def unknown_process(containers: Iterable[Container]) -> None:
    """UnknownReading where a container's process could not be read."""
    for container in containers:
        if isinstance(container.process, Unknown):
            raise UnknownReading(f"container {container.name}: {container.process.unknown}")
