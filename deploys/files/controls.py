"""Who may change the files that every other control stands on: hullproof's own, and those of the engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import Literal

from pydantic import Field

from deploys.core.change import Blocked, Change, Command, Context, Subject, mending
from deploys.core.control import (
    Control,
    Severity,
    Verdict,
    failed,
    not_applicable,
    only_where,
    passed,
    some,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.files import Files, FilesReading
from facts.modes import Access, granted

OWN, ENGINES = "files.own", "files.engines"
OTHERS_WRITE = 0o022


class FilesRules(Rules):
    """The files that other controls stand on."""

    own: Literal[True] | None = Field(None, description="Only root may change hullproof's own files on the host.")
    engines: Literal[True] | None = Field(
        None, description="Only root may change the engines' programs, units, settings and folders."
    )


@dataclass(frozen=True)
class Loose:
    """Somebody other than root may change this."""

    access: Access
    above: bool  # a folder above what is watched

    @property
    def excess(self) -> int:
        """The bits of its mode with which others may write."""
        return _others_write(self.access) if not (self.above and self.access.sticky) else 0

    @property
    def by_hand(self) -> str:
        """What is to be done where harden changes nothing; "" where its mode is all that is wrong."""
        path = quote(self.access.path)
        if self.access.owner != "root":
            return f"chown root {path}"
        if self.excess and self.above:
            return f"chmod go-w {path}"
        return "" if self.excess else f"setfacl -b {path}"

    def __str__(self) -> str:
        access = self.access
        acl = f" with {', '.join(_writers(access))}" if _writers(access) else ""
        return f"{access.path} ({access.mode:04o} {access.owner}:{access.group}{acl})"


def _others_write(access: Access) -> int:
    """What root's own group may do is no excess."""
    return access.mode & (0o002 if access.group == "root" else OTHERS_WRITE)


def _writers(access: Access) -> list[str]:
    """The entries of its access control list that let others write."""
    if isinstance(access.acl, Unknown):
        return []
    return [entry for entry in access.acl if granted(entry) & 2 and not entry.startswith("user:root:")]


def loose_files(reading: FilesReading, own: bool) -> list[Loose]:
    """Those of the files and of the folders above them that others than root may change. UnknownReading where none is
    found, and one could not be looked at."""
    access, watched = known(reading.access), set(reading.of(own))
    paths = sorted(watched | {folder for path in watched for folder in _above(path)})
    rows = [Loose(access[path], above=path not in watched) for path in paths if path in access]
    found = [row for row in rows if row.excess or row.access.owner != "root" or _writers(row.access)]
    if not found:
        for path in paths:
            if path not in access:
                raise UnknownReading(f"it is not known who may change {path}")
            if isinstance(acl := access[path].acl, Unknown):
                raise UnknownReading(f"{path}: {acl.unknown}")
    return found


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
    yield "/"


def _check(own: bool, whose: str, key: str, survey: Survey, policy: Policy) -> Verdict:
    reading = survey[Files]
    known(reading.access)
    if not reading.of(own):
        return not_applicable(f"{whose} are not on this host")
    if loose := loose_files(reading, own):
        found = list(map(str, loose))
        reason = f"others than root may change {some(found)}; the policy wants root alone to ({key})"
        return failed(reason, declared="root alone", disk=found, live=found)
    what = f"only root may change {whose} and the folders above them"
    return passed(what, declared="root alone", disk=[], live=[])


def _plan(own: bool, context: Context) -> Iterable[Change]:
    loose = loose_files(context.survey[Files], own)
    if mended := [row.access for row in loose if not row.by_hand]:
        what = "take the right to write from others than root: " + ", ".join(access.path for access in mended)
        script = [f"chmod {access.mode & ~OTHERS_WRITE:04o} {quote(access.path)}" for access in mended]
        undo = [f"[ ! -e {quote(row.path)} ] || chmod {row.mode:04o} {quote(row.path)}" for row in mended]
        yield Command("files", what, script="\n".join(["set -e", *script]), undo="\n".join(undo))
    for row in loose:
        if row.by_hand:
            why = f"others may depend on how it is now: find out who, then {row.by_hand}"
            yield Blocked("files", f"take {row} from others than root", why=why)


def plan(context: Context) -> Iterable[Change]:
    for control, own in ((OWN, True), (ENGINES, False)):
        if context.failing(control):
            yield from mending([control], _plan(own, context))


_BY_HAND = "give these files and the folders above them to root, and take the right to write from others"
_UNPROVED = "an attempt would have to write to the host's own files, and the kernel decides by the modes that were read"

CONTROLS = (
    Control(
        id=OWN,
        title="Only root can change hullproof's own files",
        severity=Severity.HIGH,
        why="Whoever can write a file that a control stands on, or put another in its place, decides what it says.",
        check=only_where(undeclared(FilesRules, OWN))(partial(_check, True, "hullproof's own files", OWN)),
        references=("CIS-Docker-3.1",),
        by_hand=_BY_HAND,
        unproved=_UNPROVED,
    ),
    Control(
        id=ENGINES,
        title="Only root can change the engines' programs, units and settings",
        severity=Severity.HIGH,
        why="The engines run as root from these files: whoever can write one of them becomes root.",
        check=only_where(undeclared(FilesRules, ENGINES))(partial(_check, False, "the engines' files", ENGINES)),
        references=("CIS-Docker-3.1", "CIS-Docker-3.3", "CIS-Docker-3.5"),
        by_hand=_BY_HAND,
        unproved=_UNPROVED,
    ),
)

SUBJECT = Subject(name="files", rules=FilesRules, controls=CONTROLS, plan=plan, facts=(Files,))
