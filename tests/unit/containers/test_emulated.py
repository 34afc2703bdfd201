"""What an emulator was told to emulate: read of its command line by guests.sh, whatever else that says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from facts import guests
from facts.containers import Containers
from facts.core.frame import PRELUDE, read_frame
from facts.core.reading import Block, Section, Unknown
from facts.emulated import MOST, read_pieces

QEMU = "qemu-system-x86_64"
PC = "a floppy controller (machine type pc-i440fx-10.0)"
ALL = "a floppy controller (machine type pc)", "a floppy drive", "a serial port"
# As libvirt 11.3 writes it, but for what is of no account here.
LIBVIRT = [
    "-name", "guest=isapc,debug-threads=on", "-S", "-object", '{"qom-type":"secret","id":"usb","file":"/x"}',
    "-machine", "pc-i440fx-10.0,usb=off,dump-guest-core=off,memory-backend=pc.ram", "-accel", "tcg", "-no-user-config",
    "-nodefaults", "-device", '{"driver":"virtio-serial-pci","id":"virtio-serial0","bus":"pci.0","addr":"0x3"}',
    "-audiodev", '{"id":"audio1","driver":"none"}', "-sandbox", "on",
]  # fmt: skip


def read(*words: str, program: str = QEMU, tmp_path: Path) -> Any:
    """What is made of an emulator that was started with these words."""
    copy = tmp_path / program
    shutil.copy(shutil.which("bash") or "", copy)
    folder = Path(guests.__file__).parent
    with subprocess.Popen([program, "-c", "read x", *words], executable=copy, stdin=subprocess.PIPE) as process:
        try:
            script = f"N=n\n{PRELUDE}\nguests='' emulators='{process.pid}'\n{(folder / 'guests.sh').read_text()}"
            done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        finally:
            process.kill()
    text = f"@hullproof n\n@n section x\n{done.stdout}\n@n end x 0\n@n done"
    [section] = read_frame(text.split("\n")).values()
    assert isinstance(section, Section)
    assert "secret-word" not in section.blocks["guests.words"].text
    whole = Section({"uid": Block(0, "0"), "engines": Block(0, ""), **section.blocks})
    (guest,) = Containers.parse(whole).guests  # type: ignore[misc]
    return guest.devices


@pytest.mark.parametrize(("status", "read"), [(0, [7, 8]), (1, [7, 8]), (2, [7]), (124, [7])])
def test_a_command_line_at_which_the_search_was_cut_off_counts_as_unread(status: int, read: list[int]) -> None:
    text = "".join(f"/proc/{pid}/cmdline:{word}\0" for pid in (7, 8) for word in ("-machine", "q35", "-nodefaults"))
    assert list(read_pieces(Section({"guests.words": Block(status, text)}))) == read


@pytest.mark.parametrize(
    ("words", "devices"),
    [
        (LIBVIRT, (PC,)),
        ([*LIBVIRT, "-device", '{"driver":"piix3-usb-uhci","id":"usb"}', "-device", '{"driver":"usb-redir"}', "-device",
          '{"driver":"isa-serial","chardev":"c"}', "-device", "ich9-intel-hda"],
         ("USB", "USB redirection", "a serial port", "sound", PC)),
        ([], ALL),
        (["-machine", "accel=tcg"], ALL),
        (["-M", "accel=tcg,type=q35", "-nodefaults"], ()),
        (["--machine", "q35", "-serial", "none"], ()),
        (["-machine", "q35", "-name", "pc", "-nodefaults", "-vnc", ":1,password=secret-word"], ()),
        (["-machine", "pc-q35-10.0,usb=on", "-nodefaults"], ("USB",)),
        (["-machine", "q35", "-nodefaults", "-drive", "file=/usb,if=floppy"], ("a floppy drive",)),
        (["-machine", "q35", "-nodefaults", "-object", "secret,id=a,data=secret-word", "-device", "isa-fdc"],
         ("a floppy controller",)),
        (["-nodefaults", "-fda", "x", "-device", "usb-audio", "-usb"], ("a floppy drive", "sound", "USB", ALL[0])),
    ],
)  # fmt: skip
def test_devices_of_an_emulator_are_read(words: list[str], devices: tuple[str, ...], tmp_path: Path) -> None:
    assert read(*words, tmp_path=tmp_path) == devices


@pytest.mark.parametrize(
    "words", [["-readconfig", "/x"], ["-machine", "frob", "-nodefaults"], ["-device", "x"] * MOST]
)  # fmt: skip
def test_what_cannot_be_told_is_unknown(words: list[str], tmp_path: Path) -> None:
    assert isinstance(read(*words, tmp_path=tmp_path), Unknown)


def test_another_machine_than_a_pc_has_no_floppy_controller(tmp_path: Path) -> None:
    words = ("-machine", "virt", "-nodefaults")
    assert read(*words, program="qemu-system-aarch64", tmp_path=tmp_path) == ()
