"""The API's TCP listeners: what the next start of Docker opens, and what the running daemon listens on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploys.core.change import Blocked, Change, Context, WriteFile
from deploys.core.control import State, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.templates import render
from deploys.engines.docker.daemon import (
    at_next_start,
    daemon_json,
    docker_service,
    in_daemon_json,
    in_force,
    restart_obstacle,
)
from deploys.engines.docker.listeners import api_listeners, tcp
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import OVERRIDE, Docker, DockerReading, read_flags

DOCKER_SOCKET = "docker.socket"  # systemd's unit, which listens for a dockerd with -H fd://


def no_tcp(survey: Survey, policy: Policy) -> Verdict:
    docker, rule = survey[Docker], policy[DockerRules].tcp
    if rule is None:
        return not_applicable("the policy does not declare docker.tcp")
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    disk = {where: hosts for where, hosts in _tcp_on_disk(docker).items() if hosts}
    live = api_listeners(docker)
    if rule == "tls" and (disk or live) and (not disk or at_next_start(docker, "tlsverify") is True):
        return _with_certificates(docker, disk, live)
    where = "; ".join(f"{', '.join(hosts)} in {place}" for place, hosts in disk.items())
    if disk:
        wants = "no TCP listener" if rule == "none" else "client certificates"
        reason = f"Docker's API listens on TCP, and anybody who reaches it is root on this host: {where}"
        return failed(f"{reason}; the policy wants {wants} (docker.tcp)", declared=rule, disk=disk, live=live)
    if not live:
        return passed("Docker's API does not listen on TCP", declared=rule, disk=disk, live=live)
    reason = f"no setting makes Docker's API listen on TCP any more, but it still does on {', '.join(live)}"
    return Verdict(
        State.PENDING_RESTART, f"{reason}; a restart of docker applies it", declared=rule, disk=disk, live=live
    )


def _with_certificates(docker: DockerReading, disk: dict[str, list[str]], live: list[str]) -> Verdict:
    """Where the next start demands certificates, or opens no listener any more."""
    if not live or in_force(docker, "tlsverify") is True:
        return passed(
            "the API listens on TCP for clients with a certificate alone", declared="tls", disk=disk, live=live
        )
    now = "was changed after the daemon started" if docker.stale else "does not set tlsverify"
    reason = (
        f"Docker's API listens on {', '.join(live)}, and nothing shows that the running daemon demands client "
        f"certificates there: its command line has no --tlsverify, and {docker.daemon_json.named} {now}; the policy "
        "wants client certificates (docker.tcp); a restart of docker applies the settings"
    )
    return Verdict(State.PENDING_RESTART, reason, declared="tls", disk=disk, live=live)


def _tcp_on_disk(docker: DockerReading) -> dict[str, list[str]]:
    """tcp:// addresses by the file that sets them."""
    unit = docker.unit
    return {
        DOCKER_SOCKET: list(unit.socket_listens),
        docker.daemon_json.named: tcp(in_daemon_json(docker, "hosts") or ()),
        unit.exec_source or "docker.service": tcp(read_flags(unit.exec_start.split()[1:]).get("host", "").split()),
        unit.options_source: tcp(_options(docker).get("host", "").split()),
    }


def _options(docker: DockerReading) -> dict[str, str]:
    """The options of the environment file, where the command line uses them."""
    return read_flags(docker.unit.options.split()) if _VARIABLE.search(docker.unit.exec_start) else {}


_VARIABLE = re.compile(r"\$\{?(DOCKER_OPTS|OPTIONS)\}?")
_PLAIN = re.compile(r"[\w\-./:=,$@{}+%]+")


def plan_no_tcp(context: Context) -> Iterable[Change]:
    if not context.failing("docker.no-tcp"):
        return
    docker = context.survey[Docker]
    what = "stop Docker's API from listening on TCP"
    if docker.unit.socket_listens:
        yield _socket_unit(docker, what)
    hosts = in_daemon_json(docker, "hosts") or []
    kept = [host for host in hosts if host not in tcp(hosts)]
    own = (docker.daemon_json.named, DOCKER_SOCKET)
    elsewhere = [found for place, found in _tcp_on_disk(docker).items() if place not in own]
    in_unit = [host for found in elsewhere for host in found]
    if in_unit:
        yield _override(context, what)
    if kept:
        yield daemon_json(context, "docker", what, put={"hosts": kept})
    elif hosts or not (in_unit or docker.unit.socket_listens):
        # Without the key and without -H, dockerd listens on its unix socket.
        yield daemon_json(context, "docker", what, put={}, drop=("hosts",))


def _socket_unit(docker: DockerReading, what: str) -> Blocked:
    """systemd's own list: removing an address from it means stopping the socket through which Docker answers."""
    listens = ", ".join(docker.unit.socket_listens)
    why = (
        f"docker.socket listens on {listens}: remove that ListenStream= from it (systemctl cat docker.socket shows the "
        "file), then restart docker.socket and docker.service"
    )
    return Blocked("docker", what, why=why)


def _override(context: Context, what: str) -> Change:
    docker = context.survey[Docker]
    unit = docker.unit
    words = _VARIABLE.sub(lambda match: unit.options if unit.options_source else match[0], unit.exec_start).split()
    if not all(_PLAIN.fullmatch(word) for word in words):
        why = f"hullproof cannot rewrite the quoting of the command line in {unit.exec_source}: remove -H tcp:// there"
        return Blocked("docker", what, why=why)
    if obstacle := restart_obstacle(context, {}):
        return obstacle.block("docker", what)
    service = docker_service(context)
    source = " and ".join(filter(None, (unit.exec_source, unit.options_source)))
    return WriteFile(
        "docker",
        f"{what}: start dockerd without the tcp:// listeners of {source}",
        interrupts=service.interrupts,
        path=OVERRIDE,
        text=render("engines/docker/docker.service.conf.j2", source=source, command=" ".join(without_tcp(words))),
        before=unit.override,
        service=service,
    )


def without_tcp(words: list[str]) -> list[str]:
    """A command line without its tcp:// hosts."""
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] in ("-H", "--host") and tcp([word]):
            kept.pop()
        elif not (word.startswith(("-H", "--host=")) and tcp([re.sub(r"^(-H=?|--host=)", "", word)])):
            kept.append(word)
    return kept
