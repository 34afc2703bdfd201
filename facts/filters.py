"""The seccomp filters of root's containers whose engines keep none in OCI's form, in that form: LXC's, by the files
that a container names, and systemd-nspawn's own, which its command line may change. A file counts that is older than
what has started the container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from facts import lxc_files, monitors
from facts.core.numbers import starts
from facts.core.reading import Block, Section, Unknown, UnknownReading
from facts.lxc_files import PROFILE
from facts.monitors import Monitor

Filter = dict[str, Any] | Unknown | None  # OCI linux.seccomp, as its bundle has it; None: the bundle has none
NO_BUNDLES = Unknown("its seccomp filter was not read: its engine keeps no OCI bundle that has it")
NO_FILES = Unknown("its seccomp filter was not read: its engine keeps its files in another place than others")
LXC_HOME = "/var/lib/lxc"
ELSEWHERE = re.compile(r"-[Pfs]|--(lxcp|rcf|def)")  # options of lxc-start(1): other files, or lines of their own
NSPAWN_FOLDERS = ("/etc/systemd/nspawn", "/run/systemd/nspawn")
ADDING = re.compile(r"--sy[a-z-]*(?:=(?P<value>.*))?", re.DOTALL)  # --system-call-filter, however it is abbreviated
LONGEST = 100_000  # bytes that are read of a profile
LINES = 100_000  # that are read of all of LXC's containers, with what each includes


class Filters:
    """What the section says of them."""

    def __init__(self, section: Section) -> None:
        self._section = section
        self._left = iter(range(LINES))  # lines of LXC's files that are read yet, for all containers together

    def of(self, pid: int, monitor: Monitor) -> Filter:
        """The filter of what this process has started."""
        words = self._words.get(pid, [])
        try:
            if monitor.engine == "lxc" and not monitor.user:
                return self._lxc(pid, monitor.name, words)
            if monitor.engine == "nspawn" and not monitor.user:
                return self._nspawn(pid, monitor.name, words)
        except UnknownReading as error:
            return Unknown(f"its seccomp filter was not read: {error}")
        return NO_FILES if monitor.id else NO_BUNDLES

    @cached_property
    def _words(self) -> dict[int, list[str]]:
        return monitors.read_words(self._section)

    @cached_property
    def _starts(self) -> dict[int, int]:
        return starts(self._text("filters.since"))

    @cached_property
    def _times(self) -> dict[str, int]:
        """When files and folders were changed last, in seconds since the epoch."""
        rows = re.finditer(r"^([0-9]{1,12}) (/.*)$", self._text("filters.times"), re.MULTILINE)
        return {row[2].rstrip("/"): int(row[1]) for row in rows}

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self._times:
            found.setdefault(path.rpartition("/")[0], []).append(path)
        return found

    @cached_property
    def _adding(self) -> frozenset[str]:
        """The files of systemd-nspawn's that add to a filter."""
        return frozenset(line.partition(":")[0] for line in self._text("nspawn.adding").split("\n"))

    @cached_property
    def _texts(self) -> lxc_files.Texts:
        return lxc_files.read_texts(Block(0, self._text("lxc.lines")))

    @cached_property
    def _profiles(self) -> dict[str, Filter]:
        """One serves many containers, and is one object for all of them."""
        names = [name for name in self._section.blocks if name.startswith("lxc.profile ")]
        return {name.removeprefix("lxc.profile "): _as_oci(self._section.blocks[name]) for name in names}

    def _text(self, block: str) -> str:
        return self._section.blocks.get(block, Block(0, "")).text

    def _unchanged(self, pid: int, *paths: str) -> None:
        """UnknownReading where one of them may be another than it was when this process started."""
        if pid not in self._starts:
            raise UnknownReading("it is not known when the container was started")
        for path in paths:
            if path not in self._times:
                raise UnknownReading(f"{path} is not there")
            if self._times[path] > self._starts[pid]:
                raise UnknownReading(f"{path} was changed after the container was started")

    def _lxc(self, pid: int, name: str, words: list[str]) -> Filter:
        title = words[0].startswith("[lxc monitor] ")
        other = not words[0].startswith(f"[lxc monitor] {LXC_HOME} ") if title else any(map(ELSEWHERE.match, words[1:]))
        if other or not name or "/" in name:
            raise UnknownReading(f"its files are not below {LXC_HOME}")
        config = f"{LXC_HOME}/{name}/config"
        lines = list(lxc_files.expanded(self._texts, config, self._left))
        included = {line.value.rstrip("/"): None for line in lines if line.key == "lxc.include"}
        inside = [path for folder in included for path in self._folders.get(folder, ())]
        profile = next((line.value for line in reversed(lines) if line.key == PROFILE), "")
        self._unchanged(pid, config, *included, *inside, *[profile] * bool(profile))
        return self._profiles.get(profile, NO_BUNDLES) if profile else None

    def _nspawn(self, pid: int, name: str, words: list[str]) -> Filter:
        if len(words) >= monitors.MOST or any(len(word) >= monitors.LONGEST for word in words):
            raise UnknownReading("the command line that started it is too long")
        if not name or any("trusted" in word for word in words):  # --settings=trusted
            raise UnknownReading("it is not known which of its files count")
        files = [path for folder in NSPAWN_FOLDERS for path in (folder, f"{folder}/{name}.nspawn")]
        self._unchanged(pid, *(path for path in files if path in self._times))
        if self._adding.intersection(files):
            raise UnknownReading(f"{name}.nspawn adds system calls to it")
        added = list(_added(words))
        if groups := [call for call in added if call.startswith("@")]:
            raise UnknownReading(f"its command line adds {groups[0][:40]}")
        # Of what is built in (nspawn-seccomp.c), no call is asked for that no filter is to allow.
        return _oci("ERRNO", added, "ALLOW")


def _added(words: list[str]) -> Iterator[str]:
    """What the command line of systemd-nspawn adds to the calls that are allowed."""
    for option, after in zip(words, [*words[1:], ""], strict=True):
        if found := ADDING.fullmatch(option):
            value = after if found["value"] is None else found["value"]
            yield from () if value.startswith("~") else value.split()


def _as_oci(block: Block) -> Filter:
    if block.status or len(block.text) >= LONGEST:
        return Unknown("its seccomp profile could not be read whole")
    try:
        if lxc_files.rows_of(block.text)[0]:
            return _oci("ERRNO", sorted(lxc_files.allowed(block.text)), "ALLOW")
        refused = lxc_files.refused(block.text)
        return _oci("ALLOW", sorted(call for call, partly in refused.items() if not partly), "ERRNO")
    except UnknownReading as error:
        return Unknown(str(error))


def _oci(otherwise: str, calls: list[str], action: str) -> dict[str, Any]:
    rule = {"names": calls, "action": f"SCMP_ACT_{action}"}
    return {"defaultAction": f"SCMP_ACT_{otherwise}", "syscalls": [rule]}
