"""Units that a boot starts: those that the next one will not run, although they are installed, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facts.core.reading import Block, Jsonable, Section, Unknown

SYSCTL, MODULES = "systemd-sysctl.service", "systemd-modules-load.service"
# The program of each, without which it does not do what it is for; ours are compared as a whole where they are judged.
PROGRAMS = {
    SYSCTL: "systemd-sysctl",
    MODULES: "systemd-modules-load",
    "apparmor.service": "apparmor",
    "auditd.service": "auditd",
    "audit-rules.service": "augenrules",
}
OURS = tuple(f"hullproof-{name}.service" for name in ("networks", "bridges", "openvswitch", "boot-gate"))

SCRIPT = f"UNITS='{' '.join((*PROGRAMS, *OURS))}'\n" + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Idle(Jsonable):
    """Why no boot runs the unit, and the file that it comes from. `unwanted`: no target starts it."""

    unit: str
    cause: Literal["masked", "unwanted", "condition", "command"]
    file: str
    line: str = ""

    @property
    def why(self) -> str:
        return {
            "masked": f"{self.unit} is masked ({self.file})",
            "unwanted": f"no target starts {self.unit} at boot",
            "condition": f"{self.unit} does not start at boot ({self.line} in {self.file})",
            "command": f"{self.file} replaces the command of {self.unit}",
        }[self.cause]


def parse(section: Section) -> dict[str, Idle | Unknown]:
    found: dict[str, Idle | Unknown] = {}
    for unit in (*PROGRAMS, *OURS):
        if (idle := _idle(section, unit)) is not None:
            found[unit] = idle
    return found


def _idle(section: Section, unit: str) -> Idle | Unknown | None:
    for cause in ("masked", "unwanted"):
        if block := section.blocks.get(f"{cause} {unit}"):
            return Idle(unit, "masked" if cause == "masked" else "unwanted", block.text.strip())
    changed = section.blocks.get(f"changed {unit}")
    if changed is None:
        return None
    lines = list(_lines(changed))
    if file := _replaced(lines, unit):
        return Idle(unit, "command", file)
    conditions = section.blocks.get(f"conditions {unit}")
    return _refused(conditions, lines, unit) if conditions and conditions.status != 0 else None


def _lines(block: Block) -> Iterator[tuple[str, str, str]]:
    """File, name and value of each of grep's lines."""
    for line in block.text.splitlines():
        if match := re.fullmatch(r"(/[^:]+):\s*(\w+)\s*=\s*(.*?)\s*", line):
            yield match[1], match[2], match[3]


def _replaced(lines: list[tuple[str, str, str]], unit: str) -> str:
    """The file that leaves the unit without its program; "" where it has it. `ExecStart=` alone clears the list."""
    program = PROGRAMS.get(unit, unit)
    commands, file = [program], ""
    for path, name, value in lines:
        if name != "ExecStart":
            continue
        whole = path == f"/etc/systemd/system/{unit}" and not file
        commands = [*([] if whole or not value else commands), *filter(None, [value])]
        file = path
    return "" if any(program in command for command in commands) else file


def _refused(block: Block, lines: list[tuple[str, str, str]], unit: str) -> Idle | Unknown:
    """systemd-analyze(1) names each condition that does not hold now; one that only triggers others has a bar."""
    failing = re.findall(r"^\S+: ((?:Condition|Assert)\w+=.*) failed\.$", block.text, re.MULTILINE)
    if not failing:
        return Unknown(f"it is not known whether {unit} starts at boot: {block.complaint}")
    wrong = {line.replace(" ", "") for line in failing}
    named = [(path, f"{name}={value}") for path, name, value in lines if name.startswith(("Condition", "Assert"))]
    found = [row for row in named if row[1].replace(" ", "") in wrong] or [*named, ("", failing[0])]
    return Idle(unit, "condition", *found[0])
