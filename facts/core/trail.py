"""Who changed a file, by auditd's log: its last record of each file since the baseline, by our own rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from facts.core.reading import Block, Jsonable

RULE_KEY = "hullproof"  # of the rules that audit.engine_files has auditd load
NOBODY = "4294967295"
Id = tuple[int, int, int]  # of a record: seconds, milliseconds, and its number

# Within the section `record`, in its folder: "$@" are files that hullproof wrote. Only where one of them changed after
# the baseline is the log read, and no more than its end. A record is a group of lines with the same id; of each file
# the last one is kept: its SYSCALL, its CWD, its PATH.
SCRIPT = (
    f"key='key=\"{RULE_KEY}\"'\n"
    + r"""
names=
for p; do [ -e "$p" ] && ! [ "$p" -nt baseline.json ] || names="$names/${p##*/}/"; done
trail() { cat "$1.1" "$1" 2>/dev/null | tail -c 4000000 | LC_ALL=C awk -v key="$key" -v names="$names" '
  $2 != id { id = $2; call = where = "" }
  /^type=SYSCALL / && index($0, key) { call = $0 }
  /^type=CWD / { where = $0 }
  /^type=PATH / && call != "" && !/nametype=PARENT/ && match($0, / name="[^"]+"/) {
    name = substr($0, RSTART + 7, RLENGTH - 8); base = name; sub(/.*\//, "", base)
    if (index(names, "/" base "/")) found[name (name ~ /^\// ? "" : where)] = call "\n" where "\n" $0
  }
  END { for (each in found) if (n++ < 100) print found[each] }'; }
log=/var/log/audit/audit.log
[ -z "$names" ] || ! [ -e baseline.json ] || ! [ -r $log ] || run trail trail $log
"""
)


@dataclass(frozen=True)
class Touch(Jsonable):
    """A process that wrote a file, or changed what it is."""

    time: int  # seconds since the epoch
    login: str  # who had logged in, as who he did; "" for a process that no login led to, such as a service
    user: str
    program: str


def last_touches(block: Block | None, since: int) -> dict[str, Touch]:
    """By path, the last record from `since` on."""
    touches = sorted(_touches(block.text if block else ""), key=lambda row: row[0])
    return {path: touch for _, path, touch in touches if touch.time >= since}


def _touches(text: str) -> Iterator[tuple[Id, str, Touch]]:
    call = where = ""
    for line in text.split("\n"):  # not splitlines(): auditd puts 0x1d before what it translates
        if line.startswith("type=SYSCALL "):
            call, where = line, ""
        elif line.startswith("type=CWD "):
            where = line
        elif line.startswith("type=PATH ") and (id_ := _id(call)) and (path := _path(line, where)):
            yield id_, path, _touch(id_[0], call)


def _path(line: str, where: str) -> str:
    """The path that a PATH record names, from the folder that a CWD record names where it is relative."""
    name, folder = re.search(r' name="([^"]+)"', line), re.search(r' cwd="(/[^"]*)"', where)
    if name and not name[1].startswith("/"):
        return f"{folder[1].rstrip('/')}/{name[1]}" if folder else ""
    return name[1] if name else ""


def _id(call: str) -> Id | None:
    found = re.search(r"audit\((\d{1,11})\.(\d{1,9}):(\d{1,20})\)", call)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _touch(time: int, call: str) -> Touch:
    said: dict[str, str] = dict(re.findall(r'\b(auid|uid|exe|AUID|UID)="?([^\s"]+)', call))
    login = "" if said.get("auid") == NOBODY else said.get("AUID", said.get("auid", ""))
    user = said.get("UID", said.get("uid", ""))
    return Touch(time, login, user, said.get("exe", ""))
