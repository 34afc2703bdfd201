"""What a host gives users who run containers without root, and where their engines' APIs listen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath
from typing import ClassVar

from facts import monitors
from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, Section, Unknown
from facts.engines.rootless import stored
from facts.engines.rootless.slices import SCRIPT, UserSlice, read_slices
from facts.engines.rootless.stored import Stored

GLOBAL = "/etc/systemd/user/sockets.target.wants"
SOCKET = "podman.socket"
HELPERS = ("newuidmap", "newgidmap")


@dataclass(frozen=True)
class Helper(Jsonable):
    """newuidmap or newgidmap."""

    path: str
    mode: str  # octal, "4755"
    owner: int
    capabilities: str  # as getcap(8) says them: "cap_setuid=ep"; "" without

    @property
    def works(self) -> bool:
        return bool(int(self.mode, 8) & 0o4000 and not self.owner) or "cap_set" in self.capabilities


@dataclass(frozen=True)
class Listening(Jsonable):
    """Where an engine's API listens for a user."""

    uid: int
    at: str  # a socket's path, or address:port


@dataclass(frozen=True)
class RootlessReading(Jsonable):
    """See subuid(5), newuidmap(1), loginctl(1), podman-system-service(1)."""

    installed: bool  # a program is there by which users run containers
    helpers: tuple[Helper, ...] | Unknown  # those that are there
    lingering: tuple[str, ...] | Unknown  # users whose services start at boot, and stay when they log out
    everybody: tuple[str, ...] | Unknown  # sockets of engines that listen for each user who logs in
    listening: tuple[Listening, ...] | Unknown
    slices: tuple[UserSlice, ...] | Unknown = ()  # of people's accounts, at most 50
    stored: dict[str, Stored | Unknown] = field(default_factory=dict)  # of users who share subordinate ids, at most 5


class Rootless(SectionFact[RootlessReading]):
    """Users' engines. What their containers are held to is read with all containers: facts.containers."""

    key: ClassVar[str] = "rootless"
    script: ClassVar[str] = "\n".join(
        [
            f"GLOBAL={GLOBAL}",
            SCRIPT,
            stored.SCRIPT,
            monitors.WORDS,
            Path(__file__).with_suffix(".sh").read_text(encoding="utf-8"),
        ]
    )

    @staticmethod
    def parse(section: Section) -> RootlessReading:
        if "programs" not in section.blocks:
            return RootlessReading(False, (), (), (), ())
        names = _names(section, "everybody")
        return RootlessReading(
            installed=True,
            helpers=_helpers(section),
            lingering=_names(section, "lingering"),
            everybody=names if isinstance(names, Unknown) else tuple(name for name in names if name == SOCKET),
            listening=_listening(section),
            slices=read_slices(section),
            stored=stored.read_stored(section),
        )


def _names(section: Section, block: str) -> tuple[str, ...] | Unknown:
    found = section.block(block)
    if isinstance(found, Block) and found.absent:
        return ()
    text = section.text(block)
    return text if isinstance(text, Unknown) else tuple(sorted(text.split()))


def _helpers(section: Section) -> tuple[Helper, ...] | Unknown:
    text = section.text("helpers")
    if isinstance(text, Unknown):
        return text
    rows = re.finditer(r"^([0-7]{3,4}) ([0-9]{1,10}) (/\S+) (\S*)$", text, re.MULTILINE)
    return tuple(Helper(row[3], row[1], int(row[2]), row[4] if "=" in row[4] else "") for row in rows)


def _listening(section: Section) -> tuple[Listening, ...] | Unknown:
    said = section.text("sockets")
    if isinstance(said, Unknown):
        return said
    ports = section.blocks.get("listeners", Block(0, ""))
    if ports.status != 0:
        return Unknown(f"on which ports users' engines listen is not known: {ports.complaint}")
    asked = list(_asked(section))
    if unread := [each for each in asked if each is None]:
        return Unknown(f"what {len(unread)} processes of users' engines listen on could not be read")
    found = [Listening(int(row[1]), row[2]) for row in re.finditer(r"^s ([0-9]{1,10}) (/\S+)$", said, re.MULTILINE)]
    every = (*found, *chain(*filter(None, asked)), *_ports(ports))
    return tuple({(each.uid, each.at.rpartition(":")[2]): each for each in every}.values())


def _asked(section: Section) -> Iterator[list[Listening] | None]:
    """Of each process of an engine's: where its command line has it listen; None: that was not read."""
    words = monitors.read_words(section, "engines.words")
    for user, pid in monitors.read_owners(section, "engines"):
        yield [Listening(user, at) for at in _addresses(words[pid])] if pid in words else None


def _addresses(words: list[str]) -> Iterator[str]:
    """`podman system service tcp:localhost:8888`, `dockerd -H unix:///srv/x.sock`. A program that calls itself
    otherwise may be either."""
    program, given = PurePosixPath(words[0]).name, []
    if program != "dockerd" and "system" in words:
        said = words[words.index("system") :]
        given += said[said.index("service") :] if "service" in said else []
    if program != "podman":
        given += _hosts(words)
    for word in given:
        if found := re.fullmatch(r"(?:tcp:(?://)?([^/]+)|unix:(?://)?(/.+)).*", word, re.DOTALL):
            yield found[1] or found[2]


def _hosts(words: list[str]) -> Iterator[str]:
    """What dockerd is given by -H, also behind other letters; without `://` it takes that for TCP."""
    alone = [word for before, word in pairwise(words) if re.fullmatch("-[A-Za-z]*H|--host", before)]
    joined = [row[1] for word in words if (row := re.fullmatch("(?:-[A-Za-z]*?H=?|--host=)(.+)", word, re.DOTALL))]
    for word in (*alone, *joined):
        yield word if "://" in word or word == "fd" or word.startswith("/") else f"tcp://{word}"


def _ports(block: Block) -> Iterator[Listening]:
    for line in block.text.splitlines():
        words = line.split()
        uid = re.search(r" uid:([0-9]{1,10}) ", f"{line} ")
        if '("podman",' in line and uid and len(words) > 3:
            yield Listening(int(uid[1]), words[3])
