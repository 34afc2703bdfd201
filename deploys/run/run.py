"""One run of an entry point over its hosts: it knows each host's session, writes the report, decides the exit code.

pyinfra loads a deploy file once per connected host and ends the process itself, so the run ends in an atexit handler:
only there every host's end is known, the unreachable ones included.
"""

from __future__ import annotations

import atexit
import datetime
import io
import json
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.context import ctx_host, ctx_state

from deploys.core.change import Blocked, Subject
from deploys.core.policy import Policy
from deploys.core.policy_file import load_policy
from deploys.core.policy_tree import PolicyError
from deploys.core.text import clean_text
from deploys.report import files as report_files
from deploys.report import packed, report, terminal
from deploys.run import ending, incoming, options, plan_view
from deploys.run.command_line import command_line
from deploys.run.only import NothingSoNamed, Only, part
from deploys.run.progress import Progress
from deploys.run.reboot import BATCH, CANARY, batches
from deploys.run.session import Reached, Session
from deploys.run.undo_view import render_undo
from deploys.run.unreachable import Reasons
from facts.core.record import SCHEMA

# The entry points, and what kind of run each is.
KINDS: dict[str, report.Kind] = {
    "drift": "drift",
    "picture": "drift",
    "harden": "harden",
    "provision": "provision",
    "rollback": "rollback",
    "runs": "runs",
}
ROOT = Path(__file__).resolve().parents[2]
ONLY_IN_DATA = "the inventory's data gives only: it is for one run, so give it on the command line (--data only=)"
# A file that whoever started this process wants the run's end in: {"run": id, "exit_code": n, "report": path or null}.
# Without it nobody could tell a run that ended well from a pyinfra that never came to it, and exits 0 all the same.
RECEIPT = "HULLPROOF_RECEIPT"
# A file that makes this run a part of a greater one: {"run": the id that all parts share or "", "stopped": why no host
# reboots or ""}. Its report is for whoever puts the parts together: report.json alone, packed, and no table.
PART = "HULLPROOF_PART"

_run: Run | None = None


class Run:
    """What one invocation does, on all its hosts."""

    def __init__(self, kind: report.Kind) -> None:
        now = datetime.datetime.now(datetime.UTC)
        part_file = os.environ.pop(PART, "")  # as RECEIPT: not for what this run starts
        part = json.loads(Path(part_file).read_bytes()) if part_file else {}
        self.kind = kind
        self.is_part = bool(part)
        self.id = part.get("run") or new_id(now)
        self.started = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        asked = command_line()
        # pyinfra's --json without -y shows what it would do, and ends
        self.dry = bool(asked.get("dry") or (asked.get("json_output") and not asked.get("yes")))
        self.reads_only = kind in ("drift", "runs") or self.dry
        self.alone = all(_entry_point(word) for word in asked.get("operations") or ())  # no deploy but ours runs
        self.sessions: dict[str, Session] = {}
        self.settled: dict[str, report.Settled] = {}
        self.problem = ""  # what is wrong with the run itself
        self.policies: dict[str, Policy | str] = {}
        self.noted: set[str] = set()  # what policies' authors were told
        self.reasons = Reasons()
        given = dict(pair.partition("=")[::2] for pair in asked.get("data") or ())
        self.directory = Path(given.get("report") or "reports")
        self.docs = str(given.get("docs") or "")
        self.only_words = names(given.get("only"))
        self.only: Only | None = None
        self.stopped = str(part.get("stopped", ""))  # why no other host reboots
        self.rebooted: set[str] = set()  # whose turn has come
        self.after: list[Any] = []  # called with the report before the process ends, may raise the exit code
        self.progress: Progress | None = None
        self.written = False  # whether the report is
        self.receipt = os.environ.pop(RECEIPT, "")  # not for what this run starts

    def meta(self, policy: str) -> dict[str, Any]:
        """What heads the journal of this run on a host."""
        return {"schema": SCHEMA, "id": self.id, "kind": self.kind, "started": self.started, "policy": policy}

    def session(self, subjects: Sequence[Subject]) -> Session:
        """The session of the host at hand: its policy is loaded, nothing has been executed yet. Without subjects no
        policy is asked for."""
        host: Host = ctx_host.get()  # the host itself: pyinfra.host changes with the context
        self.directory = Path(str(host.data.get("report", self.directory)))
        self.docs = str(host.data.get("docs", self.docs))
        name = str(host.data.get("policy", "baseline"))
        policy = self.policy(name, subjects, names(host.data.get("accept"))) if subjects else Policy(name, {})
        wrong = [policy] if isinstance(policy, str) else []
        wrong += options.wrong_in_data(host.data.dict())
        wrong += self._only_of(host, subjects)
        loaded = Policy(name, {}) if isinstance(policy, str) else policy
        if self.progress is None:
            self.progress = Progress(len(ctx_state.get().inventory.get_active_hosts()), sys.stderr)
        session = Session(
            host=host,
            policy=loaded,
            subjects=subjects,
            run=self.meta(name),
            only=self.only,
            asking=partial(self.progress.asking, host.name),
        )
        if wrong:
            session.refuse("; ".join(wrong))
            self.progress.leave_out()
        self.sessions[host.name] = session
        self.settled.pop(host.name, None)
        return session

    def _only_of(self, host: Host, subjects: Sequence[Subject]) -> list[str]:
        """Finds the part of the controls that this run is about; what is wrong with it."""
        if not self.only_words:
            return [ONLY_IN_DATA] if host.data.dict().get("only") is not None else []
        try:
            self.only = part(self.only_words, subjects)
        except NothingSoNamed as error:
            self.problem = str(error)
            return [self.problem]
        return []

    def settle(self, session: Session) -> None:
        """Make the host's part of the report now, since nothing follows that could change it, and let go of the survey
        that it was made from: of a fleet's hosts all that is held is what the report says."""
        self.settled[session.host.name] = ending.settled(session, Reached.SURVEY)
        session.survey, session.findings = None, []

    def policy(self, name: str, subjects: Sequence[Subject], accept: tuple[str, ...]) -> Policy | str:
        """The policy, loaded once; or what is wrong with it, shown once, for the hosts that it is wrong for."""
        key = f"{name} {accept}"
        if key not in self.policies:
            try:
                self.policies[key] = found = load_policy(name, subjects, extra_accept=accept)
                for note in found.notes:
                    if note not in self.noted:
                        print(clean_text(note), file=sys.stderr, flush=True)
                self.noted |= set(found.notes)
            except PolicyError as error:
                self.policies[key] = "; ".join(error.problems)
                print(error.message, file=sys.stderr, flush=True)
        return self.policies[key]

    def check_options(self) -> None:
        """Raises PyinfraError, before any host is connected where that can be, if the command line makes no sense."""
        asked = command_line()
        wrong = options.wrong_on_command_line(asked.get("data") or (), self.alone)
        if asked.get("no_wait") and not self.reads_only:
            wrong.append("--no-wait would change all hosts at once, and reboot them without turns: leave it out")
        if self.only_words and self.kind not in ("drift", "harden"):
            wrong.append(f"only= is for drift and harden: {self.kind} does all of it or nothing")
        if not self.reads_only and not asked.get("yes") and not _can_ask():
            wrong.append(
                f"{self.kind} asks before it changes anything, and there is no terminal to ask on: "
                "add -y to go ahead without the question, or --dry to see the plan"
            )
        if wrong:
            self.problem = "; ".join(wrong)
            raise PyinfraError(self.problem)

    def batches(self) -> list[list[str]]:
        """Who may reboot when: `--data batch=3` or `batch=25%`, group `canary` first."""
        host: Host = ctx_host.get()
        state = ctx_state.get()
        hosts = [each for each in state.inventory if state.is_host_in_limit(each)]
        canaries = [each.name for each in hosts if CANARY in each.groups]
        return batches([each.name for each in hosts], canaries, str(host.data.get("batch", BATCH)))

    def may_not_reboot(self, host: Host) -> str:
        """Why this host does not reboot in this run: another one did not come back well, or a canary warns; ""
        where it may. A canary in this run or in one before it: a run that is begun again does not pass over it."""
        if self.stopped or CANARY in host.groups:
            return self.stopped
        return self._warned(host.state)

    def _warned(self, state: Any) -> str:
        hosts = [each for each in state.inventory if state.is_host_in_limit(each) and CANARY in each.groups]
        return next((why for each in hosts if (why := self._warning(each.name))), "")

    def _stops_others(self) -> str:
        """Why no host of a run after this one, of which it is a part, may reboot; "" where they may."""
        state = ctx_state.get() if ctx_state.isset() and not self.reads_only else None
        return self.stopped or (self._warned(state) if getattr(state, "inventory", None) else "")

    def _warning(self, canary: str) -> str:
        session = self.sessions.get(canary)
        if session is None or session.lost:
            return f"the canary {canary} is out of reach"
        if session.errors:
            return f"something failed on the canary {canary}"
        if session.steps_named("reboot") and canary not in self.rebooted:  # pyinfra's --serial has an order of its own
            return f"the canary {canary} reboots first and has not yet: run again, best without --serial"
        warned = [change for change in session.changes if isinstance(change, Blocked) and change.warns]
        return f"the canary {canary} warns: {warned[0].reason}" if warned else ""

    def host_reports(self) -> list[report.HostReport | report.Settled]:
        """Every host of the inventory that the limit covers, with how it ended."""
        state = ctx_state.get() if ctx_state.isset() else None
        inventory = getattr(state, "inventory", None)
        if state is None or inventory is None:
            return []
        return [self._host_report(host, state) for host in inventory if state.is_host_in_limit(host)]

    def _host_report(self, host: Host, state: Any) -> report.HostReport | report.Settled:
        if settled := self.settled.get(host.name):
            return settled
        session = self.sessions.get(host.name)
        if session is not None:
            return ending.settled(session, Reached.SURVEY if self.reads_only else Reached.END)
        if self.problem:
            return report.HostReport(host.name, "error", self.problem)
        if host in state.failed_hosts and host not in state.activated_hosts:
            return report.HostReport(host.name, "unreachable", self.reasons.of(host))
        return report.HostReport(host.name, "error", "the run ended before this host was read")

    def finish(self) -> int:
        """Write the report, show the table; the exit code."""
        if self.progress:
            self.progress.end()
        now = datetime.datetime.now(datetime.UTC)
        policies = sorted({session.policy.name for session in self.sessions.values()})
        about = report.Run(
            id=self.id,
            kind=self.kind,
            started=self.started,
            finished=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            policy=", ".join(policies),
            dry=self.dry,
            problem=self.problem,
            docs=self.docs,
            only=self._only_json(),
        )
        result = report.build(about, self.host_reports())
        for step in self.after:
            step(result)
        if self.is_part:
            report_files.write_whole(self.directory / "report.json", packed.pack(result).decode())
            self.written = True
            return int(result["exit_code"])
        if self.kind == "runs":  # it judged nothing: an earlier report stays what it is
            problems = []
        elif problems := report_files.write(self.directory, result):
            result["run"]["problem"], result["exit_code"] = clean_text("; ".join(problems)), 1
            report_files.write(self.directory, result)  # what can be written says the same
        show(terminal.render_table(result, color=terminal.wants_color(_output()), width=terminal_width()))
        self.written = not problems and self.kind != "runs"
        if self.written:
            show(f"report: {self.directory / 'report.json'}")
        return int(result["exit_code"])

    def _only_json(self) -> dict[str, Any] | None:
        only = self.only
        return {"asked": list(only.asked), "controls": len(only.controls), "of": only.of} if only else None

    def receipted(self, code: int) -> None:
        """Tell whoever started this process how the run ended, where they asked for it."""
        if self.receipt:
            path = str((self.directory / "report.json").absolute()) if self.written else None
            row = {"run": self.id, "exit_code": code, "report": path, "stopped": self._stops_others()}
            report_files.write_whole(Path(self.receipt), json.dumps(row))


def new_id(now: datetime.datetime) -> str:
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def names(value: Any) -> tuple[str, ...]:
    """`a,b` or a list, as pyinfra's data holds it, to names."""
    if value is None:
        return ()
    items = value.split(",") if isinstance(value, str) else list(value)
    return tuple(str(item).strip() for item in items if str(item).strip())


def _output() -> Any:
    """Where people read: stdout, unless pyinfra's --json owns it."""
    return sys.stderr if command_line().get("json_output") else sys.stdout


def show(text: str) -> None:
    print(text, file=_output(), flush=True)


def terminal_width() -> int:
    try:
        return os.get_terminal_size(_output().fileno()).columns
    except (OSError, ValueError):
        return 120


def begin(kind: report.Kind) -> Run:
    """The run of this process; it ends when the process does."""
    global _run
    if _run is None:
        incoming.install()
        _run = Run(kind)
        atexit.register(_end)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup(1) has it ignored
                signal.signal(number, _exit)
        if _run.reads_only and (_run.dry or _run.alone) and not _can_ask():
            sys.stdin = io.StringIO("\n" * 1000)  # pyinfra asks before it goes on: nothing is changed, so it may
        _run.check_options()
        if ctx_host.isset():  # called by a deploy, so hosts are connected already
            state = ctx_state.get()
            _run.reasons.ask_again(state.failed_hosts - state.activated_hosts)
    if _run.kind != kind:
        _run.problem = f"{_run.kind} and {kind} cannot be one run: start one after the other"
        raise PyinfraError(_run.problem)
    return _run


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _exit(number: int, frame: Any) -> None:
    """End as Ctrl-C does: pyinfra disconnects, and the run reports what was done."""
    sys.exit(1)


def current() -> Run:
    """The run that has begun."""
    assert _run is not None
    return _run


def begin_from_command_line() -> None:
    """Begin before any host is connected, where the command line names one of our entry points: a run in which no
    host can be reached, or whose inventory or limit is empty, gets its report and its exit code too."""
    for word in command_line().get("operations") or ():
        if kind := _entry_point(word):
            begin(kind)


def _entry_point(word: str) -> report.Kind | None:
    """The kind of run that an operation of pyinfra's command line begins; None where it is none of ours."""
    path = Path(word).resolve()
    return KINDS.get(path.stem) if path == ROOT / "deploys" / f"{path.stem}.py" else None


def _end() -> None:
    """At exit: the report, then the process ends with our code (an atexit handler cannot set it otherwise)."""
    assert _run is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the end is short; proofs that run in it get the signal themselves
    code = 1
    try:
        code = _run.finish()
        _run.receipted(code)
    except BaseException as error:
        said = clean_text(f"{type(error).__name__}: {error}")
        print(f"hullproof: the run could not be reported ({said})", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def show_plan(session: Session) -> None:
    """The host's plan in plain words, with pyinfra's --diff the files too. Says nothing where nothing is wanted."""
    if not session.changes and not session.unknown:
        return
    with session.keeping("the plan cannot be shown"):
        diff = bool(session.host.state.config.DIFF)
        view = plan_view.PlanView(terminal.wants_color(_output()), diff, terminal_width())
        show(view.render(session.host.name, steps=session.steps, blocked=session.blocked, unknown=session.unknown))


def show_undo(session: Session) -> None:
    """What a rollback will take back on the host."""
    with session.keeping("what would be rolled back cannot be shown"):
        show(render_undo(session.host.name, session.undoing, session.errors))
