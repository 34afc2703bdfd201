"""The hosts of a pyinfra inventory with their data, without connecting to any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

SECONDS = 750  # the longest that reading it may take: an inventory is a program


class InventoryError(Exception):
    """The inventory cannot be read, or names no host."""


@dataclass(frozen=True)
class Target:
    """One host of the inventory, with its pyinfra data (ssh_hostname, ssh_port, ssh_user, _sudo_password …)."""

    name: str
    groups: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return str(self.data.get("ssh_hostname") or self.name)


def read_inventory(text: str, limits: Sequence[str] = ()) -> list[Target]:
    """The hosts in the output of `pyinfra INVENTORY debug-inventory --json` that `limits` (group names or host name
    patterns, as pyinfra's --limit takes them; none: all) leave over."""
    targets = [Target(row["name"], tuple(row["groups"]), row["data"]) for row in json.loads(text)]
    if not targets:
        raise InventoryError("the inventory holds no hosts")
    kept: dict[str, Target] = {}
    for limit in limits:
        found = [t for t in targets if limit in t.groups] or [t for t in targets if fnmatch(t.name, limit)]
        if not found:
            raise InventoryError(f"--limit {limit}: no host or group of the inventory is so named")
        kept.update((target.name, target) for target in found)
    return list(kept.values()) if limits else targets


def ask_inventory(inventory: str, limits: Sequence[str] = (), data: Sequence[str] = ()) -> list[Target]:
    """The targets of an inventory, read by pyinfra itself in a process of its own: it patches what pytest needs."""
    if os.sep in inventory and not Path(inventory).exists():
        raise InventoryError("no such file")
    command = [sys.executable, "-P", "-m", "pyinfra", inventory, "debug-inventory", "--json"]
    for item in data:
        command += ["--data", item]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    try:
        return read_inventory(done.stdout, limits)
    except ValueError as error:
        raise InventoryError(f"pyinfra cannot read it:\n{done.stderr.strip()[-2000:]}") from error
    except InventoryError as error:
        told = [line.strip() for line in done.stderr.splitlines() if line.startswith("    ")]
        raise InventoryError("; ".join([str(error), *told])) from error
