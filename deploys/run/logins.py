"""A run on the host itself has no connection to make again: a new login over SSH proves that one can be made.

Where no session over SSH is open, no session can be cut off, and nothing is asked.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from pyinfra.api.host import Host
from pyinfra.connectors.local import LocalConnector

from deploys.run.transport import Unreachable

# How sshd(8) titles the process of a session, when its user has come in; sshd-session since OpenSSH 9.8.
SESSION = re.compile(rb"sshd(?:-session)?: [^\s\0]+@")
PROC = Path("/proc")


def logins(host: Host) -> frozenset[str]:
    """Sessions over SSH on this very machine, by process; none where `host` is another one."""
    if not isinstance(host.connector, LocalConnector):
        return frozenset()
    found = set()
    for path in PROC.glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if SESSION.match(path.read_bytes()):
                found.add(path.parent.name)
    return frozenset(found)


def await_login(host: Host, before: frozenset[str], seconds: float, log: Callable[[str], None]) -> None:
    """Wait for a session that was not among those `before`. Unreachable where none is opened in time."""
    if not before:
        return
    log(f"log in over SSH once more now: without a new login within {seconds:.0f} s, the host takes this change back")
    deadline = monotonic() + seconds
    while not logins(host) - before:
        if monotonic() > deadline:
            raise Unreachable("this run is on the host itself, and no new login over SSH came in time")
        sleep(2)
