"""LXC's own files: which lines of a container's count, and what its seccomp filters refuse (lxc.container.conf(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from facts.core.reading import Block, Jsonable, UnknownReading

# Functions for scripts: `said`, `included`.
SCRIPT = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
PROFILE = "lxc.seccomp.profile"
DEEP, MOST = 6, 20_000  # how deep files include others, and how many lines all of them may have
PARTLY = ("clone", "unshare")  # of which only the flag for user namespaces is refused
USERS = "[0,0x10000000,SCMP_CMP_MASKED_EQ,0x10000000]"
REFUSING = "(errno +[1-9][0-9]*|kill|trap)"


@dataclass(frozen=True)
class Texts:
    """Files as they are: of each the number and the text of each line that is no comment."""

    files: dict[str, list[tuple[str, str]]]

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """The files right in each folder, in the order of their names."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.files):
            found.setdefault(path.rpartition("/")[0], []).append(path)
        return found

    def included(self, path: str) -> list[str]:
        return [path] if path in self.files else self.folders.get(path.rstrip("/"), [])


@dataclass(frozen=True)
class Line(Jsonable):
    """What a line sets, and where it is written."""

    key: str
    value: str
    at: str  # FILE:LINE


def read_texts(block: Block) -> Texts:
    found: dict[str, list[tuple[str, str]]] = {}
    for line in block.text.split("\n"):
        if row := re.match(r"(/[^:]{1,4096}):([0-9]{1,6}):", line):
            found.setdefault(row[1], []).append((row[2], line[row.end() :].strip()))
    return Texts(found)


def expanded(texts: Texts, path: str) -> Iterator[Line]:
    """Each line, and in the place of what includes others, theirs."""
    left = MOST
    todo = [iter(texts.files.get(path, ()))]
    where = [path]
    while todo and left > 0:
        row = next(todo[-1], None)
        if row is None:
            todo.pop()
            where.pop()
            continue
        left -= 1
        line = _line(row[1], f"{where[-1]}:{row[0]}")
        yield line
        if line.key == "lxc.include" and len(todo) < DEEP:
            for each in reversed(texts.included(line.value)):
                todo.append(iter(texts.files[each]))
                where.append(each)


def _line(text: str, at: str) -> Line:
    """A line as LXC reads it (confile.c, parse_line): "" is the key of one that it passes over."""
    if not text.startswith("lxc."):
        return Line("", text, at)
    key, equals, value = text.partition("=")
    return Line(key.strip() if equals else text, value.strip().strip("\"'").strip() if equals else "=", at)


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
