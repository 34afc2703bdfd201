"""LXC: what it gives the containers that are made from now on, as its files say, and who may have network devices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from facts import lxc_files
from facts.capabilities import CAPABILITIES
from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, Section, Unknown, known
from facts.engines.lxc.keys import KEYS, LISTS, PREFIXES
from facts.lxc_files import PROFILE, expanded, read_texts
from facts.lxc_files import Line as Line

DEFAULT = "/etc/lxc/default.conf"
USERNET = "/etc/lxc/lxc-usernet"
GUARDED, STRICT = "/etc/hullproof/lxc/guarded.seccomp", "/etc/hullproof/lxc/strict.seccomp"
DROP_IN = "/etc/systemd/system/lxc.service.d/zz-hullproof.conf"


@dataclass(frozen=True)
class LxcReading(Jsonable):
    """See lxc.container.conf(5), lxc.system.conf(5), lxc-usernet(5)."""

    installed: bool
    path: str  # the file that lxc-create copies
    text: str | Unknown | None
    lines: tuple[Line, ...] | Unknown  # in the order in which they count, included ones too
    broken: tuple[str, ...]  # "FILE:LINE: why", of lines with which LXC makes no container
    ignored: tuple[str, ...]  # and of those that it passes over without a word
    filters: dict[str, str | Unknown | None]  # seccomp profiles that are named, and hullproof's own: path -> text
    usernet: tuple[str, ...] | Unknown  # "USER TYPE BRIDGE COUNT"
    drop_in: str | Unknown | None  # hullproof's own file for lxc.service
    service: bool  # lxc.service is there, which starts containers at boot
    users: dict[str, tuple[str, ...]]  # hullproof's filters -> the containers whose files name them
    apparmor: bool | Unknown  # the kernel runs with it
    parser: bool  # without apparmor_parser no profile is generated

    def all(self, key: str) -> list[Line]:
        """The lines of a key whose values add up: after the last one without a value, which takes away those before."""
        found: list[Line] = []
        for line in known(self.lines):
            if line.key == key and line.value:
                found.append(line)
            elif line.key == key:
                found.clear()
        return found

    def last(self, key: str) -> Line | None:
        """The line of a key that counts, of those whose last one does."""
        rows = [line for line in known(self.lines) if line.key == key]
        return rows[-1] if rows and rows[-1].value else None


class Lxc(SectionFact[LxcReading]):
    """Root's LXC. Users have files of their own, and their containers are judged by what these have."""

    key: ClassVar[str] = "lxc"
    script: ClassVar[str] = f"PROFILES='{GUARDED} {STRICT}' DROP_IN={DROP_IN}\n{lxc_files.SCRIPT}\n" + Path(
        __file__
    ).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> LxcReading:
        path = section.blocks.get("path", Block(0, DEFAULT)).text.strip() or DEFAULT
        missing = section.blocks.get("missing", Block(0, "")).text.split()
        lines = list(expanded(read_texts(section.blocks.get("settings", Block(0, ""))), path))
        broken = tuple(f"{line.at}: {why}" for line in lines if (why := _wrong(line, missing)))
        return LxcReading(
            installed=isinstance(section.program("lxc", "lxc-create"), str) and "lxc" in section.blocks,
            path=path,
            text=section.file(path) if path in section.blocks else None,
            lines=Unknown(f"LXC makes no container: {broken[0]}") if broken else tuple(filter(_counts, lines)),
            broken=broken,
            ignored=tuple(f"{line.at}: {line.value}"[:200] for line in lines if not line.key),
            filters={name: section.file(name) for name in section.blocks if _is_filter(name, lines)},
            usernet=_usernet(section),
            drop_in=section.file(DROP_IN) if DROP_IN in section.blocks else None,
            service="service" in section.blocks,
            users=_users(section.blocks.get("users", Block(0, ""))),
            apparmor=_apparmor(section),
            parser="parser" in section.blocks,
        )


def _counts(line: Line) -> bool:
    return bool(line.key) and line.key != "lxc.include"


def _wrong(line: Line, missing: list[str]) -> str:
    """Why LXC makes no container with a line; "" where it does."""
    if not line.key:
        return ""
    if line.key not in KEYS and not line.key.startswith(PREFIXES):
        return f"{line.key[:60]} is no key of LXC's" if line.value != "=" else f"no = in {line.key[:60]}"
    if line.key in ("lxc.include", PROFILE) and line.value in missing:
        return f"{line.value} is not there"
    if line.key in LISTS and (bad := [name for name in line.value.split() if not _is_capability(name)]):
        return f"{bad[0][:60]} is no capability"
    if line.key == "lxc.idmap" and line.value and not re.fullmatch(r"[ugb] +[0-9]+ +[0-9]+ +[0-9]+", line.value):
        return "lxc.idmap takes u or g and three numbers"
    return ""


def _is_capability(name: str) -> bool:
    return name.upper() in CAPABILITIES or name == "none" or re.fullmatch("[0-9]{1,2}", name) is not None


def _is_filter(name: str, lines: list[Line]) -> bool:
    if name in (GUARDED, STRICT):
        return True
    return name.startswith("/") and any(line.key == PROFILE and line.value == name for line in lines)


def _usernet(section: Section) -> tuple[str, ...] | Unknown:
    text = section.file(USERNET) if USERNET in section.blocks else None
    if isinstance(text, Unknown):
        return text
    rows = (line.partition("#")[0].split() for line in (text or "").split("\n"))
    return tuple(" ".join(words) for words in rows if words)


def _users(block: Block) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for line in block.text.split("\n"):
        if row := re.fullmatch(r"/[^:]*/([^/:]+)/config:(/[a-z/.-]+)", line):
            names = found.setdefault(row[2], [])
            if row[1] not in names[-1:]:
                names.append(row[1])
    return {path: tuple(names) for path, names in found.items()}


def _apparmor(section: Section) -> bool | Unknown:
    block = section.block("apparmor")
    if isinstance(block, Unknown) or (block.status != 0 and not block.absent):
        return Unknown("whether the kernel runs with AppArmor was not read")
    return block.status == 0 and block.text.strip() == "Y"
