"""libvirt: what its files give the containers and guests that it starts from now on, and who may speak to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, Section, Unknown, UnknownReading, attempt
from facts.engines.libvirt.conf import Broken, Entry, read_conf
from facts.engines.libvirt.domains import Domain, Unread, read_domains, read_unread
from facts.engines.libvirt.interfaces import Network, read_filters, read_networks

FOLDER = "/etc/libvirt"
MODULAR = ("virtqemud", "virtlxcd")  # one daemon for each driver, in place of libvirtd
DAEMONS = ("libvirtd", *MODULAR, "virtproxyd")
DRIVERS = ("lxc", "qemu")
LSMS = ("apparmor", "selinux")  # that it knows
ACTIVE = ("active", "reloading")
ENABLED = ("enabled", "enabled-runtime", "linked")


@dataclass(frozen=True)
class Conf(Jsonable):
    """A file of libvirt's; `text` None where it is not there, and nothing is set."""

    text: str | Unknown | None
    keys: dict[str, Entry] | Unknown
    broken: str  # why libvirt cannot read it; "" where it can


@dataclass(frozen=True)
class Unit(Jsonable):
    active: bool
    enabled: bool


@dataclass(frozen=True)
class Socket(Jsonable):
    """Of the API that changes things."""

    path: str
    mode: str  # octal, "0666"
    owner: str
    group: str


@dataclass(frozen=True)
class LibvirtReading(Jsonable):
    """See /etc/libvirt/*.conf, https://libvirt.org/daemons.html and https://libvirt.org/auth.html."""

    daemons: tuple[str, ...]  # that are installed; () where libvirt is not there
    drivers: tuple[str, ...] | Unknown  # "lxc", "qemu"
    lsm: tuple[str, ...] | Unknown  # of those that libvirt knows: what the kernel runs
    files: dict[str, Conf]  # by name: "lxc", "qemu", "libvirtd"
    units: dict[str, Unit] | Unknown
    stale: dict[str, tuple[str, ...]] | Unknown  # by running daemon: files that were changed since it started
    listening: bool | Unknown  # libvirtd was started with --listen
    sockets: tuple[Socket, ...]
    users: dict[str, str]  # of emulators that the distribution has made: user -> its own group
    members: tuple[str, ...]  # of the group libvirt, who are as root
    domains: tuple[Domain, ...] | Unknown
    networks: dict[str, Network]  # by name
    filters: dict[str, tuple[str, ...]]  # by name: those that it is made of
    unread: tuple[Unread, ...] = ()  # files of domains of which not all is known
    release: tuple[int, int] | None = None  # (11, 3); None where its library is not where distributions have it


class Libvirt(SectionFact[LibvirtReading]):
    """The host's libvirt. What users run in sessions of their own is confined by nobody but the kernel."""

    key: ClassVar[str] = "libvirt"
    script: ClassVar[str] = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> LibvirtReading:
        daemons = _words(section, "daemons", DAEMONS)
        lsm = section.text("lsm") if daemons else ""
        modules = lsm if isinstance(lsm, Unknown) else tuple(n for n in LSMS if n in lsm.strip().split(","))
        return LibvirtReading(
            daemons=daemons,
            drivers=attempt("libvirt's drivers", lambda: _words(section, "drivers", DRIVERS)),
            lsm=modules,
            files={name: _conf(section, name) for name in ("lxc", "qemu", *daemons)} if daemons else {},
            units=_units(section) if daemons else {},
            stale=attempt("libvirt's files", lambda: _stale(section, daemons)),
            listening=_listening(section),
            sockets=tuple(_sockets(section)),
            users=dict(_users(section)),
            members=tuple(_members(section)),
            domains=attempt("domains", lambda: _domains(section)),
            networks=read_networks(section.blocks.get("networks", Block(0, ""))),
            filters=read_filters(section.blocks.get("networks", Block(0, ""))),
            unread=read_unread(*(section.blocks.get(name, Block(0, "")) for name in ("domains", "domains.files"))),
            release=_release(section),
        )


def _release(section: Section) -> tuple[int, int] | None:
    """By the library's name: libvirt.so.0.11003.0 is that of 11.3.0. Of two, the older one may be what runs."""
    said = section.blocks.get("library", Block(0, "")).text
    found = [divmod(int(number), 1000) for number in re.findall(r"/libvirt\.so\.0\.([0-9]{4,6})\.[0-9]{1,3}\b", said)]
    return min(found, default=None)


def _words(section: Section, name: str, of: tuple[str, ...]) -> tuple[str, ...]:
    """Each word of a block once; UnknownReading where one is none of these."""
    said = tuple(dict.fromkeys(section.blocks.get(name, Block(0, "")).text.split()))
    if other := next((word for word in said if word not in of), ""):
        raise UnknownReading(f"{name}: {other[:40]!r} is none of libvirt's")
    return said


def _conf(section: Section, name: str) -> Conf:
    path = f"{FOLDER}/{name}.conf"
    text = section.file(path)
    if isinstance(text, Unknown):
        return Conf(text, text, "")
    try:
        return Conf(text, read_conf(text or ""), "")
    except Broken as error:
        why = f"{path}, {error}"
        return Conf(text, Unknown(f"libvirt cannot read {why}"), why)


def _units(section: Section) -> dict[str, Unit] | Unknown:
    block = section.block("units")
    if isinstance(block, Unknown) or block.status != 0:
        return Unknown("without systemd it is not known which daemons of libvirt's run")
    found: dict[str, Unit] = {}
    for part in re.split(r"\n\n+", block.text.strip()):
        said = dict(line.partition("=")[::2] for line in part.split("\n"))
        if name := said.get("Id"):
            found[name] = Unit(said.get("ActiveState") in ACTIVE, said.get("UnitFileState") in ENABLED)
    return found


def _stale(section: Section, daemons: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """A daemon writes its pid file when it starts, and removes it when it ends."""
    times: dict[str, tuple[int, int]] = {}
    for line in section.blocks.get("times", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r"([0-9]{1,12}) ([0-9]{1,12}) (/.*)", line):
            times[row[3]] = (int(row[1]), int(row[2]))
    started = {name: times[f"/run/{name}.pid"][0] for name in daemons if f"/run/{name}.pid" in times}
    return {
        name: tuple(path for path in _read_by(name) if path in times and times[path][1] > at)
        for name, at in started.items()
    }


def _read_by(daemon: str) -> tuple[str, ...]:
    drivers = {"libvirtd": ("lxc", "qemu"), "virtqemud": ("qemu",), "virtlxcd": ("lxc",)}.get(daemon, ())
    return tuple(f"{FOLDER}/{name}.conf" for name in (*drivers, daemon))


def _listening(section: Section) -> bool | Unknown:
    block = section.blocks.get("listening", Block(1, ""))
    return bool(re.search(r"^/proc/[0-9]+/cmdline", block.text, re.MULTILINE))


def _sockets(section: Section) -> Iterator[Socket]:
    for line in section.blocks.get("sockets", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r"([0-7]{1,4}) ([^ ]+) ([^ ]+) (/.*)", line):
            yield Socket(row[4], f"{int(row[1], 8):04o}", row[2], row[3])


def _accounts(section: Section, file: str) -> Iterator[list[str]]:
    for line in section.blocks.get("accounts", Block(0, "")).text.split("\n"):
        path, _, row = line.partition(":")
        if path == file:
            yield row.split(":")


def _users(section: Section) -> Iterator[tuple[str, str]]:
    groups = {row[0] for row in _accounts(section, "/etc/group")}
    for row in _accounts(section, "/etc/passwd"):
        if row[0] != "libvirt" and row[0] in groups:
            yield row[0], row[0]


def _members(section: Section) -> Iterator[str]:
    for row in _accounts(section, "/etc/group"):
        if row[0] == "libvirt" and len(row) == 4:
            yield from filter(None, row[3].split(","))


def _domains(section: Section) -> Any:
    block, whole = (section.blocks.get(name, Block(0, "")) for name in ("domains", "containers"))
    return read_domains(block, whole) if block.status in (0, 1, 2) else Unknown(f"domains: {block.complaint}")
