"""LXC: what it gives the containers that are made from now on, as its files say, and who may have network devices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from facts import lxc_files
from facts.capabilities import CAPABILITIES
from facts.core.fact import SectionFact
from facts.core.reading import Block, Jsonable, Section, Unknown, attempt, known
from facts.engines.lxc.containers import Made, read_made
from facts.engines.lxc.keys import KEYS, LISTS, PREFIXES
from facts.lxc_files import PROFILE, Line, adding, counting, expanded, read_included, read_texts, settled

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
    usernet: str | Unknown | None  # the text of /etc/lxc/lxc-usernet
    drop_in: str | Unknown | None  # hullproof's own file for lxc.service
    service: bool  # lxc.service is there, which starts containers at boot
    made: tuple[Made, ...] | Unknown  # the containers that there are, running or not
    users: dict[str, tuple[str, ...]]  # hullproof's filters -> the containers whose files name them
    weights: tuple[str, ...]  # cpu.weight, io.weight: those that a control group of the host has
    apparmor: bool | Unknown  # the kernel runs with it
    parser: bool  # without apparmor_parser no profile is generated

    @property
    def connecting(self) -> tuple[str, ...]:
        """The rows of lxc-usernet: `USER TYPE BRIDGE COUNT`."""
        rows = (row_of(line) for line in (known(self.usernet) or "").splitlines())
        return tuple(row for row in rows if row)

    def all(self, key: str) -> list[Line]:
        return adding(known(self.lines), key)

    def last(self, key: str) -> Line | None:
        return counting(known(self.lines), key)


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
        texts, included = read_texts(section.blocks.get("settings")), read_included(section)
        lines = attempt(path, lambda: tuple(expanded(texts, path)))
        rows = () if isinstance(lines, Unknown) else lines
        broken = tuple(f"{line.at}: {why}" for line in rows if (why := _wrong(line, missing)))
        made = read_made(section, texts, included)
        return LxcReading(
            installed=isinstance(section.program("lxc", "lxc-create"), str) and "lxc" in section.blocks,
            path=path,
            text=section.file(path) if path in section.blocks else None,
            lines=Unknown(f"LXC makes no container: {broken[0]}") if broken else settled(lines, included),
            broken=broken,
            ignored=tuple(f"{line.at}: {line.value}"[:200] for line in rows if not line.key),
            filters=dict(_filters(section, rows, made)),
            usernet=section.file(USERNET) if USERNET in section.blocks else None,
            drop_in=section.file(DROP_IN) if DROP_IN in section.blocks else None,
            service="service" in section.blocks,
            made=made,
            users=_users(section),
            weights=tuple(section.blocks.get("weights", Block(0, "")).text.split()),
            apparmor=_apparmor(section),
            parser="parser" in section.blocks,
        )


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


def _filters(
    section: Section, lines: tuple[Line, ...], made: tuple[Made, ...] | Unknown
) -> Iterator[tuple[str, str | Unknown | None]]:
    there = () if isinstance(made, Unknown) else made
    all_of = (lines, *(each.lines for each in there if not isinstance(each.lines, Unknown)))
    named = {line.value for rows in all_of for line in rows if line.key == PROFILE}
    for name in section.blocks:
        if name in (GUARDED, STRICT) or (name in named and name.startswith("/")):
            yield name, section.file(name)


def row_of(line: str) -> str:
    """A line of lxc-usernet without its comment and what blanks it has too many; "" where nothing is left."""
    return " ".join(line.partition("#")[0].split())


def _users(section: Section) -> dict[str, tuple[str, ...]]:
    """Whatever of its lines counts: a container does not start where a file is not there that its own file names."""
    found: dict[str, dict[str, None]] = {}
    for path, lines in read_texts(section.blocks.get("made")).items():
        for _, text in lines:
            if row := re.fullmatch(rf"lxc\.seccomp\.profile\s*=\s*[\"']?({GUARDED}|{STRICT})[\"']?", text):
                found.setdefault(row[1], {})[path.split("/")[-2]] = None
    return {path: tuple(names) for path, names in found.items()}


def _apparmor(section: Section) -> bool | Unknown:
    block = section.block("apparmor")
    if isinstance(block, Unknown) or (block.status != 0 and not block.absent):
        return Unknown("whether the kernel runs with AppArmor was not read")
    return block.status == 0 and block.text.strip() == "Y"
