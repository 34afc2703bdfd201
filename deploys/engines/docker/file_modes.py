"""Docker's files and sockets: their owners, modes and access control lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from deploys.core.change import Blocked, Change, Command, Context, WriteFile
from deploys.core.control import Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.core.templates import render
from deploys.engines.docker.daemon import configured
from deploys.engines.docker.rules import DockerRules
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import SOCKET_OVERRIDE, Docker, DockerReading, FileMode
from facts.modes import granted

SOCKET = "/run/docker.sock"
GROUP_BITS = 0o070


@dataclass(frozen=True)
class Want:
    """The widest mode that a path may have, and its group."""

    mode: int
    group: str = "root"


@dataclass(frozen=True)
class Loose:
    """A file with a wider mode than it may have, another owner, or an access control list that gives others more."""

    file: FileMode
    want: Want

    @property
    def by_mode(self) -> bool:
        """Whether its mode, owner or group is wrong."""
        file, mode = self.file, int(self.file.mode, 8)
        # What a group may not do at all it may not do whichever group it is.
        groups = (
            "root",
            self.want.group,
            *(("docker",) if file.kind == "socket" and self.want.group != "root" else ()),
        )
        group = file.group in groups or not mode & GROUP_BITS
        return bool(mode & ~self.want.mode or file.owner != "root" or not group)

    @property
    def by_acl(self) -> list[str]:
        """The entries that give somebody more than the mode gives everybody."""
        entries = () if isinstance(self.file.acl, Unknown) else self.file.acl
        return [
            entry for entry in entries if granted(entry) & ~self.want.mode & 7 and not entry.startswith("user:root:")
        ]

    @property
    def mode(self) -> str:
        """Its mode without the excess permissions."""
        return f"{int(self.file.mode, 8) & self.want.mode:04o}"

    @property
    def target(self) -> str:
        return f"{self.mode} root:{self.want.group}"

    def __str__(self) -> str:
        file = self.file
        acl = f"the access control list of {file.path} has {', '.join(self.by_acl)}" if self.by_acl else ""
        mode = f"{file.path} is {file.mode} {file.owner}:{file.group}, not {self.target}" if self.by_mode else ""
        return "; ".join(filter(None, (mode, acl)))


def _want(file: FileMode, docker: DockerReading) -> Want | None:
    """CIS Docker section 3; None for paths that it does not mention."""
    path = file.path
    if path == SOCKET or (isinstance(docker.sockets, tuple) and path in docker.sockets):
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
    found = [Loose(file, want) for file, want in wanted if want]
    return [item for item in found if item.by_mode or item.by_acl]


def _unread_acl(docker: DockerReading) -> str:
    """A clause about the first file whose access control list could not be read; "" for none."""
    unread = (f"{file.path}: {file.acl.unknown}" for file in docker.files if isinstance(file.acl, Unknown))
    return next(unread, "")


def _loose_socket_unit(docker: DockerReading) -> bool:
    """Whether docker.socket would give the socket too wide a mode at the next boot."""
    mode = docker.unit.socket_mode
    if not re.fullmatch(r"[0-7]{0,4}", mode):
        raise UnknownReading(f"docker.socket has SocketMode={mode[:40]}, which is not a mode")
    return bool(int(mode or "0", 8) & ~0o660)


def file_modes(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not policy[DockerRules].file_modes:
        return not_applicable("the policy does not declare docker.file_modes")
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    loose = [str(item) for item in loose_files(docker)]
    mode = docker.unit.socket_mode
    disk = [f"docker.socket has SocketMode={mode}, not 0660"] if _loose_socket_unit(docker) else []
    if loose or disk:
        loose += filter(None, [_unread_acl(docker)])
        declared = "owned by root, with modes no wider than CIS Docker section 3"
        return failed(
            f"{'; '.join(loose + disk)}; the policy wants no wider modes (docker.file_modes)",
            declared=declared,
            disk=disk,
            live=loose,
        )
    known(docker.sockets)
    if unread := _unread_acl(docker):
        raise UnknownReading(unread)
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
    loose = [item for item in loose_files(docker) if item.by_mode]
    for item in loose_files(docker):
        if item.by_acl:
            path = quote(item.file.path)
            why = f"somebody gave these rights on purpose: find out who, then setfacl -b {path}"
            yield Blocked("docker", f"remove the access control list of {item.file.path}", why=why)
    if loose:
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
