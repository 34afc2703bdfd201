"""The namespaces that the kernel offers, and how many of each it allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from facts.core.fact import SectionFact
from facts.core.lines import Lines
from facts.core.reading import Jsonable, Section, Unknown, known

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


@dataclass(frozen=True)
class NamespacesReading(Jsonable):
    offered: tuple[str, ...]  # of KINDS: /proc/self/ns, namespaces(7)
    limits: dict[str, int | Unknown]  # kind -> the most that one user may have: /proc/sys/user/max_KIND_namespaces


class Namespaces(SectionFact[NamespacesReading]):
    """Namespace kinds and their limits: namespaces(7)."""

    key: ClassVar[str] = "namespaces"
    script: ClassVar[str] = """
run offered ls /proc/self/ns
run limits grep -H '' /proc/sys/user/max_*_namespaces
:
"""

    @staticmethod
    def parse(section: Section) -> NamespacesReading:
        names = set(known(section.text("offered")).split())
        if "mnt" not in names:  # every kernel that we can meet has it: this was no answer
            raise ValueError("/proc/self/ns lists no namespaces")
        lines = Lines(section.block("limits"))
        limits = {kind: lines.number(f"/proc/sys/user/max_{kind}_namespaces") for kind in KINDS if kind in names}
        return NamespacesReading(
            offered=tuple(kind for kind in KINDS if kind in names),
            limits={kind: limit for kind, limit in limits.items() if limit is not None},
        )
