"""Changes: what a run will do to a host, as data that can be shown before anything happens.

A subject's `plan` yields them, only for findings that do not hold. A run orders them, shows them (`--dry`, `--diff`),
compiles them to ONE journalled script per subject, and can undo each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deploys.core.control import Control, Finding, State
from deploys.core.policy import Policy, Rules
from deploys.core.text import clean_text
from facts.core import asked
from facts.core.fact import SectionFact
from facts.core.record import JournalEntry
from facts.core.survey import Survey

ACCEPT_RETRY = "retry"  # accepting it: what an earlier run changed in vain is changed once more


@dataclass(frozen=True)
class Change:
    """`what` is said to the operator in plain words; `interrupts` names what stops or restarts, empty if nothing.
    `commit_confirmed`: it could cut us off, so the host reverts it, and what its step does after it, by itself unless a
    fresh connection confirms that in time. `controls`: the ids of those that it mends, or that are blocked with it.

    Words of the host's own get into these, so they are made printable here, once for every log, plan and journal."""

    subject: str
    what: str
    interrupts: str = field(default="", kw_only=True)
    commit_confirmed: bool = field(default=False, kw_only=True)
    controls: tuple[str, ...] = field(default=(), kw_only=True, compare=False)

    def __post_init__(self) -> None:
        if self.commit_confirmed and isinstance(self, (Blocked, Install)):
            raise ValueError(f"{self.what}: what is not done, or takes minutes, cannot be commit-confirmed")
        for name in self._said():
            object.__setattr__(self, name, clean_text(getattr(self, name)))

    def _said(self) -> tuple[str, ...]:
        return ("what", "interrupts")


@dataclass(frozen=True)
class Service:
    """A daemon that has to be restarted or reloaded with new settings: how, and how we know that it is healthy again.
    `does` says so to the operator; "": `restart NAME with the new settings`.

    `activate` and `healthy` are sh; if `healthy` does not succeed within `seconds`, every file written for the
    service in this run is put back and `undo` runs, unless `activate` ended with status 3: it did nothing. `explain`
    prints why it failed (its last log lines).

    `undo` (sh) activates it with the files that were there before and waits until it is healthy, in a rollback too;
    what the operator should know of that it writes to the file $NOTE. "": as `activate` and `healthy` do.
    """

    name: str
    activate: str
    healthy: str
    explain: str
    seconds: int = 60
    interrupts: str = ""
    undo: str = ""
    does: str = ""

    @property
    def what(self) -> str:
        return self.does or f"restart {self.name} with the new settings"


@dataclass(frozen=True)
class WriteFile(Change):
    """Own a whole file. `before` is the text the survey saw (None: no such file): the write is refused on the host
    if the file is no longer that. `validate` is an sh command with `{}` for the new file's path; `activate` is an
    sh command that makes it live; it runs again, after the old file is back, when the change is undone. With a
    `service`, the file is written in the service's own step and goes back if the service does not come up.
    `mode` and `owner` "": as the old file's. `shared`: others own it too, so that an undo takes out of it what this
    change put there, by top-level keys of JSON or by lines, and keeps what others wrote since."""

    path: str
    text: str
    before: str | None
    mode: str = "0644"
    owner: str = "root:root"
    validate: str = ""
    activate: str = ""
    service: Service | None = None
    shared: Literal["", "json", "lines"] = ""


def unit_script(path: str, live: str = "", gone: str = "") -> str:
    """sh that has systemd take up the unit at `path`: enabled where the file is there, and `live` (sh) then; no longer
    wanted by anything where it is not, as after an undo, and `gone` (sh) then."""
    unit = path.rpartition("/")[2]
    return f"""\
systemctl daemon-reload || exit 1
if [ -e {path} ]; then systemctl -q enable {unit}{live and f" && {live}"}; else
  rm -f /etc/systemd/system/*.wants/{unit}{gone and f"; {gone}"}
fi
"""


def install_unit(
    subject: str, what: str, *, path: str, text: str, before: str | None, live: str = "", gone: str = ""
) -> WriteFile:
    """Write a systemd unit and enable it; see `unit_script`."""
    return WriteFile(subject, what, path=path, text=text, before=before, activate=unit_script(path, live, gone))


@dataclass(frozen=True)
class RemoveFile(Change):
    """Remove a file (kept in the journal)."""

    path: str
    before: str
    activate: str = ""


@dataclass(frozen=True)
class Command(Change):
    """A live change: `script` (sh) does it, `undo` (sh) takes it back ("" where there is nothing to take back)."""

    script: str
    undo: str


@dataclass(frozen=True)
class Reboot(Command):
    """`script` has the host reboot by itself, soon. `settled` (sh) prints `ok …` or `fail …` once the host has come to
    rest, and nothing before that; a host that does not within `seconds` is lost."""

    settled: str = field(kw_only=True)
    seconds: int = field(kw_only=True)


@dataclass(frozen=True)
class Install(Change):
    """Install packages with the host's own package manager; undone by removing those that were not there before."""

    packages: tuple[str, ...]


@dataclass(frozen=True)
class MergeJson(Change):
    """Set and unset top-level keys in a JSON file that others own too; their keys, order and indentation are kept.

    All subjects' merges of one path become one write and one activation of `service`. `before` is the text the
    survey saw (None: no such file).
    """

    path: str
    before: str | None
    put: Mapping[str, Any]
    drop: tuple[str, ...] = ()
    service: Service | None = None
    validate: str = ""


@dataclass(frozen=True)
class Activate(Change):
    """Activate a service with what is already on disk (a finding is pending-restart)."""

    service: Service


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Why something cannot be done now. `by_hand`: what the operator can do about it. `accepts`: the names of what the
    operator has to accept, all of them, to have it done in spite of that."""

    why: str
    by_hand: str = ""
    accepts: tuple[str, ...] = ()

    @property
    def next(self) -> str:
        """What the operator does about it."""
        allow = f"allow it with --data accept={','.join(self.accepts)}" if self.accepts else ""
        return "; or ".join(filter(None, [self.by_hand, allow])) or self.why

    @property
    def reason(self) -> str:
        """Why, and what the operator does about it, as it is said everywhere."""
        todo = self.next
        return self.why if todo == self.why else f"{self.why}. {todo[:1].upper()}{todo[1:]}"

    def block(self, subject: str, what: str, *, controls: tuple[str, ...] = (), warns: bool = False) -> Blocked:
        """The change that it is in the way of."""
        return Blocked(
            subject, what, why=self.why, by_hand=self.by_hand, accepts=self.accepts, controls=controls, warns=warns
        )


@dataclass(frozen=True)
class Blocked(Change, Obstacle):
    """What is wanted and cannot be done now, and how the operator can allow it. Nothing is executed. `warns`: it was
    done here and went wrong, so where this host is a canary, others do not follow it."""

    warns: bool = field(default=False, kw_only=True)

    def _said(self) -> tuple[str, ...]:
        return (*super()._said(), "why", "by_hand")


def mending(controls: Iterable[str], changes: Iterable[Change]) -> Iterator[Change]:
    """The changes, for these controls; one that names its own keeps them."""
    ids = tuple(controls)
    for change in changes:
        yield change if change.controls else replace(change, controls=ids)


def by_hand(finding: Finding) -> Blocked:
    """A finding that harden may not mend: what is wrong, and what the operator has to do."""
    control, why = finding.control, finding.verdict.reason
    return Blocked(control.subject, control.title, why=why, by_hand=control.by_hand, controls=(control.id,))


@dataclass(frozen=True)
class Context:
    """What a subject plans from. `accepts` are the consequences accepted by name (policy or `--data accept=a,b`)."""

    survey: Survey
    policy: Policy
    findings: Mapping[str, Finding]

    def which(self, *ids: str) -> tuple[str, ...]:
        """Those of these controls that are in `fail` or pending: something to mend. Unknown is not."""
        to_mend = (State.FAIL, State.PENDING_RESTART, State.PENDING_REBOOT)
        return tuple(i for i in ids if i in self.findings and self.findings[i].state in to_mend)

    def failing(self, *ids: str) -> bool:
        return bool(self.which(*ids))

    def accepts(self, name: str) -> bool:
        return name in self.policy.accept

    def noting(self) -> Context:
        """The same, and what is asked of a finding is noted beside what is asked of the survey."""
        return replace(self, findings=_Noting(self.findings))

    def same(self, what: Any) -> Any:
        """As the survey's, also of a control: its verdict."""
        if isinstance(what, str):
            return self.findings[what].verdict if what in self.findings else None
        return self.survey.same(what)


class _Noting(Mapping[str, Finding]):
    def __init__(self, findings: Mapping[str, Finding]) -> None:
        self._findings = findings

    def __getitem__(self, control: str) -> Finding:
        asked.note_fact(control)
        return self._findings[control]

    def __iter__(self) -> Iterator[str]:
        asked.note_alone()
        return iter(self._findings)

    def __len__(self) -> int:
        asked.note_alone()
        return len(self._findings)


@dataclass(frozen=True)
class Undoing:
    """What a rollback is about to undo on a host: the entries that are left of a run, last change first. `files`: by
    path, the text that is there (None: no file) and the one that will be; a file that could not be read is not here."""

    context: Context
    entries: tuple[JournalEntry, ...]
    files: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Remark:
    """What a subject says of the undo of one entry. `refused`: why nothing of its run may be undone now; `stays`: why
    this entry alone is left for now; `interrupts`: what stops or restarts; `script`: sh that undoes it, in place of
    the journal's own, which an older version may have written. Names that were accepted are in its $ACCEPT."""

    entry: str
    refused: Obstacle | None = None
    stays: Obstacle | None = None
    interrupts: str = ""
    script: str = ""


def _no_remarks(undoing: Undoing) -> Iterable[Remark]:
    return ()


def _none_along(context: Context) -> Mapping[str, Iterable[str]]:
    return {}


@dataclass(frozen=True)
class Part:
    """What a container engine adds to a subject, whose name and rules of the policy it shares. `plan` comes after the
    subject's own. `along`: by a control of the subject, the part's controls that a change for that one mends too.
    `mends`: controls of the subject for which the part has changes too."""

    controls: tuple[Control, ...]
    plan: Callable[[Context], Iterable[Change]]
    facts: tuple[type[SectionFact[Any]], ...]
    accepts: tuple[str, ...] = ()
    undoing: Callable[[Undoing], Iterable[Remark]] = _no_remarks
    along: Callable[[Context], Mapping[str, Iterable[str]]] = _none_along
    mends: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """One subject: its facts, its part of the policy, its controls and its remediation. `unproved`: why those of its
    controls that no proof attempts have none."""

    name: str
    rules: type[Rules]
    controls: tuple[Control, ...]
    plan: Callable[[Context], Iterable[Change]]
    facts: tuple[type[SectionFact[Any]], ...]
    accepts: tuple[str, ...] = ()  # the consequences of its changes that must be accepted by name first
    undoing: Callable[[Undoing], Iterable[Remark]] = _no_remarks
    unproved: str = ""

    def __post_init__(self) -> None:
        strangers = [c.id for c in self.controls if c.subject != self.name]
        if strangers:
            raise ValueError(f"subject {self.name}: not its controls: {', '.join(strangers)}")

    def with_part(self, part: Part) -> Subject:
        """The subject with what an engine adds to it."""

        own = [control.id for control in part.controls]

        def plan(context: Context) -> Iterator[Change]:
            wanted = context.failing(*own, *part.mends)  # else an engine that cannot be read is in nobody's way
            along = part.along(context) if wanted else {}
            for change in self.plan(context):
                more = (mended for control in change.controls for mended in along.get(control, ()))
                yield replace(change, controls=(*change.controls, *more))
            if wanted:
                yield from part.plan(context)

        def undoing(undoing: Undoing) -> Iterator[Remark]:
            yield from self.undoing(undoing)
            yield from part.undoing(undoing)

        return replace(
            self,
            controls=(*self.controls, *part.controls),
            plan=plan,
            facts=tuple(dict.fromkeys((*self.facts, *part.facts))),
            accepts=tuple(dict.fromkeys((*self.accepts, *part.accepts))),
            undoing=undoing,
        )


def controls_of(changes: Iterable[Change]) -> tuple[str, ...]:
    """The ids of the controls that changes are for, each once."""
    return tuple(dict.fromkeys(control for change in changes for control in change.controls))
