"""One run of an entry point over its hosts: it knows each host's session, writes the report, decides the exit code.

pyinfra loads a deploy file once per connected host and ends the process itself, so the run ends in an atexit handler:
only there every host's end is known, the unreachable ones included.
"""

from __future__ import annotations

import atexit
import datetime
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host
from pyinfra.context import ctx_host, ctx_state

from deploys.engine import plan_view, report, terminal
from deploys.engine.change import Blocked
from deploys.engine.command_line import command_line
from deploys.engine.policy import Policy
from deploys.engine.policy_file import load_policy
from deploys.engine.policy_tree import PolicyError
from deploys.engine.reboot import BATCH, CANARY, batches
from deploys.engine.session import Session
from deploys.engine.undo_view import render_undo
from deploys.subjects import SUBJECTS

KINDS: tuple[report.Kind, ...] = ("drift", "harden", "provision", "rollback")
ROOT = Path(__file__).resolve().parents[2]

_run: Run | None = None


class Run:
    """What one invocation does, on all its hosts."""

    def __init__(self, kind: report.Kind) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.kind = kind
        self.id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.started = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        self.sessions: dict[str, Session] = {}
        self.error: str | None = None
        self.policies: dict[str, Policy] = {}
        given = dict(pair.partition("=")[::2] for pair in command_line().get("data") or ())
        self.directory = Path(given.get("report", "reports"))
        self.stopped = ""  # why nobody reboots any more
        self.rebooted: set[str] = set()  # whose turn has come
        self.after: list[Any] = []  # called with the report before the process ends, may raise the exit code

    def meta(self, policy: str) -> dict[str, Any]:
        """What heads the journal of this run on a host."""
        return {"id": self.id, "kind": self.kind, "started": self.started, "policy": policy}

    def session(self) -> Session:
        """The session of the host at hand: its policy is loaded, nothing has been executed yet."""
        host: Host = ctx_host.get()  # the host itself: pyinfra.host changes with the context
        self.directory = Path(str(host.data.get("report", self.directory)))
        try:
            policy = self.policy(str(host.data.get("policy", "baseline")), names(host.data.get("accept")))
        except PolicyError as error:
            self.error = str(error)
            raise
        self.sessions[host.name] = Session(host, policy, SUBJECTS, self.meta(policy.name))
        return self.sessions[host.name]

    def policy(self, name: str, accept: tuple[str, ...]) -> Policy:
        key = f"{name} {accept}"
        if key not in self.policies:
            self.policies[key] = load_policy(name, SUBJECTS, extra_accept=accept)
        return self.policies[key]

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
        hosts = [each for each in host.state.inventory if host.state.is_host_in_limit(each) and CANARY in each.groups]
        return next((why for each in hosts if (why := self._warning(each.name))), "")

    def _warning(self, canary: str) -> str:
        session = self.sessions.get(canary)
        if session is None or session.lost:
            return f"the canary {canary} is out of reach"
        if session.errors:
            return f"something failed on the canary {canary}"
        if session.steps_named("reboot") and canary not in self.rebooted:  # pyinfra's --serial has an order of its own
            return f"the canary {canary} goes first, and has not yet: run again, best without --serial"
        warned = [change for change in session.changes if isinstance(change, Blocked) and change.warns]
        return f"the canary {canary} warns: {warned[0].why}" if warned else ""

    def host_reports(self) -> list[report.HostReport]:
        """Every host of the inventory that the limit covers, with how it ended."""
        state = ctx_state.get() if ctx_state.isset() else None
        inventory = getattr(state, "inventory", None)
        if state is None or inventory is None:
            return []
        return [self._host_report(host, state) for host in inventory if state.is_host_in_limit(host)]

    def _host_report(self, host: Host, state: Any) -> report.HostReport:
        session = self.sessions.get(host.name)
        if session is not None:
            return session.report()
        if host not in state.activated_hosts:
            return report.HostReport(host.name, "unreachable", "no connection could be made")
        return report.HostReport(host.name, "error", self.error or "the run ended before this host was read")

    def finish(self) -> int:
        """Write the report, show the table; the exit code."""
        now = datetime.datetime.now(datetime.UTC)
        policies = sorted({session.policy.name for session in self.sessions.values()})
        about = report.Run(self.id, self.kind, self.started, f"{now:%Y-%m-%dT%H:%M:%SZ}", ", ".join(policies))
        result = report.build(about, self.host_reports())
        for step in self.after:
            step(result)
        report.write(self.directory, result)
        show(terminal.render_table(result, color=terminal.wants_color(_output()), width=terminal_width()))
        show(f"report: {self.directory / 'report.json'}")
        return int(result["exit_code"])


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
        _run = Run(kind)
        atexit.register(_end)
    return _run


def current() -> Run:
    """The run that has begun."""
    assert _run is not None
    return _run


def begin_from_command_line() -> None:
    """Begin before any host is connected, where the command line names one of our entry points: a run in which no
    host can be reached, or whose inventory or limit is empty, gets its report and its exit code too."""
    asked = [Path(word).resolve() for word in command_line().get("operations") or ()]
    for kind in KINDS:
        if ROOT / "deploys" / f"{kind}.py" in asked:
            begin(kind)


def _end() -> None:
    """At exit: the report, then the process ends with our code (an atexit handler cannot set it otherwise)."""
    assert _run is not None
    try:
        code = _run.finish()
    except Exception as error:
        print(f"hullproof: the report could not be written: {error}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def show_plan(session: Session) -> None:
    """The host's plan in plain words, with pyinfra's --diff the files too. Says nothing where nothing is wanted."""
    if session.changes:
        diff = bool(session.host.state.config.DIFF)
        color = terminal.wants_color(_output())
        show(plan_view.render_plan(session.host.name, session.changes, color=color, diff=diff))


def show_undo(session: Session) -> None:
    """What a rollback will take back on the host."""
    show(render_undo(session.host.name, session.undoing, session.errors))
