"""Who can reach the daemon from the host: TCP listeners, files and sockets, the members of group docker."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from deploys.core.control import Impact, Verdict, agree, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.templates import render
from deploys.engines.docker.daemon import configured, daemon_json, docker_service, in_daemon_json, restart_obstacle
from deploys.engines.docker.listeners import api_listeners, tcp
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import UnknownReading
from facts.core.survey import Survey
from facts.engines.docker.docker import (
    DAEMON_JSON,
    OVERRIDE,
    SOCKET_OVERRIDE,
    Docker,
    DockerReading,
    FileMode,
    read_flags,
)

SOCKET = "/run/docker.sock"
DOCKER_SOCKET = "docker.socket"  # systemd's, which listens for dockerd where that has -H fd://


# --- TCP listeners


def no_tcp(survey: Survey, policy: Policy) -> Verdict:
    docker, rule = survey[Docker], policy[DockerRules].tcp
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if rule is None:
        return not_applicable("the policy does not declare TCP listeners")
    disk = {where: hosts for where, hosts in _tcp_on_disk(docker).items() if hosts}
    live = api_listeners(docker)
    if rule == "tls" and configured(docker, "tlsverify") is True and (disk or live):
        return passed("TCP clients must show a certificate", rule, disk, live)
    where = "; ".join(f"{', '.join(hosts)} in {place}" for place, hosts in disk.items())
    if disk:
        return failed(f"root on this host for whoever reaches it: {where}", rule, disk, live)
    verdict = agree([], [], live, Impact.RESTART, what="the daemon's list of TCP listeners")
    return Verdict(verdict.state, verdict.reason, rule, disk, live)


def _tcp_on_disk(docker: DockerReading) -> dict[str, list[str]]:
    """tcp:// addresses by the file that gives them."""
    unit = docker.unit
    return {
        DOCKER_SOCKET: list(unit.socket_listens),
        DAEMON_JSON: tcp(in_daemon_json(docker, "hosts") or ()),
        unit.exec_source or "docker.service": tcp(read_flags(unit.exec_start.split()[1:]).get("host", "").split()),
        unit.options_source: tcp(_options(docker).get("host", "").split()),
    }


def _options(docker: DockerReading) -> dict[str, str]:
    """The environment file's options, where the command line takes them up."""
    return read_flags(docker.unit.options.split()) if _VARIABLE.search(docker.unit.exec_start) else {}


_VARIABLE = re.compile(r"\$\{?(DOCKER_OPTS|OPTIONS)\}?")
_PLAIN = re.compile(r"[\w\-./:=,$@{}+%]+")


def plan_no_tcp(context: Context) -> Iterable[Change]:
    if not context.failing("docker.no-tcp"):
        return
    docker = context.survey[Docker]
    what = "stop listening on TCP"
    if docker.unit.socket_listens:
        yield _socket_unit(docker, what)
    hosts = in_daemon_json(docker, "hosts") or []
    kept = [host for host in hosts if host not in tcp(hosts)]
    elsewhere = [found for place, found in _tcp_on_disk(docker).items() if place not in (DAEMON_JSON, DOCKER_SOCKET)]
    in_unit = [host for found in elsewhere for host in found]
    if in_unit:
        yield _override(context, what)
    if kept:
        yield daemon_json(context, "docker", what, {"hosts": kept})
    elif hosts or not (in_unit or docker.unit.socket_listens):
        # Without the key and without -H, dockerd listens on its own unix socket.
        yield daemon_json(context, "docker", what, {}, ("hosts",))


def _socket_unit(docker: DockerReading, what: str) -> Blocked:
    """systemd's list of its own: taking an address out means to stop the socket that Docker answers on."""
    listens = ", ".join(docker.unit.socket_listens)
    why = (
        f"docker.socket listens on {listens}: take that ListenStream= out of it (systemctl cat docker.socket shows the "
        "file), then restart docker.socket and docker.service"
    )
    return Blocked("docker", what, why=why)


def _override(context: Context, what: str) -> Change:
    docker = context.survey[Docker]
    unit = docker.unit
    words = _VARIABLE.sub(lambda match: unit.options if unit.options_source else match[0], unit.exec_start).split()
    if not all(_PLAIN.fullmatch(word) for word in words):
        why = f"the command line in {unit.exec_source} is quoted in a way that we do not rewrite: take -H tcp:// out"
        return Blocked("docker", what, why=why)
    if why := restart_obstacle(context, {}):
        return Blocked("docker", what, why=why)
    service = docker_service(context)
    source = " and ".join(filter(None, (unit.exec_source, unit.options_source)))
    return WriteFile(
        "docker",
        f"{what}: start dockerd without the tcp:// of {source}",
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


# --- Files and sockets


@dataclass(frozen=True)
class Want:
    """The most that a path's mode may be, and whose it is."""

    mode: int
    group: str = "root"


@dataclass(frozen=True)
class Loose:
    """A file that is more open than it may be."""

    file: FileMode
    want: Want

    @property
    def mode(self) -> str:
        """Its mode without the bits that are too much."""
        return f"{int(self.file.mode, 8) & self.want.mode:04o}"

    def __str__(self) -> str:
        file = self.file
        return f"{file.path} is {file.mode} {file.owner}:{file.group}, not {self.mode} root:{self.want.group}"


def _want(file: FileMode, docker: DockerReading) -> Want | None:
    """CIS Docker section 3; None for what it says nothing of."""
    path = file.path
    if path == SOCKET:
        return Want(0o660, _group(docker))
    fixed = {"/etc/docker": 0o755, "/run/containerd": 0o755, "/etc/docker/certs.d": 0o755,
             "/run/containerd/containerd.sock": 0o660}  # fmt: skip
    if path in fixed:
        return Want(fixed[path])
    if file.kind != "file":
        return None
    if path == configured(docker, "tlskey") or re.search(r"key[^/]*\.pem$|\.key$", path):
        return Want(0o400)
    if path in (configured(docker, "tlscert"), configured(docker, "tlscacert")) or re.search(
        r"\.(pem|crt|cert)$", path
    ):
        return Want(0o444)
    return Want(0o644)


def _group(docker: DockerReading) -> str:
    return str(configured(docker, "group") or "docker")


def loose_files(docker: DockerReading) -> list[Loose]:
    wanted = ((file, _want(file, docker)) for file in docker.files)
    return [
        Loose(file, want)
        for file, want in wanted
        if want and (int(file.mode, 8) & ~want.mode or file.owner != "root" or file.group != want.group)
    ]


def _loose_socket_unit(docker: DockerReading) -> bool:
    """Whether docker.socket would make the socket too open again at the next boot."""
    mode = docker.unit.socket_mode
    if not re.fullmatch(r"[0-7]{0,4}", mode):
        raise UnknownReading(f"docker.socket has SocketMode={mode[:40]}, which is no mode")
    return bool(int(mode or "0", 8) & ~0o660)


def file_modes(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if not policy[DockerRules].file_modes:
        return not_applicable("the policy does not declare the modes of Docker's files")
    loose = [str(item) for item in loose_files(docker)]
    disk = [f"docker.socket has SocketMode={docker.unit.socket_mode}"] if _loose_socket_unit(docker) else []
    if loose or disk:
        return failed("; ".join(loose + disk), "root's, and no more open than CIS section 3", disk, loose)
    return passed("Docker's files and sockets are root's and not too open", True, disk, loose)


def plan_file_modes(context: Context) -> Iterable[Change]:
    if not context.failing("docker.file-modes"):
        return
    docker = context.survey[Docker]
    if loose := loose_files(docker):
        script = [_set(item.file.path, item.mode, "root", item.want.group) for item in loose]
        undo = [_set(item.file.path, item.file.mode, item.file.owner, item.file.group) for item in loose]
        what = "close what is too open: " + "; ".join(str(item) for item in loose)
        yield Command("docker", what, script="\n".join(["set -e", *script]), undo="\n".join(undo))
    if _loose_socket_unit(docker):
        yield WriteFile(
            "docker",
            "keep Docker's socket closed after a boot",
            path=SOCKET_OVERRIDE,
            text=render("engines/docker/docker.socket.conf.j2", group=_group(docker)),
            before=docker.unit.socket_override,
            activate="systemctl daemon-reload",
        )


def _set(path: str, mode: str, owner: str, group: str) -> str:
    return (
        f"[ ! -e {quote(path)} ] || {{ chown {quote(f'{owner}:{group}')} {quote(path)}; chmod {mode} {quote(path)}; }}"
    )


# --- Group docker


def group_members(survey: Survey, policy: Policy) -> Verdict:
    docker, trusted = survey[Docker], policy[DockerRules].trusted_users
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if trusted is None:
        return not_applicable("the policy does not declare whom it trusts with Docker")
    live = list(docker.group_members)
    strangers = [user for user in live if user not in trusted]
    if strangers:
        return failed(f"can become root through group docker: {', '.join(strangers)}", trusted, live, live)
    return passed("only those whom the policy trusts are in group docker", trusted, live, live)


def plan_group_members(context: Context) -> Iterable[Change]:
    if not context.failing("docker.group-members"):
        return
    trusted = context.policy[DockerRules].trusted_users or []
    for user in context.survey[Docker].group_members:
        if user not in trusted:
            yield Command(
                "docker",
                f"take {user} out of group docker (sessions that are open keep it until they end)",
                script=f"gpasswd -d {quote(user)} docker",
                undo=f"gpasswd -a {quote(user)} docker",
            )
