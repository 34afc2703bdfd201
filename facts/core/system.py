"""The host itself: distribution, who we are on it, its clock, its init."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from facts.core import units
from facts.core.fact import SectionFact
from facts.core.reading import OfOneHost, Section, Unknown, known
from facts.core.units import Idle

NAMES = ("ID", "ID_LIKE", "VERSION_ID", "PRETTY_NAME")  # of os-release those that are read
AT_BOOT = ("enabled", "static", "alias", "generated")  # systemctl(1) is-enabled: what a boot starts


@dataclass(frozen=True)
class SystemReading(OfOneHost, own={"clock": 0, "hostname": ""}):
    id: str  # os-release ID: debian, ubuntu, rhel …
    id_like: tuple[str, ...]
    version_id: str
    pretty_name: str
    architecture: str
    hostname: str
    uid: int  # whom the survey ran as; 0 after sudo
    clock: int  # seconds since the epoch, as the host sees it
    systemd: bool
    container: str | None  # systemd-detect-virt --container: None on real or virtual hardware
    idle: Mapping[str, Idle | Unknown] = field(default_factory=dict)  # units that the next boot will not run

    @property
    def family(self) -> str:
        """`debian` or `rhel`, by os-release ID and ID_LIKE; the ID itself where it is neither."""
        names = (self.id, *self.id_like)
        if {"debian", "ubuntu"} & set(names):
            return "debian"
        return "rhel" if {"rhel", "fedora", "centos"} & set(names) else self.id


class System(SectionFact[SystemReading]):
    """Distribution, architecture, identity: os-release(5), uname(1), id(1)."""

    key: ClassVar[str] = "system"
    script: ClassVar[str] = f"""
show /etc/os-release /proc/sys/kernel/hostname
run uid id -u
run machine uname -m
run clock date +%s
have systemd-detect-virt && run container systemd-detect-virt --container
[ -d /run/systemd/system ] || exit 0
run systemd true
{units.SCRIPT}
:
"""

    @staticmethod
    def parse(section: Section) -> SystemReading:
        release = _os_release(known(section.text("/etc/os-release")))
        container = section.blocks.get("container")
        return SystemReading(
            id=release.get("ID", "unknown"),
            id_like=tuple(release.get("ID_LIKE", "").split()),
            version_id=release.get("VERSION_ID", ""),
            pretty_name=release.get("PRETTY_NAME", release.get("ID", "unknown")),
            architecture=known(section.text("machine")).strip(),
            hostname=known(section.text("/proc/sys/kernel/hostname")).strip(),
            uid=int(known(section.text("uid"))),
            clock=int(known(section.text("clock"))),
            systemd="systemd" in section.blocks,
            container=container.text.strip() if container and container.status == 0 else None,
            idle=units.parse(section),
        )


def _os_release(text: str) -> dict[str, str]:
    """os-release(5): shell-like assignments, quoted or not."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): _unquoted(value.strip()) for name, _, value in pairs if name.strip() in NAMES}


def _unquoted(text: str) -> str:
    if text[:1] not in ('"', "'"):
        return text
    if len(text) < 2 or text[0] != text[-1]:
        raise ValueError("No closing quotation")
    return re.sub(r"\\([\"'$`\\])", r"\1", text[1:-1])


def needs_root(system: SystemReading) -> Unknown | None:
    """The reason for everything that only root may read, where the survey did not run as root."""
    if system.uid == 0:
        return None
    return Unknown(f"read as uid {system.uid}, not root: sudo is missing or asks for a password")
