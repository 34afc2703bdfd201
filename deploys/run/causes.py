"""The cause of drift: what is known to have changed of the files and packages that a control stands on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatch

from deploys.core.control import Control, Verdict, some
from facts.core.numbers import utc
from facts.core.record import JournalEntry, RecordReading, Watched
from facts.core.trail import Touch

NOT_KNOWN = "cause not known"


def cause(control: Control, verdict: Verdict, moved: Collection[str], record: RecordReading) -> str:
    """What the host knows of the cause. Where the control reads a setting on disk, and that has not moved, no file has
    moved it."""
    packages = [_say_package(line) for line in record.packages if _concerns(line, control, record)][-2:]
    if verdict.disk is not None and "disk" not in moved:
        still = "nothing on disk has changed for it, and what changed the running system is not recorded"
        return "; ".join(packages) or f"{NOT_KNOWN}: {still}"
    own = [file for file in record.watched if file.path in _files(control, record)]
    if changed := [_say(file) for file in own if file.digest != file.written]:
        return "; ".join(changed)
    if packages:
        return "; ".join(packages)
    if own:
        left = "is as hullproof left it" if len(own) == 1 else "are as hullproof left them"
        return f"{NOT_KNOWN}: {some(file.path for file in own)} {left}"
    return f"{NOT_KNOWN}: no file that hullproof wrote sets it"


def _entries(control: Control, record: RecordReading) -> Iterator[JournalEntry]:
    """What hullproof has changed for the control."""
    for journal in record.journals:
        yield from (entry for entry in journal.left if control.id in entry.controls)


def _files(control: Control, record: RecordReading) -> set[str]:
    return {*control.files, *(entry.path for entry in _entries(control, record) if entry.path)}


def _concerns(line: str, control: Control, record: RecordReading) -> bool:
    """Whether a line such as `2026-11-22 20:29:43 install iptables:amd64 <none> 1.8.11-2` names one of its packages."""
    name = line.split(" ")[3].partition(":")[0] if line.count(" ") > 2 else ""
    ours = {package for entry in _entries(control, record) for package in entry.packages}
    return name in ours or any(fnmatch(name, pattern) for pattern in control.packages)


def _say_package(line: str) -> str:
    return f"package {line[20:]} at {line[:19]} (the host's time)"


def _say(file: Watched) -> str:
    by = f"; auditd recorded {_say_touch(file.touched)}" if file.touched else ""
    if file.digest == "absent":
        return f"{file.path} is gone{by}"
    when = utc(file.modified)
    return f"{file.path} was changed {when:%Y-%m-%d %H:%M} UTC (owner {file.owner}), not by hullproof{by}"


def _say_touch(touch: Touch) -> str:
    who = f"{touch.login} (as {touch.user})" if touch.login not in ("", touch.user) else touch.user
    session = "" if touch.login else ", outside any login session,"
    return f"{who}{session} with {touch.program} at {utc(touch.time):%H:%M:%S} UTC"
