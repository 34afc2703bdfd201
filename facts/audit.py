"""The audit system: whether auditd runs, which rules the kernel has loaded, and which rules the next boot loads."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.reading import Jsonable, Section, Unknown

FOLDER = "/etc/audit/rules.d"
COMPILED = "/etc/audit/audit.rules"
TMPFILES = "/etc/tmpfiles.d/hullproof-audit.conf"
GENERATED = "automatically generated from"  # augenrules(8) heads the file that it compiles with this
# The engines' files, folders and sockets, wherever distributions have them.
CANDIDATES = (
    "/usr/bin/dockerd", "/usr/sbin/dockerd", "/run/containerd", "/var/lib/docker", "/etc/docker",
    "/usr/lib/systemd/system/docker.service", "/lib/systemd/system/docker.service",
    "/etc/systemd/system/docker.service", "/run/containerd/containerd.sock",
    "/usr/lib/systemd/system/docker.socket", "/lib/systemd/system/docker.socket",
    "/etc/systemd/system/docker.socket", "/etc/default", "/etc/default/docker", "/etc/docker/daemon.json",
    "/etc/containerd", "/etc/containerd/config.toml", "/etc/sysconfig/docker", "/usr/bin/containerd",
    "/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v1", "/usr/bin/containerd-shim-runc-v2",
    "/usr/bin/runc", "/usr/sbin/runc", "/run/docker.sock",
)  # fmt: skip


@dataclass(frozen=True)
class Watch(Jsonable):
    """A rule about one path, however it was written. `narrowed`: the fields that limit which accesses it records."""

    path: str
    permissions: str  # of r, w, x, a, in that order
    key: str
    narrowed: tuple[str, ...]
    muted: str = ""  # a rule before it that keeps all of this from being recorded: "-a never,exit -S all"


@dataclass(frozen=True)
class AuditReading(Jsonable):
    """See auditctl(8), augenrules(8)."""

    auditctl: str | Unknown | None  # its path; None: not installed
    at_boot: str | Unknown | None  # auditd.service: enabled, disabled, masked …; None: no such unit
    active: str | Unknown | None  # active, inactive, failed …
    enabled: int | Unknown | None  # in the kernel: 0, 1, 2 immutable until a reboot; None: a kernel without auditing
    lost: int | Unknown | None  # records that the kernel dropped
    live: tuple[Watch, ...] | Unknown
    files: dict[str, str | Unknown]  # those that augenrules compiles, in its order, and our tmpfiles.d file
    immutable_on_disk: bool | Unknown  # some file of them has -e 2
    off_on_disk: bool | Unknown  # and -e 0, with which the next boot switches auditing off
    compiled: str | Unknown | None  # /etc/audit/audit.rules; None: no such file
    there: tuple[str, ...]  # those of CANDIDATES that exist

    @property
    def disk(self) -> tuple[Watch, ...] | Unknown:
        """The watches that the next boot loads."""
        return self.remember("disk", self._disk)

    def _disk(self) -> tuple[Watch, ...] | Unknown:
        texts = [text for path, text in self.files.items() if path.startswith(f"{FOLDER}/")]
        unread = next((text for text in texts if isinstance(text, Unknown)), None)
        lines = (line for text in texts if isinstance(text, str) for line in text.splitlines())
        return unread or tuple(watches(lines))

    @property
    def handmade(self) -> bool:
        """Whether /etc/audit/audit.rules was written by hand, so that augenrules would overwrite it."""
        if not isinstance(self.compiled, str) or GENERATED in self.compiled:
            return False
        return any(_rule(line) for line in self.compiled.splitlines())


class Audit(SectionFact[AuditReading]):
    """auditd, its rules on disk and in the kernel."""

    key: ClassVar[str] = "audit"
    script: ClassVar[str] = (
        f"FOLDER={FOLDER} COMPILED={COMPILED} TMPFILES={TMPFILES} CANDIDATES='{' '.join(CANDIDATES)}'\n"
        + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
    )

    @staticmethod
    def parse(section: Section) -> AuditReading:
        status = _status(section)
        files = {path: section.text(path) for path in section.blocks if path.startswith((f"{FOLDER}/", TMPFILES))}
        folder, there = section.blocks.get("folder"), section.blocks.get("there")
        if folder and folder.status != 0:
            files[f"{FOLDER}/*"] = Unknown(folder.complaint)
        live = _live(section)
        return AuditReading(
            auditctl=section.program("auditctl", "auditctl"),
            at_boot=_unit(section, "UnitFileState"),
            active=_unit(section, "ActiveState"),
            enabled=_number(status, "enabled"),
            lost=_number(status, "lost"),
            live=live if isinstance(live, Unknown) else tuple(watches(live)),
            files=files,
            immutable_on_disk=_last_enabled(files, "2"),
            off_on_disk=_last_enabled(files, "0"),
            compiled=section.file(COMPILED) if COMPILED in section.blocks else None,
            there=tuple(there.text.split()) if there else (),
        )


def _unit(section: Section, name: str) -> str | Unknown | None:
    """One property of auditd.service; systemctl(1) show says `not-found` of a unit that is not there."""
    block = section.block("service")
    if isinstance(block, Unknown):
        return Unknown("it is not known whether auditd runs and is enabled: the host does not run systemd")
    found = dict(line.split("=", 1) for line in block.text.splitlines() if "=" in line)
    if found.get("LoadState") == "not-found":
        return None
    value = found.get(name, "")
    if found.get("LoadState") == "masked" and name == "UnitFileState":
        value = "masked"
    return value or Unknown(f"auditd.service: {block.complaint}")


def _status(section: Section) -> dict[str, int] | Unknown | None:
    block = section.blocks.get("status")
    if block is None:
        return Unknown("auditctl is not installed")
    if "not in kernel" in block.text or "Protocol not supported" in block.text:
        return None
    pairs = re.findall(r"^(\w+) (\d+)", block.text, re.MULTILINE)
    return {name: int(value) for name, value in pairs} or Unknown(f"auditctl -s: {block.complaint}")


def _number(status: dict[str, int] | Unknown | None, name: str) -> int | Unknown | None:
    if not isinstance(status, dict):
        return status
    return status.get(name, Unknown(f"auditctl -s does not show {name}"))


def _live(section: Section) -> list[str] | Unknown:
    text = section.text("rules") if "rules" in section.blocks else Unknown("auditctl is not installed")
    if isinstance(text, Unknown):
        return text
    lines = [line for line in text.splitlines() if line.strip()]
    strange = [line for line in lines if line != "No rules" and not _rule(line)]
    if strange:
        return Unknown(f"auditctl -l: {strange[0][:200]}")
    return [line for line in lines if _rule(line)]


def _rule(line: str) -> bool:
    return line.lstrip().startswith(("-a ", "-A ", "-w "))


def watches(lines: Iterable[str]) -> Iterator[Watch]:
    """The rules about one path: `-w PATH -p wa -k KEY`, or `-a always,exit -F path=PATH -F perm=wa …` (dir= too). Of
    two rules for one event the earlier counts, and one for tasks before all of them."""
    rules = [words for line in lines if _rule(line) and (words := _words(line))]
    first = next((" ".join(words) for words in rules if _mutes(words, ("-A",)) or _of_tasks(words)), "")
    for words in rules:
        first = first or (" ".join(words) if _mutes(words, ("-a",)) else "")
        if found := _watch(words):
            yield replace(found, muted=first)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line) if re.search(r"[\"'\\#]", line) else line.split()
    except ValueError:
        return []


def _of_tasks(words: list[str]) -> bool:
    return words[:1] in (["-a"], ["-A"]) and words[1:] in (["never,task"], ["task,never"])


def _mutes(words: list[str], options: tuple[str, ...]) -> bool:
    """Whether a rule has nothing recorded of system calls, whatever they are for."""
    never = words[0] in options and words[1:2] in (["never,exit"], ["exit,never"])
    fields = [value for option, value in zip(words[::2], words[1::2], strict=False) if option in ("-F", "-C")]
    return never and all(field.startswith(("arch=", "key=")) for field in fields)


def _watch(words: list[str]) -> Watch | None:
    given = list(zip(words[::2], words[1::2], strict=False))
    path = key = ""
    permissions = "rwxa"
    narrowed: list[str] = []
    for option, value in given:
        name, equals, rest = value.partition("=")
        if option == "-w" or (option == "-F" and name in ("path", "dir")):
            path = value if option == "-w" else rest
        elif option == "-p" or (option == "-F" and name == "perm"):
            permissions = value if option == "-p" else rest
        elif option == "-k" or (option == "-F" and name == "key"):
            key = value if option == "-k" else rest
        elif option == "-F" and equals:
            narrowed.append(re.sub(r"=(unset|4294967295)$", "=-1", value))
        elif (option, value) != ("-S", "all") and value not in ("always,exit", "exit,always"):
            narrowed.append(f"{option} {value}")
    ordered = "".join(letter for letter in "rwxa" if letter in permissions)
    return Watch(path.rstrip("/"), ordered, key, tuple(narrowed)) if path else None


def _last_enabled(files: dict[str, str | Unknown], value: str) -> bool | Unknown:
    """Whether the last -e of all files has this value: that is the one which augenrules leaves."""
    last = ""
    for path, text in files.items():
        if isinstance(text, Unknown):
            return text
        if path != TMPFILES:
            last = (re.findall(r"^[ \t]*-e[ \t]*(\d)", text, re.MULTILINE) or [last])[-1]
    return last == value
