"""Which engine a bare host gets, by distribution."""

from __future__ import annotations

from collections.abc import Collection

from deploys.core.change import Blocked, Change, Command, Install, Obstacle
from deploys.engines import foreign_bridges as bridged
from deploys.engines.docker.undo import STARTED, stop_script
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.core.system import System, SystemReading
from facts.engines import present
from facts.engines.docker.docker import Docker
from facts.networks.networks import Networks

START = "systemctl enable --now docker.socket docker.service && docker version >/dev/null"


def engine_for(survey: Survey | None, accepts: Collection[str]) -> list[Change]:
    """The changes that bring a container engine to the host; none where one is there or nothing can be told."""
    if survey is None:
        return []
    try:
        system, docker = survey[System], survey[Docker]
    except UnknownReading:
        return []
    if docker.installed is not False:  # also where one is at another place than it is looked for
        return []
    if system.family != "debian":
        why = f"{system.pretty_name} packages no Docker of its own: install the engine you trust, then run harden"
        return [Blocked("engine", "install Docker", why=why)]
    if bridged.ACCEPT not in accepts and (obstacle := _cuts_off(survey, system)):
        return [obstacle.block("engine", "install Docker")]
    return [
        Install("engine", "install Docker from the distribution's packages", packages=_packages(system)),
        # A policy-rc.d, as images made in a chroot have it, keeps packages from starting what they bring.
        Command("engine", f"{STARTED}, now and at boot", script=START, undo=stop_script(engine=True)),
    ]


def _cuts_off(survey: Survey, system: SystemReading) -> Obstacle | None:
    """Why Docker, as it starts for the first time, would cut guests off on bridges; None where it would not."""
    loads = not (system.id == "debian" and system.version_id >= "14")  # whose Docker loads it when it is needed
    with_ = "loads br_netfilter, with which bridged frames meet iptables, and " if loads else ""
    cause = f"Docker {with_}sets iptables' FORWARD policy to DROP"
    try:
        reading = survey[Networks]
        called = (4, 6) if loads and not known(reading.br_netfilter) else ()
        return bridged.refusal(cause, bridged.stopped_by(present.engines(survey), reading, called=called, drops=(4,)))
    except UnknownReading as error:
        return Obstacle(why=f"{cause}; whether that cuts guests off on bridges is not known: {error}")


def _packages(system: SystemReading) -> tuple[str, ...]:
    """Debian 13 split the client off; Docker runs without AppArmor's parser, but then confines nothing."""
    client = ("docker-cli",) if system.id == "debian" and system.version_id >= "13" else ()
    return ("docker.io", *client, "apparmor", "iptables")
