"""hullproof's own record on the host: the baseline of the last good run, and the journals of past runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from facts.core.fact import SectionFact
from facts.core.json_text import load
from facts.core.reading import Jsonable, Section, Unknown
from facts.core.trail import SCRIPT as TRAIL
from facts.core.trail import Touch, last_touches

SCHEMA = 1  # the form of a journal, which its run.json names; the first releases named none
BASELINE = "/var/lib/hullproof/baseline.json"
# `2026-11-22 20:29:43 install iptables:amd64 <none> 1.8.11-2`
PACKAGE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S.*$", re.MULTILINE)


@dataclass(frozen=True)
class JournalEntry(Jsonable):
    """One change. `undone`: it was taken back, or an operator has it stay."""

    id: str
    subject: str
    what: str
    path: str | None
    done: bool
    undone: bool
    commit_confirmed: bool = False  # it could have cut us off, and so can its undo
    kind: str = ""  # file, removal, command, packages, service
    shared: str = ""  # how a file is merged that others own too: json, lines
    live: bool = False  # a command whose undo changes something
    service: str = ""  # the entry of the service that takes the file up
    packages: tuple[str, ...] = ()  # what an installation added, or was to add where it was cut off
    interrupts: str = ""  # what the change was said to interrupt when it was made
    controls: tuple[str, ...] = ()  # the ids of those that it was made for


@dataclass(frozen=True)
class Journal(Jsonable):
    """One past run's changes, oldest first."""

    run: str
    kind: str
    started: str
    entries: tuple[JournalEntry, ...]
    schema: int = SCHEMA  # 0: none that is a number

    @property
    def left(self) -> tuple[JournalEntry, ...]:
        """What is still to be undone, last change first."""
        return tuple(entry for entry in reversed(self.entries) if not entry.undone)

    @property
    def name(self) -> str:
        return f"{self.run} ({self.kind}, {self.started})"


@dataclass(frozen=True)
class Watched(Jsonable):
    """A file that hullproof wrote once, as it is now. `digest` "absent": it is gone."""

    path: str
    digest: str  # sha256
    written: str  # sha256 of what the newest run wrote there
    modified: int  # seconds since the epoch
    owner: str
    touched: Touch | None = None  # auditd's last record of it since the baseline


@dataclass(frozen=True)
class RecordReading(Jsonable):
    baseline: dict[str, Any] | Unknown | None  # None: no run has ended well here yet
    journals: tuple[Journal, ...]  # of the runs of which something is left to undo, newest last
    spent: tuple[str, ...]  # the runs of which nothing is left
    unread: tuple[str, ...]  # older runs of which something is left; they were more than can be read at once
    watched: tuple[Watched, ...]
    packages: tuple[str, ...]  # installs, upgrades and removals since the baseline, as the package manager logged them


class Record(SectionFact[RecordReading]):
    """What hullproof itself left on the host, so that drift can be told with its cause and runs can be undone."""

    key: ClassVar[str] = "record"
    script: ClassVar[str] = (
        r"""
[ -d /var/lib/hullproof ] || exit 0
cd /var/lib/hullproof || exit 1
log=/var/log/dpkg.log
if [ -r baseline.json ]; then
  run baseline cat baseline.json
  # The log's times are the host's own, and so is the file's; by that our run has installed what it needs.
  [ ! $log -nt baseline.json ] || run packages awk -v since="$(date -r baseline.json '+%Y-%m-%d %H:%M:%S')" \
    '$1 " " $2 > since && $3 ~ /^(install|upgrade|remove|purge)$/ && n++ < 200' $log
fi
left() { [ -e "$1/entry.json" ] && ! [ -e "$1/undone" ] && ! [ -e "$1/skipped" ]; }
stands() {
  [ -e "journal/$1/undone" ] && return 1
  for e in "journal/$1"/[0-9][0-9][0-9][0-9]; do left "$e" && return; done
  return 1
}
entries() {
  cat "journal/$1/run.json" || return
  for e in "journal/$1"/[0-9][0-9][0-9][0-9]; do [ -e "$e/entry.json" ] || continue
    d=0; u=1; [ -e "$e/done" ] && d=1; left "$e" && u=0
    read -r j <"$e/entry.json"; p=; [ -e "$e/path" ] && read -r p <"$e/path"
    a=; [ -e "$e/armed" ] && a=armed
    l=; [ -e "$e/undo" ] && read -r l <"$e/undo"; s=; [ -e "$e/service" ] && read -r s <"$e/service"
    k= # of an installation that was cut off, what was asked for
    if [ -e "$e/packages" ]; then k=$(cat "$e/packages" | tr '\n' ' ')
    elif [ -e "$e/asked" ]; then k=$(LC_ALL=C comm -13 "$e/before" "$e/asked" | tr '\n' ' '); fi
    printf '%s %s %s %s\t%s\t%s\t%s\t%s\t%s\n' "${e##*/}" "$d" "$u" "$j" "$p" "$a" "${l:+live}" "$s" "$k"
  done
}
written=; spent=; unread=; bytes=0; set --
for r in $(ls -r journal 2>/dev/null); do
  case $r in [0-9]*) ;; *) continue ;; esac
  stands "$r" || { spent="$spent$r "; continue; }
  [ $bytes -lt 500000 ] || { unread="$unread$r "; continue; }
  text=$(entries "$r" 2>&1); run "journal $r" kept "$text" $?
  bytes=$((bytes + ${#text}))
  wrote=
  for e in "journal/$r"/[0-9][0-9][0-9][0-9]; do
    [ -e "$e/written" ] && left "$e" && read -r p <"$e/path" && read -r w <"$e/written" && wrote="$wrote$w $p
" && set -- "$@" "$p"
  done
  written="$wrote$written" # the newest of each path comes last
done
run spent printf %s "$spent"
run unread printf %s "$unread"
if [ $# -gt 0 ]; then
  run written printf %s "$written"
  run owners stat -c '%Y %U %n' -- "$@" "$PWD/baseline.json"
  for p; do shift; if [ -f "$p" ] || ! [ -e "$p" ]; then set -- "$@" "$p"; fi; done # others may have no end
  run digests sha256sum -- "$@"
"""
        + TRAIL
        + "fi\n:\n"
    )

    @staticmethod
    def parse(section: Section) -> RecordReading:
        baseline = section.json("baseline") if "baseline" in section.blocks else None
        if isinstance(baseline, list | str | int | float):
            baseline = Unknown("baseline.json: not an object")
        packages = section.blocks.get("packages")
        return RecordReading(
            baseline=baseline,
            journals=tuple(
                sorted(
                    (
                        _journal(run, block.text)
                        for run, block in section.matching("journal ").items()
                        if block.status == 0
                    ),
                    key=lambda journal: journal.run,
                )
            ),
            spent=_words(section, "spent"),
            unread=_words(section, "unread"),
            watched=tuple(_watched(section)),
            packages=tuple(PACKAGE.findall(packages.text)) if packages else (),
        )


def _words(section: Section, name: str) -> tuple[str, ...]:
    block = section.blocks.get(name)
    return tuple(block.text.split()) if block else ()


def _journal(run: str, text: str) -> Journal:
    head, *lines = text.strip().splitlines()
    meta = load(head)
    schema = meta.get("schema", SCHEMA)
    entries = tuple(_entry(line) for line in lines)
    return Journal(run, meta["kind"], meta["started"], entries, schema if isinstance(schema, int) else 0)


def _entry(line: str) -> JournalEntry:
    words, path, armed, live, service, packages, *_ = f"{line}\t\t\t\t\t".split("\t")
    number, done, undone, text = words.split(" ", 3)
    meta = load(text)
    return JournalEntry(
        number, meta["subject"], meta["what"], path or None, done == "1", undone == "1", armed == "armed",
        kind=meta.get("kind", ""), shared=meta.get("shared", ""), live=live == "live", service=service,
        packages=tuple(packages.split()), interrupts=meta.get("interrupts", ""),
        controls=tuple(map(str, meta.get("controls", ()))),
    )  # fmt: skip


def _watched(section: Section) -> Iterator[Watched]:
    """The newest write of each path, with the file as it is now. Of files that are gone both tools only complain; where
    one of them says nothing of a file, nothing is told of it."""
    written, digests, owners = (_by_path(section, name) for name in ("written", "digests", "owners"))
    since = int(owners.get(BASELINE, "0 ").partition(" ")[0])
    touches = last_touches(section.blocks.get("trail"), since)
    for path, digest in written.items():
        modified, _, owner = owners.get(path, "0 ").partition(" ")
        if (path in digests) == (path in owners):
            touched = touches.get(path) if digests.get(path) != digest else None
            yield Watched(path, digests.get(path, "absent"), digest, int(modified), owner, touched)


def _by_path(section: Section, name: str) -> dict[str, str]:
    """Lines `WORDS PATH` by their path, the last of each."""
    block = section.blocks.get(name)
    lines = re.finditer(r"^([0-9a-f]{64}|absent|[0-9]{1,11} \S+) +(/.*)$", block.text if block else "", re.MULTILINE)
    return {line[2]: line[1] for line in lines}
