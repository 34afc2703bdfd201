"""Virtual machines that libvirt runs: no containers, but processes that the kernel is to confine all the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from facts.core.reading import Block, Jsonable, Section, Unknown
from facts.processes import lines_of

EMULATOR = re.compile(r"qemu|kvm")  # how its name begins, whichever distribution it is


@dataclass(frozen=True)
class Guest(Jsonable):
    """A running guest: what its emulator, which the guest's kernel attacks first, is held to."""

    name: str
    pid: int
    label: str | Unknown  # LSM label: "libvirt-UUID (enforce)", "system_u:system_r:svirt_t:s0:c1,c2"
    uid: int | Unknown
    seccomp: int | Unknown  # 0 none, 2 filter


def read_guests(section: Section) -> tuple[Guest, ...] | Unknown:
    if "guests.late" in section.blocks:
        return Unknown("the files that libvirt keeps of its guests could not be read in time")
    held: dict[int, dict[str, str]] = {}
    for pid, _, text in lines_of(section, "guests.status"):
        name, _, value = text.partition(":\t")
        held.setdefault(pid, {})[name] = value
    for pid, _, text in lines_of(section, "guests.label"):
        held.setdefault(pid, {}).setdefault("label", text.strip("\0 "))
    names: dict[int, str] = {}
    for line in section.blocks.get("guests", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r"(?:/run/libvirt/qemu/([^/]+)\.pid:)?([0-9]{1,10})", line):
            names.setdefault(int(row[2]), row[1] or f"process {row[2]}")
    found = (_guest(name, pid, held.get(pid, {})) for pid, name in names.items())
    return tuple(sorted(found, key=lambda guest: (guest.name, guest.pid)))


def _guest(name: str, pid: int, held: dict[str, str]) -> Guest:
    uid = re.match(r"([0-9]{1,10})\t", held.get("Uid", ""))
    if not EMULATOR.match(held.get("Name", "")) or not uid or held.get("Seccomp", "") not in ("0", "1", "2"):
        gone = Unknown(f"process {pid}, which libvirt notes as its emulator, could not be read, or is none")
        return Guest(name, pid, gone, gone, gone)
    return Guest(name, pid, held.get("label", ""), int(uid[1]), int(held["Seccomp"]))
