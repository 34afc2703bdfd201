"""The shapes of the Docker reading: the daemon as declared, on disk and live; containers as they were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from facts.core.reading import Jsonable, OfOneHost, Unknown, UnknownReading, known
from facts.engines.docker.options import config_key
from facts.engines.shapes import Network as Network
from facts.engines.shapes import Waiting
from facts.modes import Acl

V = TypeVar("V")

KINDS: dict[type[Any], str] = {list: "list", dict: "object", str: "text", bool: "switch"}
DAEMON_JSON = "/etc/docker/daemon.json"
OVERRIDE = "/etc/systemd/system/docker.service.d/zz-hullproof.conf"
SOCKET_OVERRIDE = "/etc/systemd/system/docker.socket.d/zz-hullproof.conf"


@dataclass(frozen=True)
class Malformed(Unknown):
    """Why dockerd does not start with daemon.json: it is a directory, or its text is not a JSON object."""


@dataclass(frozen=True)
class DaemonJson(Jsonable):
    """/etc/docker/daemon.json. `text` None: no such file. `keys` unknown: present and not a JSON object."""

    path: str  # the file itself, behind any symbolic link
    text: str | Unknown | None
    keys: dict[str, Any] | Malformed | Unknown  # {} where the file is absent or empty
    duplicates: tuple[str, ...] = ()  # top-level keys that stand there more than once (the last one counts)
    named: str = DAEMON_JSON  # its path as dockerd has it: another one where its command line has --config-file

    @property
    def malformed(self) -> bool:
        return isinstance(self.keys, Malformed)


@dataclass(frozen=True)
class Container(Jsonable):
    """A running container, as it was asked for. What its process is held to: facts.containers."""

    id: str
    name: str
    pid: int
    started: str
    auto_remove: bool  # --rm: deleted when it stops
    privileged: bool
    network_mode: str
    pid_mode: str
    userns_mode: str
    security_opt: tuple[str, ...]
    cap_add: tuple[str, ...]
    devices: tuple[str, ...]
    networks: tuple[str, ...]
    image: str = ""
    published: tuple[str, ...] = ()  # "0.0.0.0:8080", "[::]:8080": where its TCP ports are published


@dataclass(frozen=True)
class FileMode(Jsonable):
    path: str
    mode: str  # octal, "0660"
    owner: str
    group: str
    kind: str  # file, directory, socket, link
    acl: Acl = ()  # entries beyond the mode, such as user:alice:rw-


@dataclass(frozen=True)
class GroupUser(Jsonable):
    """A user who may speak to the API by a group."""

    user: str
    group: str
    primary: bool  # it is the group of the user's own row in passwd(5)


@dataclass(frozen=True)
class SudoLine(Jsonable):
    """A line of sudoers(5) that names Docker, or has sudo read another file."""

    file: str
    text: str


@dataclass(frozen=True)
class Daemon(Jsonable):
    """A dockerd beside the one that is judged."""

    pid: int
    user: int  # 0: root's; else rootless
    sockets: tuple[str, ...]

    def __str__(self) -> str:
        whose = f", rootless of user {self.user}" if self.user else ""
        where = f" on {' and '.join(self.sockets)}" if self.sockets else ""
        return f"dockerd (process {self.pid}{whose}){where}"


@dataclass(frozen=True)
class Front(Jsonable):
    """What listens before a socket of Docker's, or may."""

    name: str  # app.service, process 812
    program: str
    relay: bool  # it passes on what it is sent
    listens: tuple[str, ...]

    def __str__(self) -> str:
        where = f" on {', '.join(self.listens)}" if self.listens else ""
        return f"{self.program} ({self.name}){where}"


@dataclass(frozen=True)
class Stored(Jsonable):
    """What the data root holds: what a change of user namespace would hide."""

    images: tuple[str, ...]  # "repository:tag"
    images_bytes: int
    containers: tuple[str, ...]  # every container's name, running or not
    volumes: tuple[str, ...]


@dataclass(frozen=True)
class Unread(Jsonable):
    """Units whose files were changed since systemd loaded them. `lines`: "FILE: LINE" of those of their settings that
    open the API to the network or give its socket a mode."""

    units: tuple[str, ...]
    tcp: tuple[str, ...]
    modes: tuple[str, ...]


@dataclass(frozen=True)
class Unit(Jsonable):
    """docker.service and docker.socket as systemd has them loaded; empty strings where there is no such unit."""

    exec_start: str = ""  # the command line, variables not expanded
    exec_source: str = ""  # the file that has the last word on ExecStart
    drop_ins: tuple[str, ...] = ()  # of docker.service
    options_source: str = ""  # /etc/default/docker or /etc/sysconfig/docker, where it gives options
    options: str = ""  # those options
    override: str | None = None  # the text of our own drop-in for docker.service
    socket_mode: str = ""  # SocketMode= of docker.socket: "0660"
    socket_group: str = ""  # SocketGroup= of docker.socket
    socket_override: str | None = None  # the text of our own drop-in for docker.socket
    socket_listens: tuple[str, ...] = ()  # TCP addresses on which docker.socket listens for dockerd
    unread: Unread | None = None  # what systemd has not read yet, and the next boot will


@dataclass(frozen=True)
class Starter(Jsonable):
    """What containers' limits are raised by: containerd where it runs as a service, else dockerd."""

    program: str
    hard: dict[str, int]  # the rows of /proc/PID/limits -> its hard limit; -1 for none
    sys_resource: bool  # CAP_SYS_RESOURCE is in its effective set: it may go beyond them
    nr_open: int | None  # fs.nr_open, beyond which nobody may go


@dataclass(frozen=True)
class DockerReading(OfOneHost, own={"networks": (), "containers": (), "stored": None}):
    installed: bool | Unknown  # a dockerd binary is there; unknown: none is, and yet Docker runs
    package: str | None  # docker.io, docker-ce, moby-engine …
    package_version: str | None
    running: bool | Unknown  # the daemon answers on its socket
    version: str | None  # the running server's version
    daemon_json: DaemonJson
    keys_known: tuple[str, ...] | Unknown  # keys this dockerd knows, by its version; gates version-dependent keys
    can_validate: bool  # dockerd has --validate (23.0 and later)
    flags: dict[str, str]  # options on the running daemon's (else the unit's) command line: {"host": "fd://", …}
    info: dict[str, Any] | Unknown  # docker info: SecurityOptions, DockerRootDir, LiveRestoreEnabled, LoggingDriver …
    networks: tuple[Network, ...] | Unknown
    containers: tuple[Container, ...] | Unknown
    stored: Stored | Unknown
    files: tuple[FileMode, ...]  # the files and sockets of CIS Docker section 3 that exist
    group_users: tuple[GroupUser, ...] | Unknown  # who may speak to the API by a group
    listeners: tuple[str, ...] | Unknown  # "address:port" on which dockerd listens by TCP
    proxies: int | Unknown  # running docker-proxy processes
    log: tuple[str, ...]  # the unit's last log lines, only where the daemon does not run
    unit: Unit = Unit()
    stale: bool | Unknown = False  # daemon.json was changed after the daemon started, or it started with another file
    sockets: tuple[str, ...] | Unknown = ()  # the unix sockets of the API
    sudo: tuple[SudoLine, ...] | Unknown = ()
    fronts: tuple[Front, ...] | Unknown = ()
    others: tuple[Daemon, ...] | Unknown = ()
    handed: tuple[str, ...] = ()  # those of `listeners` that systemd opened for it
    starter: Starter | Unknown | None = None  # None: the daemon does not run
    waiting: tuple[Waiting, ...] | Unknown = ()

    def told(self, name: str, kind: type[V]) -> V | None:
        """What docker info says of something; None where it says nothing. UnknownReading where that makes no sense."""
        value = known(self.info).get(name)
        if value is None or isinstance(value, kind):
            return value
        raise UnknownReading(f"docker info: {name} is no {KINDS[kind]}")

    @property
    def security(self) -> tuple[str, ...]:
        """Its SecurityOptions, such as name=seccomp,profile=builtin."""
        return tuple(map(str, self.told("SecurityOptions", list) or ()))

    @property
    def in_swarm(self) -> bool:
        return (self.told("Swarm", dict) or {}).get("LocalNodeState") == "active"

    @property
    def flag_keys(self) -> dict[str, str]:
        """The command line's options under their names in daemon.json (`host` is `hosts` there)."""
        return {config_key(option): value for option, value in self.flags.items()}
