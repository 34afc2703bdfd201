"""What a run asks of a host's journal beside its changes: to undo a run, to confirm what could cut us off, to end."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from deploys.run.script import Script, call, fed, library, script_of

CONFIRM_WITHIN = 120  # seconds, after which the host takes back what no fresh connection confirmed


@dataclass(frozen=True)
class Orders:
    """How a run is undone. `skip` are entries that stay for good, `leave` those that stay for now. `amended` are texts
    that the host's journal lacks, by entry and name in it. `newest` is the newest run that the survey saw."""

    run: str
    skip: Sequence[str] = ()
    leave: Sequence[str] = ()
    amended: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    accept: Iterable[str] = ()
    newest: str = ""


def undo_script(orders: Orders, by: Mapping[str, Any], confirm: bool = False) -> Script:
    """The run `by` undoes a whole run, last change first. The host says WAITING where it ended behind changes that
    could cut us off: to `confirm` these over a fresh connection undoes the rest."""
    run = orders.run
    put_again = _arm(run, '"$1"', '"$2"')
    lines = [f"{call('confirm_armed', run)} || exit 1"] if confirm else []
    lines.append(open_journal(run, {"id": run}, by))
    if orders.newest and not confirm:
        lines.append(call("unseen", orders.newest))
    lines += [fed(text, f"{call('amend', entry, name)} || exit 1") for (entry, name), text in orders.amended.items()]
    lines += [
        f"ACCEPT={quote(' '.join(sorted(orders.accept)))}; export ACCEPT",
        f"SKIP={quote(' '.join(orders.skip))} LEAVE={quote(' '.join(orders.leave))}",
        f"arm_undo() {{ {put_again}; }}",
        "undo_run",
    ]
    return script_of(lines)


def files_script(run: str, entries: Iterable[str]) -> Script:
    """Tells the files of a run's entries as they were, as they were written and as they are. It changes nothing."""
    return script_of([call("tell", run, *entries)])


def confirm_script(run: str) -> Script:
    """Makes a commit-confirmed step last. Sent over a fresh connection, or it proves nothing."""
    return script_of([call("confirm_armed", run)])


def waiting_script(run: str) -> Script:
    """Asks whether a step of the run still waits to be confirmed."""
    return script_of([call("still_armed", run)])


def ended_script(run: str) -> str:
    """sh that notes on the host that the run has ended: the next one need not wait to see whether it goes on."""
    lock = "${HULLPROOF_JOURNAL:-/var/lib/hullproof/journal}/lock"
    return f'[ ! -f "{lock}" ] || {{ read -r run _ <"{lock}"; [ "$run" != {quote(run)} ] || echo ended >>"{lock}"; }}\n'


def open_journal(run: str, head: Mapping[str, Any], by: Mapping[str, Any]) -> str:
    """The call that opens the journal of `run`, in the turn of the run `by`."""
    return call("open_journal", run, json.dumps(head), by["id"], _who(by.get("kind", "run")))


def _who(kind: str) -> str:
    """What another controller reads of us."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an id without a name
        user = f"uid {os.getuid()}"
    return f"{kind} by {user} on {socket.gethostname()}"


def arm(run: str, entry: str, subject: str) -> str:
    """The call before the first commit-confirmed change, `entry`: unless it is confirmed in time, the host undoes the
    run's entries from there on."""
    return _arm(run, quote(entry), quote(subject), first=entry)


def _arm(run: str, entry: str, subject: str, first: str = "") -> str:
    """`entry` and `subject` as words of sh. Without a `first`, the host redoes what was undone."""
    script = f"{library()}\n{call('revert', run, first)}\n"
    return fed(script.encode(), f"arm {quote(run)} {entry} {CONFIRM_WITHIN} {subject}")
