"""Which engine a bare host gets, by distribution."""

from __future__ import annotations

from deploys.docker_undo import STARTED, stop_script
from deploys.engine.change import Blocked, Change, Command, Install
from facts.docker import Docker
from facts.reading import UnknownReading
from facts.survey import Survey
from facts.system import System, SystemReading

START = "systemctl enable --now docker.socket docker.service && docker version >/dev/null"


def engine_for(survey: Survey | None) -> list[Change]:
    """The changes that bring a container engine to the host; none where one is there or nothing can be told."""
    if survey is None:
        return []
    try:
        system, docker = survey[System], survey[Docker]
    except UnknownReading:
        return []
    if docker.installed:
        return []
    if system.family != "debian":
        why = f"{system.pretty_name} packages no Docker of its own: install the engine you trust, then run harden"
        return [Blocked("engine", "install Docker", why=why)]
    return [
        Install("engine", "install Docker from the distribution's packages", packages=_packages(system)),
        # A policy-rc.d, as images made in a chroot have it, keeps packages from starting what they bring.
        Command("engine", f"{STARTED}, now and at boot", script=START, undo=stop_script(engine=True)),
    ]


def _packages(system: SystemReading) -> tuple[str, ...]:
    """Debian 13 split the client off; Docker runs without AppArmor's parser, but then confines nothing."""
    client = ("docker-cli",) if system.id == "debian" and system.version_id >= "13" else ()
    return ("docker.io", *client, "apparmor", "iptables")
