"""systemd as a watch needs it: its own manager or the operator's, asked by its own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploys.core.text import clean_text
from hullproof.watching.units import WatchError

SYSTEM_STATE = Path("/var/lib/hullproof-watch")  # not /var/lib/hullproof: a hardened host has its journal there
BOOTED = Path("/run/systemd/system")  # there where systemd has booted the machine: sd_booted(3)
SYSTEM_UNITS = Path("/etc/systemd/system")
# Where units of packages and of others are, of which one with the same name would be hidden by ours.
OTHER_UNITS = (BOOTED, *map(Path, ("/usr/local/lib/systemd/system", "/usr/lib/systemd/system")))


@dataclass(frozen=True)
class Manager:
    """systemd's manager of the system, or the operator's own (`own`)."""

    own: bool

    @property
    def units(self) -> Path:
        return _xdg("XDG_CONFIG_HOME", ".config") / "systemd" / "user" if self.own else SYSTEM_UNITS

    @property
    def others(self) -> tuple[Path, ...]:
        return () if self.own else OTHER_UNITS

    def state(self, name: str) -> Path:
        """The folder of the watch of that name."""
        return (_xdg("XDG_STATE_HOME", ".local/state") / "hullproof-watch" if self.own else SYSTEM_STATE) / name

    def absent(self) -> str:
        """Why there is no such manager; "" where it runs."""
        if not shutil.which("systemctl"):
            return "there is no systemctl on this machine"
        if not BOOTED.is_dir():
            return "systemd does not run on this machine"
        try:
            self.ctl("show-environment")
        except WatchError as error:
            return str(error)
        return ""

    def ctl(self, *words: str) -> str:
        """What systemctl prints. Raises WatchError with its words where it fails."""
        return _run(["systemctl", *(["--user"] if self.own else []), "--no-pager", *words])

    def verify(self, units: Mapping[str, str]) -> None:
        """Raises WatchError with what systemd-analyze has to say of the units, by name."""
        with tempfile.TemporaryDirectory(prefix="hullproof-") as folder:
            paths = [Path(folder, name) for name in units]
            for path in paths:
                path.write_text(units[path.name], encoding="utf-8")
            scope = ["--user"] if self.own else []
            words = ["systemd-analyze", *scope, "verify", "--man=no", "--recursive-errors=no", *map(str, paths)]
            if said := _run(words, stderr=subprocess.STDOUT):
                raise WatchError(f"systemd-analyze verify finds the units wrong: {clean_text(said)}")

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """The unit's properties; "" for what is not set. Raises WatchError."""
        lines = self.ctl("show", unit, f"--property={','.join(names)}").splitlines()
        return dict.fromkeys(names, "") | dict(line.split("=", 1) for line in lines if "=" in line)


def _run(words: list[str], stderr: int = subprocess.PIPE) -> str:
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=stderr, text=True, errors="replace")
    except FileNotFoundError:
        raise WatchError(f"there is no {words[0]} on this machine") from None
    if done.returncode:
        asked = " ".join([word for word in words if not word.startswith("-")][:2])
        raise WatchError(f"{asked} failed: {clean_text((done.stderr or done.stdout).strip())}")
    return done.stdout


def _xdg(variable: str, default: str) -> Path:
    """A folder of the XDG Base Directory Specification, which takes absolute paths only."""
    given = os.environ.get(variable, "")
    return Path(given) if os.path.isabs(given) else Path.home() / default
