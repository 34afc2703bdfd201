"""Virtual machines of QEMU's: no containers, but processes that the kernel is to confine all the same. Those that
libvirt runs are known by its files, others by the program of their emulator."""

from __future__ import annotations

import re
from dataclasses import dataclass

from facts.core.reading import Block, Jsonable, Section, Unknown
from facts.emulated import emulated, read_pieces
from facts.processes import lines_of

EMULATOR = re.compile(r"qemu|kvm")  # how its name begins, whichever distribution it is


@dataclass(frozen=True)
class Guest(Jsonable):
    """A running guest: what its emulator, which the guest's kernel attacks first, is held to."""

    name: str  # as libvirt calls it; "" where libvirt does not know it by name
    pid: int
    label: str | Unknown  # LSM label: "libvirt-UUID (enforce)", "system_u:system_r:svirt_t:s0:c1,c2"
    uid: int | Unknown
    seccomp: int | Unknown  # 0 none, 2 filter
    devices: tuple[str, ...] | Unknown  # emulated ones that it may not need

    @property
    def shown(self) -> str:
        """Its name for people: `shop`, `process 812 (user 1000)`."""
        return self.name or f"process {self.pid}" + ("" if isinstance(self.uid, Unknown) else f" (user {self.uid})")


def read_guests(section: Section) -> tuple[Guest, ...] | Unknown:
    if "guests.late" in section.blocks:
        return Unknown("the files that libvirt keeps of its guests could not be read in time")
    if "unlisted.unable" in section.blocks:
        return Unknown("find(1) on this host tells nothing of programs, so guests without libvirt are not seen")
    held: dict[int, dict[str, str]] = {}
    for pid, _, text in lines_of(section, "guests.status"):
        name, _, value = text.partition(":\t")
        held.setdefault(pid, {})[name] = value
    for pid, _, text in lines_of(section, "guests.label"):
        held.setdefault(pid, {}).setdefault("label", text.strip("\0 "))
    names: dict[int, str] = {}
    for line in section.blocks.get("guests", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r"(?:/run/libvirt/qemu/([^/]+)\.pid:)?([0-9]{1,10})", line):
            names.setdefault(int(row[2]), row[1] or "")
    emulators, pieces = set(_emulators(section, held)), read_pieces(section)
    found = (
        _guest(names.get(pid, ""), pid, held.get(pid, {}), pieces.get(pid, []), pid in emulators)
        for pid in names.keys() | emulators
    )
    return tuple(sorted(found, key=lambda guest: (guest.name, guest.pid)))


def _emulators(section: Section, held: dict[int, dict[str, str]]) -> list[int]:
    """What an emulator's program runs in the host's own process namespace: any other is of a container. One that has
    ended meanwhile is no guest any more."""
    words = section.blocks.get("guests.emulators", Block(0, "")).text.split()
    pids = (int(word) for word in words if re.fullmatch("[0-9]{1,10}", word))
    return [pid for pid in pids if re.fullmatch(r"[0-9]+", held.get(pid, {}).get("NSpid", ""))]


def _guest(name: str, pid: int, held: dict[str, str], pieces: list[str], emulator: bool) -> Guest:
    """`emulator`: its program says that it is one, whatever it calls itself."""
    uid = re.match(r"([0-9]{1,10})\t", held.get("Uid", ""))
    is_one = emulator or EMULATOR.match(held.get("Name", ""))
    if not is_one or not uid or held.get("Seccomp", "") not in ("0", "1", "2"):
        gone = Unknown(f"process {pid}, which libvirt notes as its emulator, could not be read, or is none")
        return Guest(name, pid, gone, gone, gone, gone)
    devices = emulated(held.get("Name", ""), pieces)
    return Guest(name, pid, held.get("label", ""), int(uid[1]), int(held["Seccomp"]), devices)
