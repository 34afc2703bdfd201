"""What AppArmor, SELinux and seccomp denied (or would have), as distinct tuples with their times and processes.

Every record has `audit(SECONDS:SERIAL)`, in auditd's log as in the kernel's, which journald keeps. A record in both
counts once.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from facts.core.fact import SectionFact
from facts.core.reading import Jsonable, Section, Unknown, UnknownReading

LOGS = "/var/log/audit"
FILES = 8  # of auditd's log: the newest are read
LINES = 3000  # per source: the newest are kept
SAME = 50  # of records that differ in nothing but time and process: the newest are kept
LOST = "audit_lost=[1-9]|kauditd_printk_skb: [0-9]+ callbacks suppressed"  # the kernel reports that it dropped records

Module = Literal["apparmor", "selinux", "seccomp"]
Mode = Literal["refused", "allowed", "noted"]


@dataclass(frozen=True)
class Denial(Jsonable):
    """`mode`: refused; allowed, since the profile or domain is in complain or permissive mode; noted, by a rule that
    only records.

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
class Gap(Jsonable):
    until: int  # seconds since the epoch: earlier records may be missing
    why: str


@dataclass(frozen=True)
class DenialsReading(Jsonable):
    booted: int  # when this boot began, in seconds since the epoch
    sources: tuple[str, ...]  # of "auditd's log", "the kernel's log" those that could be read
    gaps: tuple[Gap, ...]  # the last first
    found: tuple[Denial, ...]  # the most frequent first; of what recurs the newest SAME are counted

    def gap(self, since: int) -> Gap | None:
        """The last reason why not all that was recorded since that moment is known."""
        return next((gap for gap in self.gaps if gap.until > since), None)

    def since(self, when: int) -> tuple[Denial, ...]:
        """The denials from a moment on, counted from there."""
        later = (replace(row, times=tuple(time for time in row.times if time >= when)) for row in self.found)
        return tuple(row for row in later if row.times)

    @property
    def this_boot(self) -> tuple[Denial, ...]:
        return self.since(self.booted)


class Denials(SectionFact[DenialsReading]):
    """Recent denials, from auditd's log and from the kernel's of this boot. Each starts with the log's first lines,
    which tell when it begins; the records follow, the last first."""

    key: ClassVar[str] = "denials"
    script: ClassVar[str] = f"LOGS={LOGS} FILES={FILES} LINES={LINES} SAME={SAME} LOST='{LOST}'\n" + Path(
        __file__
    ).with_suffix(".sh").read_text(encoding="utf-8")

    @staticmethod
    def parse(section: Section) -> DenialsReading:
        names = {"log": "auditd's log", "kernel": "the kernel's log"}
        _recorded(section)
        blocks = {name: block for name in names if (block := section.blocks.get(name)) and block.status == 0}
        # split at "\n" alone: auditd separates fields with 0x1d, which splitlines() takes for the end of a line
        lines = {name: [line for line in block.text.split("\n") if line] for name, block in blocks.items()}
        read = {name: found for name, found in lines.items() if any(map(str.strip, found))}
        booted = section.text("booted")
        match = None if isinstance(booted, Unknown) else re.search(r"btime (\d+)", booted)
        if match is None or not read:
            raise UnknownReading("neither auditd's log nor the kernel's could be read, which root may")
        boot = int(match[1])
        return DenialsReading(
            booted=boot,
            sources=tuple(names[name] for name in read),
            gaps=tuple(sorted(_gaps(read, boot), key=lambda gap: -gap.until)),
            found=tuple(gather(line for found in read.values() for line in found)),
        )


def _recorded(section: Section) -> None:
    """UnknownReading where denials are not recorded, or not where we read. auditctl(8), auditd.conf(5)."""
    auditing, auditd = (block.text if (block := section.blocks.get(name)) else "" for name in ("auditing", "auditd"))
    if "audit=0" in auditing:
        raise UnknownReading("the kernel was booted with audit=0, and records no denial")
    rules = (line for line in auditing.splitlines() if line.startswith("-a ") and "exclude" in line.split(" ")[1])
    if rule := next((line for line in rules if re.search(r"\b(AVC|1400|SECCOMP|1326)\b", line)), None):
        raise UnknownReading(f"an audit rule keeps denials from being recorded: auditctl {rule[:200]}")
    if not re.search(r"^pid [1-9]", auditing, re.MULTILINE):
        return
    said = dict(re.findall(r"^ *(log_file|log_format|write_logs) *= *(\S+)", auditd.lower(), re.MULTILINE))
    elsewhere = said.get("log_file", f"{LOGS}/audit.log") != f"{LOGS}/audit.log"
    if elsewhere or said.get("log_format") == "nolog" or said.get("write_logs") == "no":
        raise UnknownReading(f"auditd does not write to {LOGS}/audit.log, where hullproof reads denials")
    log = section.blocks.get("log")
    if log is None or log.status != 0:
        raise UnknownReading(f"the kernel sends its records to an audit daemon, and {LOGS}/audit.log cannot be read")


def _gaps(read: dict[str, list[str]], booted: int) -> Iterator[Gap]:
    log, kernel = read.get("log"), read.get("kernel")
    kernels = _kernels(kernel, booted) if kernel else None
    started = _begun(log[0], booted, "auditd's log") if log else None
    if log and started and not (kernels and "type=DAEMON_START" in log[0] and kernels.until <= started):
        yield Gap(started, "auditd's log begins only then")
    elif kernels:
        yield kernels  # it has what auditd missed before it was installed
    for name, lines in read.items():
        times = [when for line in lines if re.search(LOST, line) and (when := _time(line, booted))]
        if times:
            yield Gap(max(times) + 1, "the kernel dropped records, since too many came at once")
        oldest = next((when for line in reversed(lines) if (when := _time(line, booted))), None)
        if len(lines) >= LINES and oldest:
            yield Gap(oldest, f"{name} has more kinds of records than hullproof reads")


def _kernels(lines: list[str], booted: int) -> Gap:
    if any("Linux version" in line for line in lines[:3]):
        return Gap(booted, "the kernel's log covers this boot only, and auditd kept no log of earlier ones")
    return Gap(_begun(lines[0], booted, "the kernel's log"), "earlier records are no longer in the kernel's log")


def _begun(line: str, booted: int, what: str) -> int:
    """When a log begins, by its first line."""
    if (when := _time(line, booted)) is None:
        raise UnknownReading(f"it is not known when {what} begins, so records may be missing: {line[:60]!r}")
    return when


def _time(line: str, booted: int) -> int | None:
    """When a line was written: by its record, journalctl's -o short-unix, or dmesg(1), which counts from the boot."""
    if match := re.search(r"audit\((\d+)\.\d+:\d+\)|^(\d{9,})\.\d+ ", line):
        return int(match[1] or match[2])
    match = re.match(r"\[ *(\d+)\.\d+\] ", line)
    return booted + int(match[1]) if match else None


@dataclass(frozen=True)
class Event:
    time: int
    module: Module
    mode: Mode
    what: tuple[str, str, str, str]  # subject, action, target, kind
    process: str


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
    """The denials in one record; SELinux names several permissions in one."""
    fields = _fields(line)
    process = fields.get("comm", "")
    if "apparmor" in fields:
        modes: dict[str, Mode] = {"DENIED": "refused", "KILLED": "refused", "ALLOWED": "allowed", "AUDIT": "noted"}
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
        action, target = f"system call {fields['syscall']}", f"arch {fields.get('arch', '?')}"
        what = (fields.get("exe", "?"), action, target, f"signal {signal}")
        # 0x7ffc0000 is SECCOMP_RET_LOG: allowed, and logged
        yield Event(time, "seccomp", "noted" if fields.get("code") == "0x7ffc0000" else "refused", what, process)


def _fields(line: str) -> dict[str, str]:
    """`name="text"`, `name=word`, and names that hold blanks in hexadecimal. What auditd adds after the separator
    0x1d are translations of numbers."""
    found: dict[str, str] = {}
    for name, quoted, plain in re.findall(r"\b(\w++)=(?:\"([^\"]*)\"|([^\s\"']+))", line.partition("\x1d")[0]):
        if plain and name in ("name", "comm", "exe", "profile", "peer") and re.fullmatch(r"([0-9A-F]{2}){2,}", plain):
            plain = binascii.unhexlify(plain).decode("utf-8", "replace")
        found.setdefault(name, quoted or plain)
    return found


def _apparmor(fields: dict[str, str]) -> tuple[str, str, str, str]:
    """The profile, the operation, its target, and the access that was denied."""
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
