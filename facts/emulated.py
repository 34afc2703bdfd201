"""Devices that guests rarely need, and that their kernels reach in the emulator: as emulators are told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from facts.core.reading import Block, Section, Unknown

FLOPPY_CONTROLLER = "a floppy controller"
UNREAD = Unknown("not all that its emulator was started with could be read")
MOST = 400  # pieces of one command line
# By what an emulator calls its device (qemu -device help), the names that libvirt's files have for them.
DRIVERS = (
    (re.compile(r"floppy"), "a floppy drive"), (re.compile(r"(isa|sysbus)-fdc"), FLOPPY_CONTROLLER),
    (re.compile(r"hda-.*|.*intel-hda|AC97|ES1370|sb16|cs4231a|gus|adlib|usb-audio|virtio-sound.*"), "sound"),
    (re.compile(r"usb-redir"), "USB redirection"), (re.compile(r".*\busb\b.*|.*[exuo]hci.*"), "USB"),
    (re.compile(r"(isa|pci)-serial.*"), "a serial port"),
)  # fmt: skip
OPTIONS = {"fda": "a floppy drive", "fdb": "a floppy drive", "soundhw": "sound", "usb": "USB", "usbdevice": "USB"}
DRIVER = re.compile(r'(?:"driver": ?"|driver=)?(.*)')
X86 = re.compile(r"qemu-system-(x86|i38)")  # which emulate an i440fx where no word names another machine
Option = tuple[str, tuple[str, ...]]  # its name without dashes, and those pieces of its value that are read


def floppy_controller(machine: str) -> str:
    """That a machine of this type has one, whatever else is said: QEMU makes it with every i440fx and ISA PC."""
    has = re.match(r"(pc|isapc)(-|$)", machine) and not machine.startswith("pc-q35")
    return f"{FLOPPY_CONTROLLER} (machine type {machine})" if has else ""


def read_pieces(section: Section) -> dict[int, list[str]]:
    """By process: what guests.sh takes of its command line; not of the last one, where the search was cut off."""
    found: dict[int, list[str]] = {}
    block = section.blocks.get("guests.words", Block(0, ""))
    for line in re.split(r"[\0\n]", block.text):
        if row := re.fullmatch(r"/proc/([0-9]{1,10})/cmdline:(.+)", line):
            found.setdefault(int(row[1]), []).append(row[2])
    if found and block.status not in (0, 1):
        found.popitem()
    return found


def emulated(program: str, pieces: Sequence[str]) -> tuple[str, ...] | Unknown:
    """What an emulator was told to emulate; without `-nodefaults` it adds to that by itself."""
    options = list(_options(pieces))
    names = {name for name, _ in options}
    machine = _machine(program, options)
    if not options or len(pieces) >= MOST or "readconfig" in names or machine is None:
        return UNREAD
    found = [*_devices(options)]
    if (controller := floppy_controller(machine)) and FLOPPY_CONTROLLER not in found:
        found.append(controller)
    if "nodefaults" not in names:
        found += ["a floppy drive"] * bool(controller) + ["a serial port"] * ("serial" not in names)
    return tuple(dict.fromkeys(found))


def _options(pieces: Sequence[str]) -> Iterator[Option]:
    name, values = "", list[str]()
    for piece in [*pieces, "-"]:
        if not piece.startswith("-"):
            values.append(piece.removeprefix(","))
            continue
        if name:
            yield name, tuple(values)
        name, values = piece.lstrip("-"), []


def _devices(options: Sequence[Option]) -> Iterator[str]:
    for name, values in options:
        if name in OPTIONS:
            yield OPTIONS[name]
        elif name == "device" and values and (row := DRIVER.fullmatch(values[0])):
            yield from [said for form, said in DRIVERS if form.fullmatch(row[1])][:1]
        elif name == "drive" and "if=floppy" in values:
            yield "a floppy drive"
        elif name in ("machine", "M") and any(value.startswith("usb=") for value in values):
            yield "USB"
        elif name == "serial" and values != ("none",):
            yield "a serial port"


def _machine(program: str, options: Sequence[Option]) -> str | None:
    """Its type; "" where that is none of a PC's, None where it cannot be told."""
    given = [values for name, values in options if name in ("machine", "M")]
    said = [value.removeprefix("type=") for values in given for value in values]
    types = [value for value in said if "=" not in value]
    if types or not X86.match(program):
        return types[-1] if types else ""
    return None if () in given else "pc"
