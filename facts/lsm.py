"""The Linux Security Modules of the running kernel: the stack, and what Yama and lockdown are set to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.reading import Jsonable, Section, Unknown

STACK = "/sys/kernel/security/lsm"
LOCKDOWN = "/sys/kernel/security/lockdown"
YAMA = "/proc/sys/kernel/yama/ptrace_scope"
MAJOR = ("apparmor", "selinux", "smack")  # those that label processes; a kernel confines containers with one of them


@dataclass(frozen=True)
class LsmReading(Jsonable):
    """`stack` in the order in which the modules are asked. `yama_ptrace_scope` 0 to 3, None: the kernel has no Yama.
    `lockdown` none, integrity or confidentiality, None: the kernel has no lockdown."""

    stack: tuple[str, ...] | Unknown
    yama_ptrace_scope: int | Unknown | None
    lockdown: str | Unknown | None
    landlock: bool | Unknown
    bpf: bool | Unknown

    @property
    def major(self) -> str | Unknown | None:
        """The module that confines containers here: apparmor, selinux, smack, or None."""
        if isinstance(self.stack, Unknown):
            return self.stack
        return next((name for name in self.stack if name in MAJOR), None)


class Lsm(SectionFact[LsmReading]):
    """The live stack of security modules: securityfs and Yama's sysctl (Documentation/admin-guide/LSM)."""

    key: ClassVar[str] = "lsm"
    script: ClassVar[str] = f"""
show {STACK} {LOCKDOWN} {YAMA}
grep -qs ' /sys/kernel/security securityfs ' /proc/mounts && run securityfs true
:
"""

    @staticmethod
    def parse(section: Section) -> LsmReading:
        stack = _stack(section)
        return LsmReading(
            stack=stack,
            yama_ptrace_scope=_yama(section),
            lockdown=_lockdown(section),
            landlock=stack if isinstance(stack, Unknown) else "landlock" in stack,
            bpf=stack if isinstance(stack, Unknown) else "bpf" in stack,
        )


def _securityfs(section: Section, path: str) -> str | Unknown | None:
    """A file of securityfs; where that is not mounted, an absent file says nothing of the kernel."""
    text = section.file(path)
    if text is None and "securityfs" not in section.blocks:
        return Unknown("securityfs is not mounted on /sys/kernel/security")
    return text


def _stack(section: Section) -> tuple[str, ...] | Unknown:
    text = _securityfs(section, STACK)
    if text is None:
        return Unknown(f"{STACK} does not exist: the kernel is older than 4.11")
    if isinstance(text, Unknown):
        return text
    names = tuple(text.strip().split(","))
    if not all(re.fullmatch(r"[a-z0-9_]+", name) for name in names):
        return Unknown(f"{STACK} does not hold a list of modules")
    return names


def _lockdown(section: Section) -> str | Unknown | None:
    text = _securityfs(section, LOCKDOWN)
    if not isinstance(text, str):
        return text
    found = re.search(r"\[(none|integrity|confidentiality)\]", text)
    return found[1] if found else Unknown(f"{LOCKDOWN} does not name a mode")


def _yama(section: Section) -> int | Unknown | None:
    text = section.file(YAMA)
    if not isinstance(text, str):
        return text
    value = text.strip()
    return int(value) if value in ("0", "1", "2", "3") else Unknown(f"{YAMA} does not hold a mode")
