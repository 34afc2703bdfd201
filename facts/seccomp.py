"""Seccomp and capabilities: what the kernel offers, and the profiles on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from facts.capabilities import CAPABILITIES
from facts.core.fact import SectionFact
from facts.core.reading import Jsonable, Section, Unknown, known

OURS = "/etc/docker/hullproof-seccomp.json"
ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"
LOGGED = "/proc/sys/kernel/seccomp/actions_logged"
LAST_CAP = "/proc/sys/kernel/cap_last_cap"
PID_FILE = "/run/docker.pid"
PROFILE_BYTES = 200_000


@dataclass(frozen=True)
class ProfileFile(Jsonable):
    text: str | Unknown | None  # None: the configuration names it, and it does not exist
    changed: int | None  # seconds since the epoch; what was put back has an older time of modification


@dataclass(frozen=True)
class SeccompReading(Jsonable):
    """See seccomp(2), capabilities(7)."""

    actions: tuple[str, ...] | Unknown  # what a filter may answer; () where the kernel has no CONFIG_SECCOMP_FILTER
    actions_logged: tuple[str, ...] | Unknown
    capabilities: tuple[str, ...] | Unknown  # CAP_CHOWN …, those the running kernel knows
    machine: str  # uname -m
    release: str  # uname -r
    profiles: dict[str, ProfileFile]  # path to profile: named by daemon.json or the daemon's options, and our own
    daemon_started: int | None  # seconds since the epoch; None where no daemon runs


class Seccomp(SectionFact[SeccompReading]):
    """The kernel's seccomp and capabilities, and the profiles on disk."""

    key: ClassVar[str] = "seccomp"
    script: ClassVar[str] = (
        f"ACTIONS={ACTIONS} LOGGED={LOGGED} LAST_CAP={LAST_CAP} PID_FILE={PID_FILE} OURS={OURS}\n"
        f"PROFILE_BYTES={PROFILE_BYTES}\n" + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
    )

    @staticmethod
    def parse(section: Section) -> SeccompReading:
        release, _, machine = known(section.text("uname")).strip().partition(" ")
        times = _times(section)
        texts = {path: section.file(f"profile {path}") for path in section.matching("profile ")}
        return SeccompReading(
            actions=_actions(section, ACTIONS),
            actions_logged=_actions(section, LOGGED),
            capabilities=_capabilities(section),
            machine=machine,
            release=release,
            profiles={path: ProfileFile(text, times.get(path, (0, None))[1]) for path, text in texts.items()},
            daemon_started=times.get(PID_FILE, (None, 0))[0],
        )


def _actions(section: Section, path: str) -> tuple[str, ...] | Unknown:
    text = section.file(path)
    if not isinstance(text, str):
        return () if text is None else text
    listed = re.fullmatch(r"[a-z_\s]*\S[a-z_\s]*", text)
    return tuple(text.split()) if listed else Unknown(f"{path} does not list actions")


def _capabilities(section: Section) -> tuple[str, ...] | Unknown:
    text = section.text(LAST_CAP)
    if isinstance(text, Unknown):
        return text
    if not re.fullmatch(r"\d{1,2}\s*", text):
        return Unknown(f"{LAST_CAP} does not hold a number")
    last = int(text)
    return tuple(f"CAP_{CAPABILITIES[n] if n < len(CAPABILITIES) else n}" for n in range(last + 1))


def _times(section: Section) -> dict[str, tuple[int, int]]:
    """When each was modified, and when anything of it was changed. stat(1) complains of what is not there."""
    block = section.blocks.get("modified")
    rows = re.findall(r"^(\d+) (\d+) (/.*)$", block.text, re.MULTILINE) if block else []
    return {path: (int(modified), int(changed)) for modified, changed, path in rows}
