"""systemd-nspawn: how systemd starts machines from now on, and what single machines have in place of that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.numbers import whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown, known
from facts.engines.nspawn.trees import Tree, read_trees

TEMPLATE = "systemd-nspawn@.service"
DROP_IN = f"/etc/systemd/system/{TEMPLATE}.d/zz-hullproof.conf"
UNIT = "systemd-nspawn@hullproof-asks.service"
TRUSTED = ("/etc/systemd/nspawn/", "/run/systemd/nspawn/")
LIMITS = ("TasksMax", "MemoryMax", "MemorySwapMax")
# Options without a value: a word after one is what the machine is to start, and nothing behind it is an option.
ALONE = frozenset(
    (
        "-a", "-b", "-j", "-n", "-q", "-x", "-U", "--as-pid2", "--boot", "--ephemeral", "--keep-unit",
        "--network-veth", "--private-network", "--private-users", "--private-users-chown", "--quiet", "--read-only",
        "--volatile",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Word(Jsonable):
    """What a line of a machine's own file sets."""

    machine: str
    section: str  # Exec, Files, Network, Service …; "" for none
    key: str
    value: str
    at: str  # FILE:LINE


@dataclass(frozen=True)
class Start(Jsonable):
    """How systemd starts a machine that has no files of its own: it reads them when it starts one, and not before."""

    arguments: tuple[str, ...]  # after the program
    limits: dict[str, int | None]  # TasksMax, and bytes; None: none
    filtered: bool | Unknown = True  # whether its environment leaves machines a filter of system calls

    def last(self, *names: str) -> str | None:
        """The value of an option that counts; "" of one without a value; None where it is not there."""
        found = self.values(*names)
        return found[-1] if found else None

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.options() if name in names]

    def all(self, name: str) -> list[str]:
        """The values of an option that may be there more than once, each of which may be a list."""
        return [word for option, value in self.options() if option == name for word in re.split("[ ,]+", value) if word]

    def options(self) -> Iterator[tuple[str, str]]:
        """Up to the first word that is none: that one is what the machine starts, and all behind it are its own."""
        for argument in takewhile(_is_option, self.arguments):
            name, _, value = argument.partition("=")
            yield name, value.strip("\"'")


@dataclass(frozen=True)
class NspawnReading(Jsonable):
    """See systemd-nspawn(1), systemd.nspawn(5), systemd.resource-control(5)."""

    installed: bool
    start: Start | Unknown
    drop_in: str | Unknown | None  # hullproof's own file for the template
    words: tuple[Word, ...]  # of the machines' own files, in their order; those in a section
    running: tuple[str, ...] = ()  # the machines that systemd has started
    later: dict[str, str] = field(default_factory=dict)  # ExecStart, TasksMax … -> file that counts after ours
    trees: tuple[Tree, ...] = ()
    stray: tuple[Word, ...] = ()  # those in none


class Nspawn(SectionFact[NspawnReading]):
    """Machines that somebody starts by hand obey none of it: they are judged by what they have."""

    key: ClassVar[str] = "nspawn"
    script: ClassVar[str] = f"DROP_IN={DROP_IN} UNIT={UNIT}\n" + Path(__file__).with_suffix(".sh").read_text(
        encoding="utf-8"
    )

    @staticmethod
    def parse(section: Section) -> NspawnReading:
        words = list(_words(section.blocks.get("files", Block(0, ""))))
        return NspawnReading(
            installed=isinstance(section.program("nspawn", "systemd-nspawn"), str) and "nspawn" in section.blocks,
            start=_start(section),
            drop_in=section.file(DROP_IN) if DROP_IN in section.blocks else None,
            words=tuple(word for word in words if word.section),
            stray=tuple(word for word in words if not word.section),
            running=tuple(re.findall(r"systemd-nspawn@(\S{1,255})\.service$", _running(section), flags=re.MULTILINE)),
            later=dict(_later(section.blocks.get("places", Block(0, "")))),
            trees=tuple(read_trees(section)),
        )


def _later(block: Block) -> Iterator[tuple[str, str]]:
    """Drop-ins count in the order of their names, whichever folder has them (systemd.unit(5)): the last one last."""
    rows = [(row[1], row[2]) for row in re.finditer(r"^(/\S+\.conf):([A-Za-z]+)=$", block.text, re.MULTILINE)]
    for path, key in sorted(rows, key=lambda row: row[0].rpartition("/")[2]):
        if path.rpartition("/")[2] > DROP_IN.rpartition("/")[2]:
            yield key, path


def _running(section: Section) -> str:
    return section.blocks.get("running", Block(0, "")).text


def _start(section: Section) -> Start | Unknown:
    text = section.text("unit")
    if isinstance(text, Unknown):
        return text
    said = dict(line.partition("=")[::2] for line in text.split("\n"))
    if said.get("LoadState") != "loaded":
        return Unknown(f"systemd does not load {TEMPLATE} ({said.get('LoadState') or 'no answer'})")
    rows = re.findall(r"path=(\S*) ; argv\[\]=(.*?) ; ignore_errors=", said.get("ExecStart", ""))
    if not rows or not rows[-1][1].strip():
        return Unknown(f"{TEMPLATE} has no ExecStart")
    program, words = rows[-1][0], rows[-1][1].split()[1:]
    if program.rpartition("/")[2] != "systemd-nspawn":
        return Unknown(f"{TEMPLATE} starts {program[:80]}, not systemd-nspawn")
    if (apart := _apart(words)) is not None:
        return Unknown(f"{TEMPLATE} gives {apart[:40]} its value as a word of its own: write both as one")
    if variables := [word for word in words if "$" in word.replace("$$", "")]:
        return Unknown(f"{TEMPLATE} takes options from its environment ({variables[0][:40]}), which is not read")
    limits = {name: _limit(said.get(name, "")) for name in LIMITS}
    return Start(arguments=tuple(words), limits=limits, filtered=_filtered(said))


def _filtered(said: dict[str, str]) -> bool | Unknown:
    if files := said.get("EnvironmentFiles"):
        return Unknown(f"{TEMPLATE} takes its environment from {files[:80]}, which is not read")
    return not re.search(r'(?i)(^|[ "])SYSTEMD_SECCOMP=(0|no?|f|false|off)($|[ "])', said.get("Environment", ""))


def _is_option(word: str) -> bool:
    return word.startswith("-") and word not in ("-", "--")


def _apart(words: list[str]) -> str | None:
    """The option in front of the first word that is none, where that word may be its value."""
    options = list(takewhile(_is_option, words))
    if not options or len(options) == len(words) or words[len(options)] == "--":
        return None
    last = options[-1]
    return None if last in ALONE or "=" in last else last


def _limit(value: str) -> int | None:
    return None if value == "infinity" else known(_number(value))


def _number(value: str) -> int | Unknown:
    number = whole_number(value)
    return Unknown(f"a limit of {TEMPLATE} is no number ({value[:40]})") if number is None else number


def _words(block: Block) -> Iterator[Word]:
    path = section = ""
    continued = False
    for line in block.text.split("\n"):
        row = re.match(r"(/[^:]{1,4096}):([0-9]{1,6}):", line)
        if not row:
            continue
        if row[1] != path:
            path, section, continued = row[1], "", False
        text, before = line[row.end() :].strip(), continued
        continued = text.endswith("\\")
        if text.startswith("["):
            section = text.strip("[]")
        elif not before:  # else it belongs to the line above
            key, equals, value = text.partition("=")
            yield Word(_machine(path), section, key.strip() if equals else text, value.strip(), f"{path}:{row[2]}")


def _machine(path: str) -> str:
    unit = re.search(r"/systemd-nspawn@([^/]{1,255})\.service(\.d/[^/]{1,255})?$", path)
    return unit[1] if unit else path.rpartition("/")[2].removesuffix(".nspawn")
