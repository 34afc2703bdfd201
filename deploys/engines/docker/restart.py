"""Having Docker, or running containers, take up what only a start gives them: an LSM label, a seccomp filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploys.core.change import Activate, Blocked, Change, Context
from deploys.engines.docker.daemon import RESTART, docker_service, restart_obstacle
from facts.engines.docker.docker import Container


def restart(context: Context, subject: str, why: str) -> Change:
    """Restart the daemon; live-restore keeps containers running meanwhile."""
    what = f"restart Docker: {why}"
    if obstacle := restart_obstacle(context, {}):
        return obstacle.block(subject, what)
    service = docker_service(context)
    return Activate(subject, what, service=service, interrupts=service.interrupts)


def start_again(context: Context, subject: str, why: str, names: Sequence[str]) -> Iterator[Change]:
    """Start these containers again with a restart of Docker, which has to be accepted by name."""
    if context.accepts(RESTART):
        yield restart(context, subject, why)
    else:
        what = f"start {', '.join(names)} again: {why}"
        yield Blocked(subject, what, why="that stops them first", accepts=(RESTART,))


def options(container: Container, kind: str) -> tuple[str, ...]:
    """The values of `--security-opt KIND=VALUE` (or the old `KIND:VALUE`) that the container was started with."""
    found = (option for option in container.security_opt if option.startswith((f"{kind}=", f"{kind}:")))
    return tuple(option[len(kind) + 1 :] for option in found)
