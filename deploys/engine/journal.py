"""The journal: a step's changes compiled to one script that runs on the host, and what that script answered.

The host's half is `templates/engine/journal.sh`: every original is kept before it is touched, every write is beside
the file, synced and renamed, so a run that is killed at any point leaves old or new and never half.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from deploys.engine.arrange import Step
from deploys.engine.change import Change, Command, Install, RemoveFile, Service, WriteFile
from deploys.engine.clean import clean

LIBRARY = Path(__file__).resolve().parents[2] / "templates" / "engine" / "journal.sh"


ARMED_SECONDS = 120  # after which the host takes back what nobody confirmed

NOT_REACHED = "not reached: a change before it failed, or the connection was lost"

# What the host says of the whole, beside its entries (0001, 0002 ...).
UNOPENED, CONFIRMED, WAITS = "0", "1", "2"  # no journal; what was armed lasts; what was armed waits for that


@dataclass(frozen=True)
class Outcome:
    """What became of one change: `error` is "" where it was made."""

    entry: str
    error: str


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
            return {entry: Outcome(entry, said[UNOPENED].error) for entry in self.entries}
        return {entry: said.get(entry, Outcome(entry, NOT_REACHED)) for entry in self.entries}


def parse_answer(lines: Iterable[str], nonce: str) -> dict[str, Outcome]:
    answer = re.compile(rf"@{nonce} (ok|fail) (\d+) ?(.*)")
    found = (answer.match(line) for line in lines)
    return {m[2]: Outcome(m[2], clean(m[3]).strip() or "failed" if m[1] == "fail" else "") for m in found if m}


def whole_script(nonce: str, lines: Iterable[str]) -> str:
    """The library and `lines`, as one function: a script that is cut off on its way to the host does not begin."""
    body = "\n".join(lines)
    return f"N={nonce}\nmain() {{\n{LIBRARY.read_text()}\n{body}\n}}\nmain\n"


def undo_script(run: str, confirm: bool = False) -> tuple[str, str]:
    """The script that undoes a whole run, last change first, and its nonce. The host says WAITS where it ended behind
    changes that could cut us off: to `confirm` these over a fresh connection undoes the rest."""
    nonce = secrets.token_hex(8)
    arm = _arm(run, '"$1"', '"$2"')
    lines = [f"open_journal {_words(run, json.dumps({'id': run}))}", f"arm_undo() {{ {arm}; }}", "undo_run"]
    return whole_script(nonce, [f"confirm_armed {quote(run)} || exit 1", *lines] if confirm else lines), nonce


def revert_script(run: str, first: str = "") -> str:
    """What the host runs by itself unless somebody confirmed: undo the run's entries from `first` on, or redo what was
    undone."""
    return f"{LIBRARY.read_text()}\nrevert {_words(run, first)}\n"


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
    lines = [f"open_journal {quote(run['id'])} {quote(json.dumps(run))}"]
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


def _entry_json(change: Change, kind: str) -> str:
    return json.dumps({"subject": change.subject, "what": change.what, "kind": kind})


def _digest(text: str | None) -> str:
    return "absent" if text is None else hashlib.sha256(text.encode()).hexdigest()


def _call(entry: str, change: Change) -> str:
    """The library's function for one change, with its arguments."""
    match change:
        case WriteFile():
            validate = change.validate.replace("{}", '"$NEW"')
            call = _words(
                "write_file", entry, _entry_json(change, "file"), change.path, change.mode, change.owner,
                _digest(change.before), validate, change.activate,
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
    return _words("begin_service", entry, meta, service.activate, service.healthy, str(service.seconds)) + " || exit 1"


def _activate_service(entry: str, service: Service, files: Sequence[str]) -> str:
    return _words(
        "activate_service", entry, service.name, service.activate, service.healthy, service.explain,
        str(service.seconds), *files,
    )  # fmt: skip
