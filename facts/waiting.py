"""Containers that do not run now and may be started any time, and those of them that systemd starts by a file of
Podman's: Quadlet (podman-systemd.unit(5))."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from facts.core.reading import Block, Jsonable

USERS = "/etc/containers/systemd/users/"


@dataclass(frozen=True)
class Waiting(Jsonable):
    """A container that does not run now and that its engine may start any time, as it was asked for."""

    id: str
    name: str
    status: str  # created; stopped, with a policy that has it started again; restarting
    privileged: bool
    shares: tuple[str, ...]  # the host's namespaces, as options name them: network, pid, ipc, uts
    devices: tuple[str, ...]  # of the host
    mounts: tuple[tuple[str, bool], ...]  # paths of the host, each with whether it could be written
    image: str = ""


_Keys = list[tuple[str, str]]
NAMESPACES = {"Network": "network", "PID": "pid", "IPC": "ipc", "UTS": "uts"}


def read_quadlets(block: Block) -> tuple[Waiting, ...]:
    """Those of root's, as they would be started, with the keys of their drop-ins (NAME.container.d). A file for users
    (…/users/…) is theirs."""
    files: dict[str, _Keys] = {}
    for line in block.text.split("\n"):
        if row := re.fullmatch(r"(/[^:]*?\.container)(?:\.d/[^:]*\.conf)?:([A-Za-z]+) *= *(.*)", line):
            files.setdefault(row[1], []).append((row[2], row[3].strip()))
    return tuple(_waiting(path, keys) for path, keys in sorted(files.items()) if not path.startswith(USERS))


def _waiting(path: str, keys: _Keys) -> Waiting:
    unit = path.rpartition("/")[2].removesuffix(".container")
    arguments = list(_arguments(keys))
    shares = {kind for key, kind in NAMESPACES.items() for name, value in keys if name == key and value == "host"}
    shares |= {kind for kind in NAMESPACES.values() if f"--{kind}=host" in arguments}
    return Waiting(
        id="",
        name=_last(keys, "ContainerName") or f"systemd-{unit}",
        status=f"started by {path}",
        privileged="--privileged" in arguments or "--privileged=true" in arguments,
        shares=tuple(sorted(shares)),
        devices=tuple(value.partition(":")[0].removeprefix("-") for name, value in keys if name == "AddDevice"),
        mounts=tuple(_mounts(keys)),
        image=_last(keys, "Image"),
    )


def _last(keys: _Keys, name: str) -> str:
    return next((value for key, value in reversed(keys) if key == name), "")


def _arguments(keys: _Keys) -> Iterator[str]:
    """`--pid host` is --pid=host."""
    for name, value in keys:
        if name == "PodmanArgs":
            yield from re.sub(r"(--(?:network|pid|ipc|uts)) ", r"\1=", " ".join(_words(value))).split()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quotation costs no other container its reading
        return text.split()


def _mounts(keys: _Keys) -> Iterator[tuple[str, bool]]:
    """Paths of the host; a volume's name is none."""
    for name, value in keys:
        if name == "Volume" and value.startswith("/"):
            source, _, rest = value.partition(":")
            yield source, "ro" not in rest.rpartition(":")[2].split(",")
