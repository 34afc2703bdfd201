"""What users have stored with subordinate ids that another owner has too: where, and how much of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from facts.core.reading import Block, Jsonable, Section, Unknown

MOST = 20_000  # files that are looked at, of one user


def _part(file: str) -> str:
    return quote(Path(__file__).with_name(file).read_text(encoding="utf-8"))


SCRIPT = f"MOST={MOST}\nSHARING={_part('sharing.awk')}\nSTORED={_part('stored.sh')}\n"


@dataclass(frozen=True)
class Stored(Jsonable):
    """Of one user."""

    folders: tuple[str, ...]  # where the user's engines keep what they store, as far as these are there
    elsewhere: tuple[str, ...]  # folders outside of the home, which only the user's own files name
    lxc: tuple[str, ...]  # what LXC has of the user's: its containers name their ids in files of their own
    files: int  # that have ids of the user's rows
    size: int  # bytes of these
    more: bool  # there are more files than were looked at
    processes: int  # that run as the user, or with these ids
    tools: bool  # getfattr and setfattr are there


def read_stored(section: Section) -> dict[str, Stored | Unknown]:
    """By name."""
    return {user: _stored(block) for user, block in section.matching("stored ").items()}


def _stored(block: Block) -> Stored | Unknown:
    lines = block.text.splitlines()
    files = next(filter(None, (re.fullmatch(r"files ([0-9]{1,9}) ([0-9]{1,18})", line) for line in lines)), None)
    processes = next(filter(None, (re.fullmatch(r"processes ([0-9]{1,9})", line) for line in lines)), None)
    if block.status != 0 or files is None or processes is None:
        return Unknown("what is stored could not be counted" + (" within 10 seconds" if block.status == 124 else ""))

    def said(word: str) -> tuple[str, ...]:
        return tuple(line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} "))

    return Stored(
        folders=said("folder"),
        elsewhere=said("elsewhere"),
        lxc=said("lxc"),
        files=int(files[1]),
        size=int(files[2]),
        more="more" in lines,
        processes=int(processes[1]),
        tools="tools" in lines,
    )
