"""LXC's own files: which lines of a container's count, and what its seccomp filters refuse (lxc.container.conf(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from facts.core.reading import Block, Jsonable, Section, Unknown, UnknownReading

# Functions for scripts: `said`, `included`.
SCRIPT = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
PROFILE = "lxc.seccomp.profile"
DEEP = 6  # how deep files include others
MOST = 20_000  # how many lines are followed
PARTLY = ("clone", "unshare")  # of which only the flag for user namespaces is refused
USERS = "[0,0x10000000,SCMP_CMP_MASKED_EQ,0x10000000]"
REFUSING = "(errno +[1-9][0-9]*|kill|trap)"


class Texts(dict[str, list[tuple[str, str]]]):
    """By file: the number and the text of each line that is no comment."""

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """By folder, its files in the order in which LXC reads them."""
        found: dict[str, list[str]] = {}
        for path in sorted(self):
            found.setdefault(path.rpartition("/")[0], []).append(path)
        return found

    def included(self, path: str) -> list[str]:
        return [path] if path in self else self.folders.get(path.rstrip("/"), [])


@dataclass(frozen=True)
class Line(Jsonable):
    """What a line sets, and where it is written."""

    key: str
    value: str
    at: str  # FILE:LINE

    @property
    def file(self) -> str:
        return self.at.rpartition(":")[0]


def adding(lines: Iterable[Line], key: str) -> list[Line]:
    """The lines of a key whose values add up: after the last one without a value, which takes away those before."""
    found: list[Line] = []
    for line in lines:
        if line.key == key and line.value:
            found.append(line)
        elif line.key == key:
            found.clear()
    return found


def counting(lines: Iterable[Line], key: str) -> Line | None:
    """The line of a key that counts, of those whose last one does."""
    rows = [line for line in lines if line.key == key]
    return rows[-1] if rows and rows[-1].value else None


def read_texts(block: Block | None) -> Texts:
    """What grep(1) prints of files, `FILE:LINE:TEXT`."""
    found = Texts()
    for line in block.text.split("\n") if block else ():
        if row := re.match(r"(/[^:]{1,4096}):([0-9]{1,6}):", line):
            found.setdefault(row[1], []).append((row[2], line[row.end() :].strip()))
    return found


def expanded(texts: Texts, path: str, left: Iterator[int] | None = None) -> Iterator[Line]:
    """Each line, and in the place of what includes others, theirs. Each takes one of what is `left`, or of MOST;
    UnknownReading where these do not suffice or files include others too deeply."""
    left = iter(range(MOST)) if left is None else left
    todo = [(iter(texts.get(path, ())), path, 1)]
    while todo:
        rows, where, depth = todo[-1]
        row = next(rows, None)
        if row is None:
            todo.pop()
            continue
        if next(left, None) is None:
            raise UnknownReading(f"{path} and what it includes have too many lines")
        line = _line(row[1], f"{where}:{row[0]}")
        yield line
        if line.key == "lxc.include":
            below = texts.included(line.value)
            if below and depth == DEEP:
                raise UnknownReading(f"{line.at} includes {line.value}, which is more than {DEEP} files deep")
            todo += ((iter(texts[each]), each, depth + 1) for each in reversed(below))


def _line(text: str, at: str) -> Line:
    """A line as LXC reads it (confile.c, parse_line): "" is the key of one that it passes over."""
    if not text.startswith("lxc."):
        return Line("", text, at)
    key, equals, value = text.partition("=")
    return Line(key.strip() if equals else text, value.strip().strip("\"'").strip() if equals else "=", at)


def read_included(section: Section) -> frozenset[str]:
    """What the survey has followed: files, and folders with all that is in them."""
    return frozenset(section.blocks.get("included", Block(0, "")).text.split())


def settled(lines: tuple[Line, ...] | Unknown, included: frozenset[str]) -> tuple[Line, ...] | Unknown:
    """Those that set something; unknown where a file includes what the survey has not followed."""
    if isinstance(lines, Unknown):
        return lines
    for line in lines:
        if line.key == "lxc.include" and line.value not in included:
            return Unknown(f"{line.value}, which {line.at} includes, was not read")
    return tuple(line for line in lines if line.key not in ("", "lxc.include"))


def rows_of(text: str) -> tuple[bool, list[tuple[str, str]]]:
    """Whether it lists what is allowed, and its rows, each with the section that it is in. UnknownReading for the old
    form, of numbers, and for a list whose other action is not understood."""
    lines = [line.partition("#")[0].strip() for line in text.split("\n")]
    rows = [line for line in lines if line]
    if len(rows) < 2 or rows[0] != "2":
        raise UnknownReading("the seccomp profile is of version 1, a list of numbers")
    kind = re.fullmatch(rf"((?P<some>allowlist|whitelist)( +{REFUSING})?|denylist|blacklist)", rows[1])
    if not kind:
        raise UnknownReading(f"the seccomp profile begins with {rows[1][:60]}")
    return bool(kind["some"]), list(_sections(rows[2:]))


def _sections(rows: list[str]) -> Iterator[tuple[str, str]]:
    section = "[all]"
    for row in rows:
        if row.startswith("["):
            section = row
        else:
            yield section, row


def refused(text: str) -> dict[str, bool]:
    """The calls that a denylist refuses on every architecture, and whether with some arguments alone."""
    found: dict[str, bool] = {}
    for section, row in rows_of(text)[1]:
        name = row.split()[0]
        if denied := re.fullmatch(rf"[a-z0-9_]+( +{REFUSING})?(?P<when> *\[.*)?", row):
            if section == "[all]":
                found[name] = bool(denied["when"]) and not (name in PARTLY and denied["when"].strip() == USERS)
        else:
            found.pop(name, None)
    return found


def allowed(text: str) -> set[str]:
    """The calls that a list of what is allowed names, with some arguments or for some architecture alone too."""
    refusing = re.compile(rf"[a-z0-9_]+ +{REFUSING}")
    return {row.split()[0] for _, row in rows_of(text)[1] if not refusing.fullmatch(row)}
