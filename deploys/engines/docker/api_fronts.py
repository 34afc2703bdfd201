"""Other ways to an API: programs that pass connections on to Docker's socket, and daemons that are not judged."""

from __future__ import annotations

from deploys.core.control import Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker


def relays(survey: Survey, policy: Policy) -> Verdict:
    docker, allowed = survey[Docker], policy[DockerRules].relays
    if allowed is None:
        return not_applicable("the policy does not declare docker.relays")
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    others = [front for front in known(docker.fronts) if front.program not in allowed and front.name not in allowed]
    found = [str(front) for front in others if front.relay]
    if found:
        reason = f"these pass connections on to Docker's socket, so whoever reaches them is root here: {some(found)}"
        wants = f"only {', '.join(allowed)}" if allowed else "none"
        return failed(f"{reason}; the policy allows {wants} (docker.relays)", declared=allowed, disk=found, live=found)
    if others:
        raise UnknownReading(
            "these have Docker's socket and listen themselves, and it is not known whether they pass connections on to "
            f"it: {some(map(str, others))}; docker.relays can name those that may"
        )
    return passed(
        "no program is seen that passes connections on to Docker's socket", declared=allowed, disk=[], live=[]
    )


def other_daemons(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: no other control judges a second daemon of root's."""
    docker = survey[Docker]
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    seconds = [str(daemon) for daemon in known(docker.others) if not daemon.user]
    if seconds:
        reason = f"root runs a Docker that no control judges beside the one of docker.service: {some(seconds)}"
        return failed(reason, declared=[], disk=None, live=seconds)
    rootless = [str(daemon) for daemon in known(docker.others)]
    beside = f"; rootless ones, whose users are not root by them, are there too: {some(rootless)}" if rootless else ""
    return passed(f"root runs no second Docker daemon{beside}", declared=[], live=[])
