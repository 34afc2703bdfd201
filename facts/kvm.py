"""KVM: whether guests may run guests of their own, and who may open /dev/kvm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, Section, Unknown

DEVICE = "/dev/kvm"
FLAGS = ("vmx", "svm")
YES, NO = ("1", "y"), ("0", "n")  # as the kernel reads a parameter, by its first character
DIRECTORIES = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")  # of modprobe.d(5): the first counts


@dataclass(frozen=True)
class Node(Jsonable):
    """Who may open the device."""

    mode: str  # as ls(1) shows it: "crw-rw----", with "+" where an access control list says more
    owner: int
    group: int
    group_name: str  # "" where /etc/group does not say
    members: tuple[str, ...]  # of the group, also those whose primary group it is


@dataclass(frozen=True)
class KvmReading(Jsonable):
    """See Documentation/virt/kvm and modprobe.d(5)."""

    device: Node | Unknown | None  # None: there is no /dev/kvm
    flag: str | Unknown  # of the processor: "vmx", "svm", "" where it has neither
    nested: dict[str, bool]  # by module that is loaded
    options: dict[str, tuple[bool, str]]  # by module: what a file of modprobe.d gives it when it is loaded, and which


class Kvm(SectionFact[KvmReading]):
    """The host's /dev/kvm."""

    key: ClassVar[str] = "kvm"
    script: ClassVar[str] = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> KvmReading:
        return KvmReading(
            device=_device(section),
            flag=_flag(section),
            nested=dict(_nested(section)),
            options=_options(section),
        )


def _flag(section: Section) -> str | Unknown:
    if not _searched(section, "flags"):
        return Unknown("the processor's flags could not be read")
    return next((word for word in _text(section, "flags").split() if word in FLAGS), "")


def _searched(section: Section, name: str) -> bool:
    """Whether grep(1) came to its end, with or without a line."""
    return section.blocks.get(name, Block(1, "")).status in (0, 1)


def _text(section: Section, name: str) -> str:
    return section.blocks.get(name, Block(0, "")).text


def said(value: str) -> bool | None:
    """What the kernel makes of a parameter's value."""
    first = value[:1].lower()
    return first in YES if first in (*YES, *NO) else None


def _device(section: Section) -> Node | Unknown | None:
    if "device" not in section.blocks:
        return None
    row = re.match(r"(c[rwxsStT-]{9}[+.@]?) +[0-9]+ +([0-9]{1,10}) +([0-9]{1,10}) ", _text(section, "device"))
    if not row:
        return Unknown(f"{DEVICE} is no device, or could not be listed")
    if not _searched(section, "accounts"):
        return Unknown(f"who is in the group of {DEVICE} could not be read")
    gid = row[3]
    rows = list(_accounts(section))
    named = [fields for file, fields in rows if file == "/etc/group" and fields[2] == gid]
    members = [name for fields in named for name in fields[3].split(",") if name]
    members += [fields[0] for file, fields in rows if file == "/etc/passwd" and fields[3] == gid]
    name = named[0][0] if named else ""
    return Node(row[1].rstrip(".@"), int(row[2]), int(gid), name, tuple(dict.fromkeys(members)))


def _accounts(section: Section) -> Iterator[tuple[str, list[str]]]:
    for line in _text(section, "accounts").split("\n"):
        file, _, row = line.partition(":")
        if len(fields := row.split(":")) >= 4:
            yield file, fields


def _nested(section: Section) -> Iterator[tuple[str, bool]]:
    for word in _text(section, "nested").split():
        module, _, value = word.partition("=")
        if (nested := said(value)) is not None:
            yield module, nested


def _options(section: Section) -> dict[str, tuple[bool, str]]:
    """The last line of the last file by name counts, and of files of one name the first directory's."""
    rows: dict[str, dict[str, list[str]]] = {}
    for line in _text(section, "options").split("\n"):
        path, _, row = line.partition(":")
        folder = path.partition("/modprobe.d/")[0]
        if folder in DIRECTORIES:
            rows.setdefault(PurePosixPath(path).name, {}).setdefault(folder, []).append(row)
    found: dict[str, tuple[bool, str]] = {}
    for name in sorted(rows):
        folder = min(rows[name], key=DIRECTORIES.index)
        for row in rows[name][folder]:
            for module, value in _given(row):
                found[module] = (value, f"{folder}/modprobe.d/{name}")
    return found


def _given(row: str) -> Iterator[tuple[str, bool]]:
    words = row.partition("#")[0].split()
    for word in words[2:]:
        name, equals, value = word.partition("=")
        given = said(value) if equals else True
        if name == "nested" and given is not None:
            yield words[1].replace("-", "_"), given
