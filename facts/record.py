"""hullproof's own record on the host: the baseline of the last good run, and the journals of past runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from facts.reading import Jsonable, Section, SectionFact, Unknown, known


@dataclass(frozen=True)
class JournalEntry(Jsonable):
    id: str
    subject: str
    what: str
    path: str | None
    done: bool
    undone: bool


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
for r in $runs; do
  run "journal $r" sh -c 'cd "journal/$0" && cat run.json && if [ -e undone ]; then echo undone; else echo standing; fi
    for e in [0-9][0-9][0-9][0-9]; do [ -e "$e/entry.json" ] || continue
      d=0; u=0; [ -e "$e/done" ] && d=1; [ -e "$e/undone" ] && u=1
      read -r j <"$e/entry.json"; p=; [ -e "$e/path" ] && read -r p <"$e/path"
      printf "%s %s %s %s\t%s\n" "$e" "$d" "$u" "$j" "$p"; done' "$r"
done
if [ -n "$runs" ]; then
  run watched sh -c 'for r; do for e in "journal/$r"/[0-9][0-9][0-9][0-9]; do
      [ -e "$e/written" ] && [ ! -e "$e/undone" ] && read -r p <"$e/path" && read -r w <"$e/written" &&
        printf "%s\t%s\t%s\t%s\n" "$p" "$w" "$(stat -c "%Y %U" -- "$p" 2>/dev/null)" "$(sha256sum -- "$p" 2>/dev/null)"
    done; done; :' record $runs
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
            watched=tuple(_watched(known(section.text("watched")))) if "watched" in section.blocks else (),
            packages=tuple(packages.text.strip().splitlines()) if packages else (),
        )


def _stillborn(text: str) -> bool:
    """Power was lost as the journal was opened: no head yet, and so no change either."""
    return text.strip() == "standing"


def _journal(run: str, text: str) -> Journal:
    head, state, *lines = text.strip().splitlines()
    meta = json.loads(head)
    return Journal(run, meta["kind"], meta["started"], state == "undone", tuple(_entry(line) for line in lines))


def _entry(line: str) -> JournalEntry:
    words, _, path = line.partition("\t")
    number, done, undone, text = words.split(" ", 3)
    meta = json.loads(text)
    return JournalEntry(number, meta["subject"], meta["what"], path or None, done == "1", undone == "1")


def _watched(text: str) -> list[Watched]:
    """The newest write of each path, with the file as it is now."""
    files: dict[str, Watched] = {}
    for line in text.splitlines():
        path, written, stat, digest = line.split("\t")
        modified, _, owner = stat.partition(" ")
        files[path] = Watched(path, digest.split(" ")[0] or "absent", written, int(modified or 0), owner)
    return list(files.values())
