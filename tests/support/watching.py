"""A machine's systemd for unit tests of watches: its tools are scripts that note how they are called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from hullproof.watching import systemd

FLEET = 'hosts = ["web1", "web2"]\n'


@dataclass(frozen=True)
class Machine:
    """`calls` has a line for each call of a tool; `units` is where units of the system are."""

    folder: Path

    @property
    def units(self) -> Path:
        return self.folder / "units"

    @property
    def inventory(self) -> Path:
        return self.folder / "fleet.py"

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def tool(self, name: str, script: str = "") -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.folder}/calls\n{script}\n')
        path.chmod(0o755)


def machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One that systemd has booted, with an inventory of two hosts, and nobody but the operator on it."""
    made = Machine(folder)
    for name in ("bin", "units", "booted", "others", "state"):
        (folder / name).mkdir()
    made.inventory.write_text(FLEET)
    for name in ("systemctl", "systemd-analyze", "systemd-sysusers"):
        made.tool(name)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setattr(systemd, "BOOTED", folder / "booted")
    monkeypatch.setattr(systemd, "SYSTEM_UNITS", made.units)
    monkeypatch.setattr(systemd, "OTHER_UNITS", (folder / "others",))
    monkeypatch.setattr(systemd, "SYSTEM_STATE", folder / "state")
    return made
