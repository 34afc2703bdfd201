"""Containers that do not run now and may be started any time, as they were asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from facts.core.reading import Jsonable


@dataclass(frozen=True)
class Waiting(Jsonable):
    """A container that does not run now and that its engine may start any time, as it was asked for."""

    id: str
    name: str
    status: str  # created; stopped, with a policy that has it started again; restarting
    privileged: bool
    shares: tuple[str, ...]  # the host's namespaces, as options name them: network, pid, ipc, uts, cgroupns
    devices: tuple[str, ...]  # of the host
    mounts: tuple[tuple[str, bool], ...]  # paths of the host, each with whether it could be written
    image: str = ""
    capabilities: tuple[str, ...] = ()  # added ones, without CAP_; ALL
    user_namespace: str = ""  # host, auto …; "": its engine's default
    security: tuple[str, ...] = ()  # security options: seccomp=unconfined, label=disable, unmask=ALL …
    user: int | None = 0  # whose it would be; 0: root's; None: of each user who logs in


def capabilities_of(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word.upper().removeprefix("CAP_") for each in words for word in re.split("[ ,]+", each) if word)


def security_of(words: Iterable[str]) -> tuple[str, ...]:
    """Older ones have a colon: `label:disable` is label=disable."""
    return tuple(re.sub("^([a-z-]+):", r"\1=", word) for word in words)


def real(path: str) -> str:
    """/var/run is a link to /run."""
    return f"/run{path.removeprefix('/var/run')}" if re.match(r"/var/run(/|$)", path) else path
