"""A step's changes compiled to one script, which keeps every original in the journal before it touches anything.

Every write is beside the file, synced and renamed, so a run that is killed at any point leaves old or new, never half.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploys.core.change import Change, Command, Install, RemoveFile, Service, WriteFile
from deploys.run.journal import arm, open_journal
from deploys.run.script import JOURNAL, Fate, Outcome, Script, call, fed, script_of
from deploys.run.steps import Step


class Refused(Exception):
    """The host does not let this run change anything: no journal can be kept, or another run has its turn."""


@dataclass(frozen=True)
class Compiled:
    """A step as a script, and which journal entry each of its changes has."""

    script: Script
    entries: dict[str, Change | Service]

    def outcomes(self, lines: Iterable[str]) -> dict[str, Outcome]:
        """The outcome per entry; an entry that the host said nothing of was not reached."""
        said = self.script.answer(lines)
        if JOURNAL in said:
            raise Refused(said[JOURNAL].error)
        return {entry: said.get(entry, Outcome(entry, Fate.NOT_REACHED)) for entry in self.entries}


def compile_step(step: Step, run: dict[str, Any], first: int) -> Compiled:
    """`step` as a script whose entries are numbered from `first`. `run` (JSON values, `id` among them) heads the
    journal. In a subject's step a failing change ends the step; other steps go on."""
    whole: list[Change | Service] = [*([step.service] if step.service else []), *step.changes]
    entries = {f"{number:04d}": each for number, each in enumerate(whole, first)}
    return Compiled(script_of([open_journal(run["id"], run, run), *_lines(step, run["id"], entries)]), entries)


def _lines(step: Step, run: str, entries: dict[str, Change | Service]) -> Iterator[str]:
    """What is done once the journal is open. A change that fails ends the step: files that its service does not use yet
    go back, and so does all from the first commit-confirmed change on."""
    files: list[str] = []
    first_confirmed = ""
    for entry, each in entries.items():
        if isinstance(each, Service):
            yield f"{_begin_service(entry, each)} || exit 1"
            continue
        if each.commit_confirmed and not first_confirmed:
            first_confirmed = entry
            yield f"{arm(run, entry, step.name)} || exit 1"
        hold = f" && {call('hold', entry)}" if first_confirmed else ""
        back = [call("put_back", *files)] if step.service and files else []
        back += [call("revert_now", run, first_confirmed)] if first_confirmed else []
        yield f"{_change(entry, each)}{hold} || {{ {'; '.join([*back, 'exit 1'])}; }}"
        files.append(entry)
    if step.service:
        yield _activate_service(next(iter(entries)), step.service, files)


def _change(entry: str, change: Change) -> str:
    """The call that makes one change."""
    match change:
        case WriteFile(path=path, activate=activate):
            meta, before = _meta(change, "file", shared=change.shared), _digest(change.before)
            validate = change.validate.replace("{}", '"$NEW"')
            last = (change.mode, change.owner, before, validate, activate, change.shared)
            return fed(change.text.encode(), call("write_file", entry, meta, path, *last))
        case RemoveFile(path=path, before=before, activate=activate):
            return call("remove_file", entry, _meta(change, "removal"), path, _digest(before), activate)
        case Command(script=script, undo=undo):
            return call("run_command", entry, _meta(change, "command"), script, undo)
        case Install(packages=packages):
            return call("install_packages", entry, _meta(change, "packages"), *packages)
        case _:
            raise TypeError(f"{type(change).__name__} is no change that a step can hold")


def _meta(change: Change, kind: str, **more: str) -> str:
    """entry.json: what the change is, in words, and for which controls it is made."""
    words: dict[str, Any] = {"subject": change.subject, "what": change.what, "kind": kind, **more}
    words["controls"] = list(change.controls)
    if getattr(change, "service", None) is None:  # what a service interrupts is asked again when it is undone
        words["interrupts"] = change.interrupts
    return json.dumps({name: value for name, value in words.items() if value})


def _digest(text: str | None) -> str:
    return "absent" if text is None else hashlib.sha256(text.encode()).hexdigest()


def _begin_service(entry: str, service: Service) -> str:
    meta = {"subject": service.name, "what": service.what, "kind": "service"}
    return call("begin_service", entry, json.dumps(meta), service.undo or _undo(service))


def _undo(service: Service) -> str:
    """sh that activates the service with the files that are there, and waits until it is healthy."""
    return (
        f"({service.activate}) && deadline=$(($(date +%s) + {service.seconds}))"
        f" && until ({service.healthy}) >/dev/null 2>&1; do [ $(date +%s) -lt $deadline ] || exit 1; sleep 1; done"
    )


def _activate_service(entry: str, service: Service, files: Sequence[str]) -> str:
    how = (service.activate, service.healthy, service.explain, str(service.seconds))
    return call("activate_service", entry, service.name, *how, *files)
