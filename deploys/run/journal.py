"""The journal: a step's changes compiled to one script that runs on the host, and what that script answered.

The host's half is `templates/run/journal.sh`: every original is kept before it is touched, every write is beside
the file, synced and renamed, so a run that is killed at any point leaves old or new and never half.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from shlex import quote
from typing import Any

from deploys.core import templates
from deploys.core.change import Change, Command, Install, RemoveFile, Service, WriteFile
from deploys.core.text import clean
from deploys.run.steps import Step

PARTS = ("journal.sh", "packages.sh", "undo.sh", "armed.sh")

ARMED_SECONDS = 120  # after which the host takes back what nobody confirmed

NOT_REACHED = "not reached: a change before it failed, or the connection was lost"
PUT_BACK = "put back"  # it was made, and taken back in the same script

# What the host says of the whole, beside its entries (0001, 0002 ...).
UNOPENED, CONFIRMED, WAITS = "0", "1", "2"  # no journal; what was armed lasts; what was armed waits for that


@dataclass(frozen=True)
class Outcome:
    """What became of one change: `error` is "" where it was made, and `note` what is to be known of that."""

    entry: str
    error: str
    note: str = ""


class Refused(Exception):
    """The host does not let this run change anything: no journal can be kept, or another run has its turn."""


@dataclass(frozen=True)
class Compiled:
    """A step as a script, and which journal entry each of its changes has."""

    script: str
    nonce: str
    entries: dict[str, Change | Service]

    def outcomes(self, lines: Iterable[str]) -> dict[str, Outcome]:
        """The outcome per entry; an entry that the host said nothing of failed with that as the reason."""
        said = parse_answer(lines, self.nonce)
        if UNOPENED in said:
            raise Refused(said[UNOPENED].error)
        return {entry: said.get(entry, Outcome(entry, NOT_REACHED)) for entry in self.entries}


def parse_answer(lines: Iterable[str], nonce: str) -> dict[str, Outcome]:
    answer = re.compile(rf"@{nonce} (ok|fail) (\d+) ?(.*)")
    found = (answer.match(line) for line in lines)
    return {m[2]: _outcome(m[2], m[1] == "fail", clean(m[3]).strip()) for m in found if m}


def _outcome(entry: str, failed: bool, words: str) -> Outcome:
    return Outcome(entry, words or "failed") if failed else Outcome(entry, "", words)


@cache
def library() -> str:
    """The host's half."""
    return "\n".join(templates.text(f"run/{part}") for part in PARTS)


def whole_script(nonce: str, lines: Iterable[str]) -> str:
    """The library and `lines`, as one function: a script that is cut off on its way to the host does not begin."""
    body = "\n".join(lines)
    return f"N={nonce}\nmain() {{\n{library()}\n{body}\n}}\nmain\n"


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


def undo_script(orders: Orders, by: Mapping[str, Any], confirm: bool = False) -> tuple[str, str]:
    """The script by which the run `by` undoes a whole run, last change first, and its nonce. The host says WAITS where
    it ended behind changes that could cut us off: to `confirm` these over a fresh connection undoes the rest."""
    nonce, run = secrets.token_hex(8), orders.run
    arm = _arm(run, '"$1"', '"$2"')
    lines = [f"confirm_armed {quote(run)} || exit 1"] if confirm else []
    lines.append(_open(run, {"id": run}, by))
    if orders.newest and not confirm:
        lines.append(f"unseen {quote(orders.newest)}")
    lines += [
        f"printf %s {base64.b64encode(text).decode()} | amend {_words(entry, name)} || exit 1"
        for (entry, name), text in orders.amended.items()
    ]
    lines += [
        f"ACCEPT={quote(' '.join(sorted(orders.accept)))}; export ACCEPT",
        f"SKIP={quote(' '.join(orders.skip))} LEAVE={quote(' '.join(orders.leave))}",
        f"arm_undo() {{ {arm}; }}",
        "undo_run",
    ]
    return whole_script(nonce, lines), nonce


def files_script(run: str, entries: Iterable[str]) -> tuple[str, str]:
    """The script that tells the files of a run's entries as they were, as they were written and as they are; and its
    nonce. It changes nothing."""
    nonce = secrets.token_hex(8)
    return whole_script(nonce, [f"tell {_words(run, *entries)}"]), nonce


def ended_script(run: str) -> str:
    """sh that notes on the host that the run has ended: the next one need not wait to see whether it goes on."""
    lock = "${HULLPROOF_JOURNAL:-/var/lib/hullproof/journal}/lock"
    return f'[ ! -f "{lock}" ] || {{ read -r run _ <"{lock}"; [ "$run" != {quote(run)} ] || echo ended >>"{lock}"; }}\n'


def _open(run: str, head: Mapping[str, Any], by: Mapping[str, Any]) -> str:
    """Open the journal of `run`, in the turn of the run `by`."""
    return f"open_journal {_words(run, json.dumps(head), by['id'], _who(by.get('kind', 'run')))}"


def _who(kind: str) -> str:
    """What another controller is told of us."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an id without a name
        user = f"uid {os.getuid()}"
    return f"{kind} by {user} on {socket.gethostname()}"


def revert_script(run: str, first: str = "") -> str:
    """What the host runs by itself unless somebody confirmed: undo the run's entries from `first` on, or redo what was
    undone."""
    return f"{library()}\nrevert {_words(run, first)}\n"


def confirm_script(run: str) -> tuple[str, str]:
    """The script that makes an armed step last, and its nonce. Sent over a fresh connection, or it proves nothing."""
    nonce = secrets.token_hex(8)
    return whole_script(nonce, [f"confirm_armed {quote(run)}"]), nonce


def armed_script(run: str) -> tuple[str, str]:
    """The script that asks whether a step of the run still waits to be confirmed, and its nonce."""
    nonce = secrets.token_hex(8)
    return whole_script(nonce, [f"still_armed {quote(run)}"]), nonce


def compile_step(step: Step, run: dict[str, Any], first: int) -> Compiled:
    """`step` as a script whose entries are numbered from `first`. `run` (JSON values, `id` among them) heads the
    journal. In a subject's step a failing change ends the step; other steps go on."""
    nonce = secrets.token_hex(8)
    entries: dict[str, Change | Service] = {}
    lines = [_open(run["id"], run, run)]
    number = first
    files: list[str] = []
    if step.service:
        entries[service_id := f"{number:04d}"] = step.service
        lines.append(_begin_service(service_id, step))
        number += 1
    armed = ""
    for change in step.changes:
        entries[entry := f"{number:04d}"] = change
        if change.armed and not armed:
            armed = entry
            lines.append(f"{_arm(run['id'], entry, quote(step.name), first=entry)} || exit 1")
        undo_first = f"put_back {_words(*files)}; " if step.service and files else ""
        undo_first += f"revert_now {_words(run['id'], armed)}; " if armed else ""
        hold = f" && hold {entry}" if armed else ""
        lines.append(f"{_call(entry, change)}{hold} || {{ {undo_first}exit 1; }}")
        files.append(entry)
        number += 1
    if step.service:
        lines.append(_activate_service(service_id, step.service, files))
    return Compiled(whole_script(nonce, lines), nonce, entries)


def _words(*values: str) -> str:
    return " ".join(quote(value) for value in values)


def _entry_json(change: Change, kind: str, **more: str) -> str:
    words = {"subject": change.subject, "what": change.what, "kind": kind, **more}
    if getattr(change, "service", None) is None:  # what a service interrupts is asked anew when it is undone
        words["interrupts"] = change.interrupts
    return json.dumps({name: value for name, value in words.items() if value})


def _digest(text: str | None) -> str:
    return "absent" if text is None else hashlib.sha256(text.encode()).hexdigest()


def _call(entry: str, change: Change) -> str:
    """The library's function for one change, with its arguments."""
    match change:
        case WriteFile():
            validate = change.validate.replace("{}", '"$NEW"')
            call = _words(
                "write_file", entry, _entry_json(change, "file", shared=change.shared), change.path, change.mode,
                change.owner, _digest(change.before), validate, change.activate, change.shared,
            )  # fmt: skip
            return f"printf %s {base64.b64encode(change.text.encode()).decode()} | {call}"
        case RemoveFile():
            return _words("remove_file", entry, _entry_json(change, "removal"), change.path,
                          _digest(change.before), change.activate)  # fmt: skip
        case Command():
            return _words("run_command", entry, _entry_json(change, "command"), change.script, change.undo)
        case Install():
            return _words("install_packages", entry, _entry_json(change, "packages"), *change.packages)
        case _:
            raise TypeError(f"{type(change).__name__} is no change that a step can hold")


def _arm(run: str, entry: str, subject: str, first: str = "") -> str:
    """`entry` and `subject` as words of sh."""
    packed = base64.b64encode(revert_script(run, first).encode()).decode()
    return f"printf %s {packed} | arm {quote(run)} {entry} {ARMED_SECONDS} {subject}"


def _begin_service(entry: str, step: Step) -> str:
    service = step.service
    assert service is not None
    meta = json.dumps({"subject": service.name, "what": f"have {service.name} take up its settings", "kind": "service"})
    return _words("begin_service", entry, meta, service.undo or _undo(service)) + " || exit 1"


def _undo(service: Service) -> str:
    """sh that has the service take up the files that are there, and waits until it is well."""
    return (
        f"({service.activate}) && deadline=$(($(date +%s) + {service.seconds}))"
        f" && until ({service.healthy}) >/dev/null 2>&1; do [ $(date +%s) -lt $deadline ] || exit 1; sleep 1; done"
    )


def _activate_service(entry: str, service: Service, files: Sequence[str]) -> str:
    return _words(
        "activate_service", entry, service.name, service.activate, service.healthy, service.explain,
        str(service.seconds), *files,
    )  # fmt: skip
