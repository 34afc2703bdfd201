"""A reboot as the last change of a run: hosts take turns, and each is waited for, with a hard deadline."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from shlex import quote

import gevent
from paramiko import SSHException
from pyinfra.api.exceptions import PyinfraError

from deploys.core.change import Reboot
from deploys.core.text import clean
from deploys.run.transport import Connection, Unreachable

CANARY = "canary"  # the group that goes first
BATCH = "25%"
POLL_SECONDS = 5
ASK_SECONDS = 20


def batches(names: Sequence[str], canaries: Sequence[str], size: str) -> list[list[str]]:
    """The hosts in the order in which they may reboot: canaries first; `size` is how many at once, `3` or `25%`."""
    form = re.fullmatch(r"(\d{1,4})(%?)", size.strip())
    if not form or int(form[1]) == 0:
        raise PyinfraError(f"batch={size}: want a number of hosts, or a share such as {BATCH}")
    count = int(form[1]) if not form[2] else max(1, len(names) * min(int(form[1]), 100) // 100)
    first = [name for name in names if name in canaries]
    others = [name for name in names if name not in canaries]
    return [group[i : i + count] for group in (first, others) for i in range(0, len(group), count)]


def wait(connection: Connection, change: Reboot) -> tuple[bool, str]:
    """Whether the host came back well, and what it says; asked over fresh connections until the deadline."""
    nonce = secrets.token_hex(8)
    script = f"said=$(sh -c {quote(change.settled)} 2>/dev/null); printf '@{nonce} %s\\n' \"$said\"\n"
    end = time.monotonic() + change.seconds
    lines: Sequence[str] | None = ()
    while time.monotonic() < end:
        gevent.sleep(POLL_SECONDS)
        lines = _ask(connection, script, fresh=lines is None)
        for line in lines or ():
            if found := re.match(rf"@{nonce} (ok|fail) (.*)", line):
                connection.lost = False
                return found[1] == "ok", clean(found[2])
    connection.lost = True
    return False, f"did not come back within {change.seconds} s"


def _ask(connection: Connection, script: str, fresh: bool) -> Sequence[str] | None:
    """What the host answers, over a fresh connection if the one before is gone; None where it is out of reach."""
    try:
        with gevent.Timeout(3 * ASK_SECONDS, TimeoutError()):
            if fresh:
                connection.reconnect()
            return connection.execute(script, ASK_SECONDS) if connection.host.connected else None
    except (Unreachable, TimeoutError, OSError, SSHException, EOFError):
        return None
