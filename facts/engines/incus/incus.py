"""Incus, and LXD, which it comes from: what their profiles and instances say, and who may speak to their API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.json_text import load
from facts.core.reading import Block, Jsonable, Section, Unknown, UnknownReading, attempt, known

FOLDERS = {  # where the socket is: whose it is
    "/var/lib/incus": "incus", "/run/incus": "incus", "/var/lib/lxd": "lxd", "/var/snap/lxd/common/lxd": "lxd",
}  # fmt: skip
PROGRAMS = {"incus": "incusd", "lxd": "lxd"}
DEFAULT = "default"  # the profile that new instances get, and the project that there always is
ALL_PROFILES = "profiles_all_projects"  # the extension of the API with which those of all projects are answered
ASKED = "@http://daemon"  # begins the line after an answer: what was asked for
JUDGED = re.compile(r"(security|limits|raw)\.[a-z0-9._-]{1,80}")  # keys; others may have secrets for values


@dataclass(frozen=True)
class Configured(Jsonable):
    """A profile, or an instance with what its profiles give it."""

    name: str  # PROJECT/NAME where it is of another project than the default one
    kind: str  # profile, container, virtual-machine
    config: dict[str, str]  # the keys that are judged

    def on(self, key: str) -> bool:
        return self.config.get(key, "").lower() in ("true", "1", "yes", "on")

    def off(self, key: str) -> bool:
        return self.config.get(key, "").lower() in ("false", "0", "no", "off")


@dataclass(frozen=True)
class Certificate(Jsonable):
    """A client that may use the API from elsewhere."""

    name: str
    fingerprint: str  # its first 12 digits, as the client shows it
    projects: tuple[str, ...] | None  # those that it is kept to; None: it may all that root may
    kind: str = "client"  # client, metrics, server (another member of the cluster)


@dataclass(frozen=True)
class Daemon(Jsonable):
    name: str  # incus, lxd
    folder: str  # with its socket
    address: str | Unknown  # where it listens for other machines (core.https_address), "" for nowhere
    clustered: bool | Unknown  # its profiles are a cluster's
    certificates: tuple[Certificate, ...] | Unknown
    profiles: tuple[Configured, ...] | Unknown
    instances: tuple[Configured, ...] | Unknown

    @property
    def snap(self) -> bool:
        return self.folder.startswith("/var/snap/")

    @property
    def client(self) -> str:
        return "lxc" if self.name == "lxd" else self.name

    @property
    def default(self) -> Configured:
        """What new instances of the default project get that name no profile."""
        rows = (each for each in known(self.profiles) if each.name == DEFAULT)
        return next(rows, Configured(DEFAULT, "profile", {}))

    @property
    def defaults(self) -> tuple[Configured, ...]:
        """What new instances get that name no profile, by project."""
        others = (each for each in known(self.profiles) if each.name.endswith(f"/{DEFAULT}"))
        return (self.default, *others)


@dataclass(frozen=True)
class IncusReading(Jsonable):
    """See https://linuxcontainers.org/incus/docs/main/rest-api/ and its instance options."""

    daemons: tuple[Daemon, ...]  # that are installed
    members: dict[str, tuple[str, ...]]  # by group that the sockets are for


class Incus(SectionFact[IncusReading]):
    """The host's Incus and LXD, by their own answers."""

    key: ClassVar[str] = "incus"
    script: ClassVar[str] = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> IncusReading:
        said = section.blocks.get("sockets", Block(0, "")).text.split()
        found: dict[str, Daemon] = {}
        for folder in said:
            if (name := FOLDERS.get(folder)) and name not in found:
                found[name] = _daemon(section, name, folder)
        return IncusReading(daemons=tuple(found.values()), members=_members(section))


def _daemon(section: Section, name: str, folder: str) -> Daemon:
    answers = attempt(name, lambda: _answers(section, name, folder))
    about = attempt(name, lambda: _of(answers, "/1.0"))
    return Daemon(
        name=name,
        folder=folder,
        address=attempt(name, lambda: str(known(about)["config"].get("core.https_address", ""))[:200]),
        clustered=attempt(name, lambda: bool(known(about)["environment"]["server_clustered"])),
        certificates=attempt(name, lambda: tuple(map(_certificate, _of(answers, "/1.0/certificates")))),
        profiles=attempt(name, lambda: tuple(_profiles(answers, known(about)))),
        instances=attempt(name, lambda: tuple(_configured(_of(answers, "/1.0/instances"), "expanded_config"))),
    )


def _answers(section: Section, name: str, folder: str) -> dict[str, str]:
    """By path."""
    if PROGRAMS[name] not in section.blocks.get("running", Block(1, "")).text.split():
        return known(Unknown(f"{PROGRAMS[name]} does not run, and is not started to be asked"))
    block = section.blocks.get(f"api {folder}")
    if block is None:
        return known(Unknown(f"curl is not installed, with which {PROGRAMS[name]} is asked"))
    found, answer = {}, ""
    for line in block.text.split("\n"):
        if line.startswith(ASKED):
            found[line.removeprefix(ASKED).partition("?")[0]], answer = answer, ""
        elif line:
            answer = line
    return found


def _of(answers: dict[str, str] | Unknown, path: str) -> Any:
    text = known(answers).get(path)
    if not text:
        raise UnknownReading(f"{path} was not answered in time, or not whole")
    said = load(text)
    if said.get("status_code") != 200:
        raise UnknownReading(f"{path}: {str(said.get('error'))[:100]}")
    return said["metadata"]


def _profiles(answers: dict[str, str] | Unknown, about: Any) -> Iterator[Configured]:
    if ALL_PROFILES not in about["api_extensions"] and len(_of(answers, "/1.0/projects")) != 1:
        raise UnknownReading("this release says nothing of the profiles of other projects")
    yield from _configured(_of(answers, "/1.0/profiles"), "config")


def _configured(rows: Any, key: str) -> Iterator[Configured]:
    for row in rows:
        project = str(row.get("project") or DEFAULT)
        name = str(row["name"])
        config = {str(k): str(v) for k, v in (row[key] or {}).items() if JUDGED.fullmatch(str(k))}
        yield Configured(name if project == DEFAULT else f"{project}/{name}", str(row.get("type", "profile")), config)


def _certificate(row: Any) -> Certificate:
    projects = tuple(map(str, row.get("projects") or ())) if row.get("restricted") else None
    return Certificate(str(row.get("name", "")), str(row["fingerprint"])[:12], projects, str(row.get("type", "client")))


def _members(section: Section) -> dict[str, tuple[str, ...]]:
    """By group, those whom /etc/group names and those whose own group it is."""
    own: dict[str, list[str]] = {}
    for line in section.blocks.get("primary", Block(0, "")).text.split("\n"):
        if len(user := line.split(":")) > 3:
            own.setdefault(user[3], []).append(user[0])
    found: dict[str, tuple[str, ...]] = {}
    for line in section.blocks.get("groups", Block(0, "")).text.split("\n"):
        row = line.split(":")
        if len(row) == 4:
            users = (*row[3].strip().split(","), *own.get(row[2], ()))
            found[row[0]] = tuple(dict.fromkeys(filter(None, users)))
    return found
