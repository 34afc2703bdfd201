"""Access to the daemon: its TCP listeners, its files and sockets, and the members of group docker."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from deploys.core.control import State, Verdict, failed, not_applicable, passed
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
DOCKER_SOCKET = "docker.socket"  # systemd's unit, which listens for a dockerd with -H fd://


# --- TCP listeners


def no_tcp(survey: Survey, policy: Policy) -> Verdict:
    docker, rule = survey[Docker], policy[DockerRules].tcp
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if rule is None:
        return not_applicable("the policy does not declare docker.tcp")
    disk = {where: hosts for where, hosts in _tcp_on_disk(docker).items() if hosts}
    live = api_listeners(docker)
    if rule == "tls" and configured(docker, "tlsverify") is True and (disk or live):
        return passed(
            "the API listens on TCP for clients with a certificate alone", declared=rule, disk=disk, live=live
        )
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


def _tcp_on_disk(docker: DockerReading) -> dict[str, list[str]]:
    """tcp:// addresses by the file that sets them."""
    unit = docker.unit
    return {
        DOCKER_SOCKET: list(unit.socket_listens),
        DAEMON_JSON: tcp(in_daemon_json(docker, "hosts") or ()),
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
    elsewhere = [found for place, found in _tcp_on_disk(docker).items() if place not in (DAEMON_JSON, DOCKER_SOCKET)]
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


# --- Files and sockets


@dataclass(frozen=True)
class Want:
    """The widest mode that a path may have, and its group."""

    mode: int
    group: str = "root"


@dataclass(frozen=True)
class Loose:
    """A file with a wider mode than it may have, or another owner."""

    file: FileMode
    want: Want

    @property
    def mode(self) -> str:
        """Its mode without the excess permissions."""
        return f"{int(self.file.mode, 8) & self.want.mode:04o}"

    @property
    def target(self) -> str:
        return f"{self.mode} root:{self.want.group}"

    def __str__(self) -> str:
        file = self.file
        return f"{file.path} is {file.mode} {file.owner}:{file.group}, not {self.target}"


def _want(file: FileMode, docker: DockerReading) -> Want | None:
    """CIS Docker section 3; None for paths that it does not mention."""
    path = file.path
    if path == SOCKET:
        return Want(0o660, _group(docker))
    fixed = {
        "/etc/docker": 0o755,
        "/run/containerd": 0o755,
        "/etc/docker/certs.d": 0o755,
        "/run/containerd/containerd.sock": 0o660,
    }
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
    """Whether docker.socket would give the socket too wide a mode at the next boot."""
    mode = docker.unit.socket_mode
    if not re.fullmatch(r"[0-7]{0,4}", mode):
        raise UnknownReading(f"docker.socket has SocketMode={mode[:40]}, which is not a mode")
    return bool(int(mode or "0", 8) & ~0o660)


def file_modes(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if not policy[DockerRules].file_modes:
        return not_applicable("the policy does not declare docker.file_modes")
    loose = [str(item) for item in loose_files(docker)]
    mode = docker.unit.socket_mode
    disk = [f"docker.socket has SocketMode={mode}, not 0660"] if _loose_socket_unit(docker) else []
    if loose or disk:
        declared = "owned by root, with modes no wider than CIS Docker section 3"
        return failed(
            f"{'; '.join(loose + disk)}; the policy wants no wider modes (docker.file_modes)",
            declared=declared,
            disk=disk,
            live=loose,
        )
    return passed(
        "Docker's files and sockets belong to root, with modes no wider than allowed",
        declared=True,
        disk=disk,
        live=loose,
    )


def plan_file_modes(context: Context) -> Iterable[Change]:
    if not context.failing("docker.file-modes"):
        return
    docker = context.survey[Docker]
    if loose := loose_files(docker):
        script = [_set(item.file.path, item.mode, "root", item.want.group) for item in loose]
        undo = [_set(item.file.path, item.file.mode, item.file.owner, item.file.group) for item in loose]
        what = "set owner and mode of " + ", ".join(f"{item.file.path} ({item.target})" for item in loose)
        yield Command("docker", what, script="\n".join(["set -e", *script]), undo="\n".join(undo))
    if _loose_socket_unit(docker):
        yield WriteFile(
            "docker",
            "set the mode of Docker's socket after each boot (docker.socket)",
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
        return not_applicable("the policy does not declare docker.trusted_users")
    live = list(docker.group_members)
    strangers = [user for user in live if user not in trusted]
    if strangers:
        reason = f"members of group docker who can become root through it: {', '.join(strangers)}"
        return failed(
            f"{reason}; the policy trusts {_trusted(trusted)} (docker.trusted_users)",
            declared=trusted,
            disk=live,
            live=live,
        )
    return passed("only users whom the policy trusts are in group docker", declared=trusted, disk=live, live=live)


def _trusted(users: list[str]) -> str:
    return f"only {', '.join(users)}" if users else "no user"


def plan_group_members(context: Context) -> Iterable[Change]:
    if not context.failing("docker.group-members"):
        return
    trusted = context.policy[DockerRules].trusted_users or []
    for user in context.survey[Docker].group_members:
        if user not in trusted:
            yield Command(
                "docker",
                f"remove {user} from group docker (open sessions keep the group until they end)",
                script=f"gpasswd -d {quote(user)} docker",
                undo=f"gpasswd -a {quote(user)} docker",
            )
