"""What AppArmor, SELinux and seccomp refused (or would have), as distinct tuples with how often and which process.

Every record has `audit(SECONDS:SERIAL)`, whoever kept it: auditd in its log, else the kernel in its own, which journald
keeps. One that is in both counts once.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from facts.reading import Block, Jsonable, Section, SectionFact, Unknown, UnknownReading

LOGS = "/var/log/audit"
LINES = 3000  # per source: the newest are kept
TUPLES = 300
PATTERN = r'apparmor="(DENIED|ALLOWED|AUDIT)"|avc: +denied|type=(1326|SECCOMP) '

Module = Literal["apparmor", "selinux", "seccomp"]
Mode = Literal["refused", "allowed", "noted"]


@dataclass(frozen=True)
class Denial(Jsonable):
    """`mode`: refused; allowed, since the profile or domain only complains; noted, since a rule wants a record.

    AppArmor: `subject` a profile, `action` an operation, `target` what it was on, `kind` the access or capability.
    SELinux: the source type, the permission, the target type, the class. seccomp: the program, its system call.
    """

    module: Module
    mode: Mode
    subject: str
    action: str
    target: str
    kind: str
    processes: tuple[str, ...]
    times: tuple[int, ...]  # when, in seconds since the epoch, the first first

    @property
    def count(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class DenialsReading(Jsonable):
    booted: int  # when this boot began, in seconds since the epoch
    sources: tuple[str, ...]  # of "auditd's log", "the kernel's log" those that could be read
    cut: bool  # a source has more than the newest LINES, which were read
    found: tuple[Denial, ...]  # the most frequent first

    def since(self, when: int) -> tuple[Denial, ...]:
        """The denials from a moment on, counted from there."""
        later = (replace(row, times=tuple(time for time in row.times if time >= when)) for row in self.found)
        return tuple(row for row in later if row.times)

    @property
    def this_boot(self) -> tuple[Denial, ...]:
        return self.since(self.booted)


class Denials(SectionFact[DenialsReading]):
    """Recent denials: auditd's log, and the kernel's of this boot."""

    key: ClassVar[str] = "denials"
    script: ClassVar[str] = f"""
run booted grep btime /proc/stat
records() {{ grep -ahE '{PATTERN}' "$@" | tail -n {LINES}; :; }}
kernel() {{ {{ journalctl -q -k -b -o cat --no-pager 2>/dev/null || dmesg; }} | records; }}
logs() {{ [ -r {LOGS}/audit.log ] || {{ echo "{LOGS}/audit.log: Permission denied"; return 1; }}
  old=; [ -r {LOGS}/audit.log.1 ] && old={LOGS}/audit.log.1; records $old {LOGS}/audit.log; }}
[ -d {LOGS} ] && run log logs
if [ "$(id -u)" = 0 ]; then run kernel kernel; fi
:
"""

    @staticmethod
    def parse(section: Section) -> DenialsReading:
        names = {"log": "auditd's log", "kernel": "the kernel's log"}
        read = {name: block for name in names if (block := section.blocks.get(name)) and block.status == 0}
        booted = section.text("booted")
        match = None if isinstance(booted, Unknown) else re.search(r"btime (\d+)", booted)
        if match is None or not read:
            raise UnknownReading("neither auditd's log nor the kernel's could be read; root may")
        return DenialsReading(
            booted=int(match[1]),
            sources=tuple(names[name] for name in read),
            cut=any(len(block.text.splitlines()) >= LINES for block in read.values()),
            found=tuple(gather(_lines(read.values())))[:TUPLES],
        )


@dataclass(frozen=True)
class Event:
    time: int
    module: Module
    mode: Mode
    what: tuple[str, str, str, str]  # subject, action, target, kind
    process: str


def _lines(blocks: Iterable[Block]) -> Iterator[str]:
    return (line for block in blocks for line in block.text.splitlines())


def gather(lines: Iterable[str]) -> list[Denial]:
    """Distinct denials, the most frequent first. A record's id is its time and serial number."""
    groups: dict[tuple[Module, Mode, tuple[str, str, str, str]], list[Event]] = {}
    seen: set[tuple[str, tuple[str, str, str, str]]] = set()
    for line in lines:
        stamp = re.search(r"audit\((\d+)\.\d+:\d+\)", line)
        for event in events(line, int(stamp[1])) if stamp else ():
            if stamp and (stamp[0], event.what) not in seen:
                seen.add((stamp[0], event.what))
                groups.setdefault((event.module, event.mode, event.what), []).append(event)
    rows = [_denial(*key, group) for key, group in groups.items()]
    return sorted(rows, key=lambda row: (-row.count, row.module, row.subject, row.action, row.target, row.kind))


def _denial(module: Module, mode: Mode, what: tuple[str, str, str, str], group: list[Event]) -> Denial:
    times = tuple(sorted(event.time for event in group))
    processes = sorted({event.process for event in group if event.process})
    return Denial(module, mode, *what, tuple(processes[:8]), times)


def events(line: str, time: int) -> Iterator[Event]:
    """What one record says; SELinux names several permissions in one."""
    fields = _fields(line)
    process = fields.get("comm", "")
    if "apparmor" in fields:
        modes: dict[str, Mode] = {"DENIED": "refused", "ALLOWED": "allowed", "AUDIT": "noted"}
        if mode := modes.get(fields["apparmor"]):
            yield Event(time, "apparmor", mode, _apparmor(fields), process)
    elif "scontext" in fields and "tcontext" in fields:
        permissive = fields.get("permissive") == "1"
        process = process or fields.get("exe", "").rpartition("/")[2]
        match = re.search(r"denied +\{ ([^}]*)\}", line)
        for permission in match[1].split() if match else ():
            what = (_type(fields["scontext"]), permission, _type(fields["tcontext"]), fields.get("tclass", ""))
            yield Event(time, "selinux", "allowed" if permissive else "refused", what, process)
    elif "syscall" in fields and re.search(r"type=(1326|SECCOMP)", line):
        signal = fields.get("sig", "0")
        what = (fields.get("exe", "?"), f"system call {fields['syscall']}", f"arch {fields.get('arch', '?')}",
                f"signal {signal}")  # fmt: skip
        # 0x7ffc0000 is SECCOMP_RET_LOG: let through, and logged
        yield Event(time, "seccomp", "noted" if fields.get("code") == "0x7ffc0000" else "refused", what, process)


def _fields(line: str) -> dict[str, str]:
    """`name="text"`, `name=word`, and names that hold blanks in hexadecimal. What auditd adds after the separator
    0x1d are translations of numbers."""
    found: dict[str, str] = {}
    for name, quoted, plain in re.findall(r"(\w+)=(?:\"([^\"]*)\"|([^\s\"']+))", line.partition("\x1d")[0]):
        if plain and name in ("name", "comm", "exe", "profile", "peer") and re.fullmatch(r"([0-9A-F]{2}){2,}", plain):
            plain = binascii.unhexlify(plain).decode("utf-8", "replace")
        found.setdefault(name, quoted or plain)
    return found


def _apparmor(fields: dict[str, str]) -> tuple[str, str, str, str]:
    """The profile, the operation, what it was on, and the access that was not granted."""
    operation = fields.get("operation", "?")
    if operation == "capable":
        return fields.get("profile", "?"), operation, "", fields.get("capname", fields.get("capability", "?"))
    target = fields.get("name") or fields.get("peer") or fields.get("family", "")
    if "sock_type" in fields:
        target = f"{fields.get('family', '')} {fields['sock_type']}".strip()
    kind = fields.get("denied_mask") or fields.get("requested_mask") or fields.get("signal", "")
    return fields.get("profile", "?"), operation, re.sub(r"^/proc/\d+/", "/proc/PID/", target), kind


def _type(context: str) -> str:
    """user:role:TYPE:level"""
    parts = context.split(":")
    return parts[2] if len(parts) > 2 else context
