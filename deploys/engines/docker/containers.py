"""What Docker gives its containers when they start: an AppArmor profile, an SELinux label, a seccomp filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploys.core.change import Blocked, Change, Context
from deploys.core.control import State
from deploys.core.policy import Policy
from deploys.engines.docker import apparmor, seccomp
from deploys.engines.docker.restart import start_again
from facts.containers import Container
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import Container as Asked
from facts.engines.docker.docker import Docker
from facts.lsm import Lsm


class DockerContainers:
    """A StartingEngine."""

    name = "docker"

    def mends(self, rule: str, container: Container, survey: Survey, policy: Policy) -> State | None:
        if (asked := _asked(container, survey)) is None:
            return None
        if rule == "seccomp":
            return seccomp.mends(asked, survey, policy)
        # Docker labels a container for SELinux when it creates it: a restart changes nothing there.
        return None if known(survey[Lsm].major) == "selinux" else apparmor.mends(asked, container, survey)

    def refused_calls(self, container: Container, survey: Survey, policy: Policy) -> tuple[str, ...]:
        return seccomp.refused_calls(_asked(container, survey), policy)

    def start_again(self, context: Context, rule: str, containers: Sequence[Container]) -> Iterable[Change]:
        names = [each.name for each in containers]
        if rule == "seccomp":
            why, obstacle = "to give containers the daemon's present seccomp profile", seccomp.obstacle(context)
        else:
            why, obstacle = "to confine containers that started unconfined", apparmor.obstacle(context.survey)
        if obstacle:
            return [Blocked("containers", f"start {', '.join(names)} again: {why}", why=obstacle)]
        return start_again(context, "containers", why, names)


def _asked(container: Container, survey: Survey) -> Asked | None:
    """What was asked for it when it was created; None where Docker does not answer, or does not name it."""
    docker = survey[Docker]
    containers = docker.containers if isinstance(docker.containers, tuple) else ()
    return docker.remember("containers by id", lambda: {each.id: each for each in containers}).get(container.id)
