"""Who may do what to a file: its mode, owner, group and access control list, as ls(1) and getfacl(1) show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facts.core.reading import Block, Jsonable, Unknown

Acl = tuple[str, ...] | Unknown

SCRIPT = Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")  # defines `modes`

_LINE = re.compile(
    r"(?P<kind>[a-z-])(?P<bits>[rwxsStT-]{9})(?P<acl>[+.@]?) +\d+ (?P<owner>\S+) +(?P<group>\S+) .*?(?P<path>/.*)"
)
_KINDS = {"-": "file", "d": "directory", "s": "socket", "l": "link"}
_SPECIAL = {2: 0o4000, 5: 0o2000, 8: 0o1000}  # setuid, setgid, sticky: by the place of the letter


@dataclass(frozen=True)
class Access(Jsonable):
    """A path; behind a symbolic link, the file itself. `acl`: the entries beyond the mode, such as `user:alice:rw-`."""

    path: str
    mode: int
    owner: str
    group: str
    kind: str  # file, directory, socket
    acl: Acl = ()

    @property
    def sticky(self) -> bool:
        return bool(self.mode & 0o1000)


def read_listed(listed: Block, acls: Block | None) -> dict[str, Access]:
    """By path; what does not exist is not there."""
    entries = read_acls(acls) if acls else {}
    found = {}
    for line in listed.text.splitlines():
        if row := _LINE.fullmatch(line):
            path = row["path"]
            acl: Acl = entries.get(path, NOT_SHOWN) if row["acl"] == "+" else ()
            kind = _KINDS.get(row["kind"], row["kind"])
            found[path] = Access(path, _mode(row["bits"]), row["owner"], row["group"], kind, acl)
    return found


NOT_SHOWN = Unknown("it has an access control list (ls shows +), which getfacl did not show: install the package acl")


def read_acls(acls: Block) -> Mapping[str, tuple[str, ...]]:
    """The entries for named users and groups, by path, from paragraphs that begin with `# file: PATH`."""
    found: dict[str, tuple[str, ...]] = {}
    for part in acls.text.split("\n\n"):
        lines = part.strip().splitlines()
        path = next((line.removeprefix("# file: ") for line in lines if line.startswith("# file: ")), "")
        found[path] = tuple(entry for line in lines if (entry := _entry(line)))
    return found


def _entry(line: str) -> str:
    """`user:alice:rw-` as far as it is in force: getfacl says so behind a tab where the mask takes something away."""
    entry, _, effective = line.partition("\t")
    if not re.fullmatch(r"(user|group):[^:]+:[rwx-]{3}", entry):
        return ""
    bits = effective.strip().removeprefix("#effective:")
    return f"{entry[:-3]}{bits}" if re.fullmatch("[rwx-]{3}", bits) else entry


def granted(entry: str) -> int:
    """The bits of an entry: 6 of `user:alice:rw-`."""
    return sum(bit for letter, bit in zip(entry[-3:], (4, 2, 1), strict=False) if letter != "-")


def _mode(bits: str) -> int:
    mode = 0
    for place, letter in enumerate(bits):
        mode |= (1 << (8 - place)) if letter in "rwxst" else 0
        mode |= _SPECIAL[place] if letter in "sStT" else 0
    return mode
