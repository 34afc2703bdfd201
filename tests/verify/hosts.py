"""The hosts of a pyinfra inventory as testinfra hosts: the proofs run where `pyinfra INVENTORY …` runs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from testinfra.backend.base import CommandResult
from testinfra.backend.local import LocalBackend
from testinfra.backend.ssh import SshBackend
from testinfra.host import Host

SECONDS = 750  # the longest that one command may take: a scenario's own limit and its grace come first
OUTPUT = 1 << 20  # bytes kept of what a command prints: a host is untrusted

# Root stays as it is, everybody else goes through sudo: told apart on the host, which alone knows.
ELEVATE = 'sudo=; [ "$(id -u)" = 0 ] || sudo="sudo %s"; exec $sudo /bin/sh -c "$1"'


class InventoryError(Exception):
    """The inventory names no host that the proofs could run on."""


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


def ssh_config(target: Target, control: Path) -> str:
    """An ssh_config(5) for one target: its pyinfra data first, then the user's own file. `control` is a directory for
    the shared connection (a short path: a socket's name is limited to 108 bytes)."""
    data = target.data
    secret = data.get("ssh_password") or data.get("ssh_key_password")
    options = {
        "Port": data.get("ssh_port"),
        "User": data.get("ssh_user"),
        "IdentityFile": _path(data.get("ssh_key")),
        "IdentitiesOnly": "yes" if data.get("ssh_key") else None,
        "UserKnownHostsFile": _path(data.get("ssh_known_hosts_file")),
        "StrictHostKeyChecking": data.get("ssh_strict_host_key_checking") or "accept-new",
        "BatchMode": None if secret else "yes",
        "ControlMaster": "auto",
        "ControlPath": control / "%C",
        "ControlPersist": 60,
        "ConnectTimeout": 10,
        "ServerAliveInterval": 15,
        "LogLevel": "ERROR",
    }
    lines = [f'{name} "{value}"' for name, value in options.items() if value is not None]
    own = _path(data.get("ssh_config_file")) or os.path.expanduser("~/.ssh/config")
    lines += ["Match all", *(f'Include "{file}"' for file in (own, "/etc/ssh/ssh_config"))]
    return "\n".join(lines) + "\n"


def _path(value: Any) -> str | None:
    return os.path.abspath(os.path.expanduser(str(value))) if value else None


class Bounded:
    """What both backends here share: root or sudo as the host needs it, a time limit, a size limit, replaced bytes."""

    password: str | None = None  # sudo's
    environment: Mapping[str, str] = {}

    def get_command(self, command: str, *args: str) -> str:
        if args:
            command = command % tuple(shlex.quote(arg) for arg in args)
        elevate = ELEVATE % ("-S -p ''" if self.password else "-n")
        return f"/bin/sh -c {shlex.quote(elevate)} sh {shlex.quote(command)}"

    def decode(self, data: bytes) -> str:
        return data.decode("utf-8", "replace")

    def encode(self, data: str) -> bytes:
        return data.encode("utf-8")

    def run_local(self, command: str, *args: str) -> CommandResult:
        """Files and not pipes: ssh's shared connection stays in the background and would hold a pipe open."""
        line = command % tuple(shlex.quote(arg) for arg in args) if args else command
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            stdin.write(f"{self.password}\n".encode() if self.password else b"")
            stdin.seek(0)
            process = subprocess.Popen(
                ["/bin/sh", "-c", line],
                stdin=stdin,
                stdout=out,
                stderr=err,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
            try:
                status = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise RuntimeError(f"no answer within {SECONDS} seconds") from None
            out.seek(0)
            err.seek(0)
            return CommandResult(self, status, self.encode(line), out.read(OUTPUT), err.read(OUTPUT))


class BoundedLocal(Bounded, LocalBackend):  # type: ignore[misc]
    """The controller itself: pyinfra's @local."""


class BoundedSsh(Bounded, SshBackend):  # type: ignore[misc]
    """A host behind ssh."""

    def close(self) -> None:
        """End the shared connection."""
        self.run_local("ssh -F %s -O exit %s", str(self.ssh_config), self.host.name)


ASKPASS = """#!/bin/sh
case $1 in
    *passphrase*) printf '%s\\n' "$HULLPROOF_PASSPHRASE" ;;
    *) printf '%s\\n' "$HULLPROOF_PASSWORD" ;;
esac
"""


def connect(target: Target, control: Path) -> Host:
    """The testinfra host of a target. `control` is an existing directory of ours for what ssh needs. Raises
    InventoryError for a connector (@docker, @chroot …) that the proofs cannot use."""
    password = target.data.get("_sudo_password")
    backend: BoundedLocal | BoundedSsh
    if target.name == "@local":
        backend = BoundedLocal()
    elif target.name.startswith("@") and not target.data.get("ssh_hostname"):
        raise InventoryError(f"{target.name}: the proofs reach a host by ssh or as @local, not through this connector")
    else:
        config = control / "config"
        config.write_text(ssh_config(target, control))
        backend = BoundedSsh(f"[{target.address}]", ssh_config=str(config), controlpersist=0)
        backend.environment = _secrets(target, control)
    backend.password = str(password) if password else None
    return Host(backend)


def _secrets(target: Target, control: Path) -> dict[str, str]:
    """ssh asks for a password through a program, so that none stands in a process list."""
    given = {"HULLPROOF_PASSWORD": "ssh_password", "HULLPROOF_PASSPHRASE": "ssh_key_password"}
    secrets = {name: str(target.data[key]) for name, key in given.items() if target.data.get(key)}
    if not secrets:
        return {}
    askpass = control / "askpass"
    askpass.write_text(ASKPASS)
    askpass.chmod(0o700)
    return {**secrets, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
