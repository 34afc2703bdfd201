"""Domains as libvirt's files declare them, which libvirt writes itself: an element a line."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from facts.capabilities import CAPABILITIES
from facts.core.reading import Block, Jsonable
from facts.emulated import FLOPPY_CONTROLLER, floppy_controller
from facts.engines.libvirt.interfaces import Interface, read_interfaces

ROW = re.compile(r"(/(?:etc|run)/libvirt/(lxc|qemu)/([^/:]{1,255})\.xml):[ \t]*<([a-z_]+)(.*)")
LINE = re.compile(r"(/etc/libvirt/lxc/[^/:]{1,255}\.xml):(.*)")
MOST = 400  # lines of one file that are read
DROPPABLE = CAPABILITIES[
    :37
]  # of the others libvirt takes none from a container (domain_conf.h, virDomainProcessCapsFeature)
DROPPED = frozenset(
    {"SYS_MODULE", "SYS_TIME", "MKNOD", "AUDIT_CONTROL", "MAC_ADMIN"}
)  # without a word (lxc_container.c)
STATE = re.compile(r"\bstate=['\"](on|off)['\"]")
MACHINE = re.compile(r"\bmachine=['\"]([^'\"]{1,64})['\"]")
# What a guest rarely needs, and what its kernel reaches in the emulator: a device's element, and a word that it has.
DEVICES = (
    ("disk", "floppy", "a floppy drive"), ("controller", "fdc", FLOPPY_CONTROLLER), ("sound", "", "sound"),
    ("controller", "usb", "USB"), ("redirdev", "", "USB redirection"), ("serial", "", "a serial port"),
)  # fmt: skip


@dataclass(frozen=True)
class Domain(Jsonable):
    """A container or a guest, whether it runs or not."""

    driver: str  # "lxc", "qemu"
    name: str
    file: str
    idmap: bool
    unlabelled: bool  # <seclabel type='none'>
    devices: tuple[str, ...]  # emulated ones that it may not need
    interfaces: tuple[Interface, ...]
    dropped: tuple[str, ...]  # capabilities that libvirt takes from a container
    text: str  # of a container's file in /etc; "" where it was not read as a whole


@dataclass(frozen=True)
class Unread(Jsonable):
    """A file of a domain's of which not all is known."""

    file: str
    why: str
    broken: bool  # libvirt does not know a domain by it


CLOSED = re.compile(r"(/[^:]{1,4000}\.xml):[ \t]*</domain>.*")


def read_unread(block: Block, files: Block) -> tuple[Unread, ...]:
    """Of the files that there are, those that are no domain, that are longer than is read, and those that were not
    written by libvirt, which has an element a line."""
    rows: dict[str, list[tuple[str, str]]] = {}
    closed = set()
    for line in block.text.split("\n"):
        if row := ROW.fullmatch(line):
            rows.setdefault(row[1], []).append((row[4], row[5]))
        if end := CLOSED.fullmatch(line):
            closed.add(end[1])
    return tuple(_unread(files.text.split("\n"), rows, closed))


def _unread(files: list[str], rows: dict[str, list[tuple[str, str]]], closed: set[str]) -> Iterator[Unread]:
    for file in filter(None, files):
        own = rows.get(file, [])
        if any(re.search("<[a-z]", rest) for _, rest in own):
            yield Unread(file, "it has more than one element on a line", broken=False)
        elif file not in closed and len(own) >= MOST:
            yield Unread(file, "it is too long", broken=False)
        elif ":" in file.rpartition("/")[2]:
            yield Unread(file, "its name has a colon", broken=False)
        elif file not in closed or not any(element == "domain" for element, _ in own):
            yield Unread(file, "it has no <domain> from begin to end", broken=True)


def read_domains(block: Block, whole: Block) -> tuple[Domain, ...]:
    """A domain that was made for once has only a file in /run, and one that has both is as the next start makes it."""
    rows: dict[str, list[tuple[str, str]]] = {}
    drivers: dict[str, tuple[str, str]] = {}
    texts = _texts(whole)
    for line in block.text.split("\n"):
        if row := ROW.fullmatch(line):
            rows.setdefault(row[1], []).append((row[4], row[5]))
            drivers[row[1]] = (row[2], row[3])
    found: dict[tuple[str, str], Domain] = {}
    for file in sorted(rows):  # /etc before /run
        driver, stem = drivers[file]
        if any(element == "domain" for element, _ in rows[file]):
            domain = _domain(driver, stem, file, rows[file], texts.get(file, ""))
            found.setdefault((driver, domain.name), domain)
    return tuple(found[key] for key in sorted(found))


def _texts(whole: Block) -> dict[str, str]:
    lines: dict[str, list[str]] = {}
    for line in whole.text.split("\n"):
        if row := LINE.fullmatch(line):
            lines.setdefault(row[1], []).append(row[2])
    return {file: "".join(f"{line}\n" for line in rows) for file, rows in lines.items() if len(rows) < MOST}


def _domain(driver: str, stem: str, file: str, rows: list[tuple[str, str]], text: str) -> Domain:
    name = next((said[1] for element, rest in rows if element == "name" and (said := re.match(r">([^<]+)<", rest))), "")
    return Domain(
        driver=driver,
        name=html.unescape(name) or stem,
        file=file,
        idmap=any(element == "idmap" for element, _ in rows),
        unlabelled=any(element == "seclabel" and _has(rest, "type", "none") for element, rest in rows),
        devices=tuple(dict.fromkeys(_devices(rows))) if driver == "qemu" else (),
        interfaces=tuple(read_interfaces(rows)),
        dropped=tuple(_dropped(rows)) if driver == "lxc" else (),
        text=text,
    )


def _dropped(rows: list[tuple[str, str]]) -> Iterator[str]:
    """See https://libvirt.org/drvlxc.html, Altering the available capabilities."""
    states = {element.upper(): state[1] for element, rest in rows if (state := STATE.search(rest))}
    policy = next((rest for element, rest in rows if element == "capabilities"), "")
    for name in DROPPABLE:
        if _has(policy, "policy", "deny"):
            taken = states.get(name) != "on"
        elif _has(policy, "policy", "allow") or name not in DROPPED:
            taken = states.get(name) == "off"
        else:
            taken = states.get(name) != "on"
        if taken:
            yield name


def _devices(rows: list[tuple[str, str]]) -> Iterator[str]:
    for element, rest in rows:
        for wanted, word, said in DEVICES:
            # `<controller type='usb' model='none'/>` takes USB away.
            if element == wanted and word in rest and not _has(rest, "model", "none"):
                yield said
    machine = next((row[1] for element, rest in rows if element == "type" and (row := MACHINE.search(rest))), "")
    if not any(element == "controller" and "fdc" in rest for element, rest in rows):
        yield from filter(None, [floppy_controller(machine)])


def _has(attributes: str, name: str, value: str) -> bool:
    return re.search(rf"\b{name}=['\"]{value}['\"]", attributes) is not None
