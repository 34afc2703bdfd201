"""Having running containers take up what only a start gives them: an LSM label, a seccomp filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deploys.core.change import Activate, Blocked, Change, Context
from deploys.engines.docker.daemon import RESTART, docker_service, restart_obstacle
from facts.core.reading import Unknown, UnknownReading
from facts.engines.docker.docker import Container


def start_anew(
    context: Context, subject: str, why: str, control: str, containers: Sequence[Container] = (), daemon: bool = False
) -> Iterator[Change]:
    """Restart Docker if `daemon`, or where that starts `containers` anew, which has to be accepted by name and is what
    the control wants."""
    restart = daemon or (containers and context.accepts(RESTART))
    if restart and (obstacle := restart_obstacle(context, {})):
        yield Blocked(subject, f"restart Docker: {why}", why=obstacle)
        return
    if restart:
        service = docker_service(context)
        yield Activate(subject, f"restart Docker: {why}", service=service, interrupts=service.interrupts)
    if containers and not context.accepts(RESTART):
        listed = ", ".join(container.name for container in containers)
        what, allow = f"start {listed} anew: {why}", f"allow that with accept={RESTART}"
        yield Blocked(subject, what, why=allow, controls=(control,))


def options(container: Container, kind: str) -> tuple[str, ...]:
    """The values of `--security-opt KIND=VALUE` (or the old `KIND:VALUE`) that the container was started with."""
    found = (option for option in container.security_opt if option.startswith((f"{kind}=", f"{kind}:")))
    return tuple(option[len(kind) + 1 :] for option in found)


def unknown_process(containers: Iterable[Container]) -> None:
    """UnknownReading where a container's process could not be read."""
    for container in containers:
        if isinstance(container.process, Unknown):
            raise UnknownReading(f"container {container.name}: {container.process.unknown}")
