"""hullproof's own record on the host: the baseline of the last good run, and the journals of past runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from facts.json_text import load
from facts.reading import Jsonable, Section, SectionFact, Unknown

# `2026-11-22 20:29:43 install iptables:amd64 <none> 1.8.11-2`
PACKAGE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S.*$", re.MULTILINE)


@dataclass(frozen=True)
class JournalEntry(Jsonable):
    id: str
    subject: str
    what: str
    path: str | None
    done: bool
    undone: bool
    armed: bool = False  # it could have cut us off, and so can its undo


@dataclass(frozen=True)
class Journal(Jsonable):
    """One past run's changes, oldest first."""

    run: str
    kind: str
    started: str
    undone: bool
    entries: tuple[JournalEntry, ...]

    @property
    def unfinished(self) -> bool:
        return any(not entry.done and not entry.undone for entry in self.entries)


@dataclass(frozen=True)
class Watched(Jsonable):
    """A file that hullproof wrote once, as it is now. `digest` "absent": it is gone."""

    path: str
    digest: str  # sha256
    written: str  # sha256 of what the newest run wrote there
    modified: int  # seconds since the epoch
    owner: str


@dataclass(frozen=True)
class RecordReading(Jsonable):
    baseline: dict[str, Any] | Unknown | None  # None: no run has ended well here yet
    journals: tuple[Journal, ...]  # newest last
    watched: tuple[Watched, ...]
    packages: tuple[str, ...]  # the package manager's last installs, upgrades and removals, as it logged them


class Record(SectionFact[RecordReading]):
    """What hullproof itself left on the host, so that drift can be told with its cause and runs can be undone."""

    key: ClassVar[str] = "record"
    script: ClassVar[str] = r"""
log=/var/log/dpkg.log
[ -r $log ] && run packages sh -c 'grep -E " (install|upgrade|remove|purge) " $0 | tail -n 8; :' $log
[ -d /var/lib/hullproof ] || exit 0
cd /var/lib/hullproof || exit 1
[ -r baseline.json ] && run baseline cat baseline.json
runs=$(ls journal 2>/dev/null | tail -n 10)
entries() {
  cat "journal/$1/run.json" || return
  if [ -e "journal/$1/undone" ]; then echo undone; else echo standing; fi
  for e in "journal/$1"/[0-9][0-9][0-9][0-9]; do [ -e "$e/entry.json" ] || continue
    d=0; u=0; [ -e "$e/done" ] && d=1; [ -e "$e/undone" ] && u=1
    read -r j <"$e/entry.json"; p=; [ -e "$e/path" ] && read -r p <"$e/path"
    a=; [ -e "$e/armed" ] && a=armed
    printf '%s %s %s %s\t%s\t%s\n' "${e##*/}" "$d" "$u" "$j" "$p" "$a"
  done
}
written=; set --
for r in $runs; do
  run "journal $r" entries "$r"
  for e in "journal/$r"/[0-9][0-9][0-9][0-9]; do
    [ -e "$e/written" ] && [ ! -e "$e/undone" ] && read -r p <"$e/path" && read -r w <"$e/written" &&
      written="$written$w $p
" && set -- "$@" "$p"
  done
done
if [ $# -gt 0 ]; then
  run written printf %s "$written"
  run digests sha256sum -- "$@"
  run owners stat -c '%Y %U %n' -- "$@"
fi
:
"""

    @staticmethod
    def parse(section: Section) -> RecordReading:
        baseline = section.json("baseline") if "baseline" in section.blocks else None
        if isinstance(baseline, list | str | int | float):
            baseline = Unknown("baseline.json: not an object")
        packages = section.blocks.get("packages")
        return RecordReading(
            baseline=baseline,
            journals=tuple(
                _journal(run, block.text)
                for run, block in section.matching("journal ").items()
                if block.status == 0 and not _stillborn(block.text)
            ),
            watched=tuple(_watched(section)),
            packages=tuple(PACKAGE.findall(packages.text)) if packages else (),
        )


def _stillborn(text: str) -> bool:
    """Power was lost as the journal was opened: no head yet, and so no change either."""
    return text.strip() == "standing"


def _journal(run: str, text: str) -> Journal:
    head, state, *lines = text.strip().splitlines()
    meta = load(head)
    return Journal(run, meta["kind"], meta["started"], state == "undone", tuple(_entry(line) for line in lines))


def _entry(line: str) -> JournalEntry:
    words, path, armed, *_ = f"{line}\t\t".split("\t")
    number, done, undone, text = words.split(" ", 3)
    meta = load(text)
    return JournalEntry(
        number, meta["subject"], meta["what"], path or None, done == "1", undone == "1", armed == "armed"
    )


def _watched(section: Section) -> Iterator[Watched]:
    """The newest write of each path, with the file as it is now. Of files that are gone both tools only complain; where
    one of them says nothing of a file, nothing is told of it."""
    written, digests, owners = (_by_path(section, name) for name in ("written", "digests", "owners"))
    for path, digest in written.items():
        modified, _, owner = owners.get(path, "0 ").partition(" ")
        if (path in digests) == (path in owners):
            yield Watched(path, digests.get(path, "absent"), digest, int(modified), owner)


def _by_path(section: Section, name: str) -> dict[str, str]:
    """Lines `WORDS PATH` by their path, the last of each."""
    block = section.blocks.get(name)
    lines = re.finditer(r"^([0-9a-f]{64}|absent|[0-9]{1,11} \S+) +(/.*)$", block.text if block else "", re.MULTILINE)
    return {line[2]: line[1] for line in lines}
