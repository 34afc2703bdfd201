"""One host in one run: survey, judge, plan, execute, survey again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Any

from pyinfra.api.host import Host

from deploys.core.change import Blocked, Change, Context, Install, Reboot, Service, Subject
from deploys.core.control import Finding, State, judge, some
from deploys.core.policy import Policy
from deploys.core.text import clean
from deploys.report import waivers
from deploys.report.report import HostReport, Status, change_json
from deploys.run import again, baseline, journal, planning, transport
from deploys.run.confirm import await_revert, confirmed
from deploys.run.logins import logins
from deploys.run.reboot import wait
from deploys.run.steps import PACKAGES, Step
from deploys.run.undo_plan import UndoPlan
from facts.core.fact import SectionFact
from facts.core.frame import survey_script
from facts.core.reading import UnknownReading
from facts.core.record import Record, RecordReading
from facts.core.survey import Survey
from facts.core.system import System, SystemReading
from facts.kernel.kernel import Kernel, KernelReading

SURVEY_SECONDS = 180
STEP_SECONDS = 1800  # an installation on a slow host
ERROR = 300  # characters of an exception's words
FOLLOWS = (journal.NOT_REACHED, journal.PUT_BACK)  # from what failed in the same step


class Reached(IntEnum):
    """How far a run came on a host."""

    NOTHING = 0
    SURVEY = 1  # judged
    PLAN = 2  # there is something to do
    CHANGE = 3  # it was begun: what the survey said is no longer so
    END = 4  # surveyed again, or nothing was to be done


class Session:
    """What is known of one host, and what was done to it."""

    def __init__(self, host: Host, policy: Policy, subjects: Sequence[Subject], run: dict[str, Any]) -> None:
        self.host = host
        self.policy = policy
        self.subjects = subjects
        self.run = run
        self.survey: Survey | None = None
        self.findings: list[Finding] = []
        self.changes: list[Change] = []
        self.steps: list[Step] = []
        self.done: list[dict[str, Any]] = []
        self.made: list[Change] = []  # what of the plan was made, all of its step with it
        self.unmade: set[str] = set()  # the subjects of which something was not
        self.wrong: set[str] = set()  # the controls that did not hold when the plan was made
        self.errors: list[str] = []
        self.lost = False
        self.entries = 0
        self.undoing: UndoPlan | None = None
        self.reached = Reached.NOTHING
        self.refused = False
        self.begun: list[Step] = []

    @property
    def facts(self) -> list[type[SectionFact[Any]]]:
        """Every fact that some subject reads, each once; the host itself and our record first."""
        asked = [fact for subject in self.subjects for fact in subject.facts]
        return list(dict.fromkeys([System, Record, *asked]))

    def refuse(self, why: str) -> None:
        """Leave the host alone: what was asked for it makes no sense."""
        self.errors.append(why)
        self.refused = True

    def look(self) -> None:
        """Survey the host (one execution) and judge what it says. A host that does not answer is lost, not judged."""
        if self.refused:
            return
        transport.tune(self.host)
        try:
            lines = transport.execute(self.host, survey_script(self.facts), SURVEY_SECONDS)
        except transport.Unreachable as error:
            self.lost = not isinstance(error, transport.Overflow)
            self.errors.append(str(error))
            return
        self.lost = False
        with self.keeping("survey"):
            survey = Survey.parse(self.facts, lines)
            controls = [control for subject in self.subjects for control in subject.controls]
            findings = judge(controls, survey, self.policy)
            # What this run itself has moved is no drift.
            self.findings = findings if self.done else baseline.with_drift(findings, survey)
            self.survey = survey
            self.reached = max(self.reached, Reached.SURVEY)

    def plan(self) -> None:
        """What to change, from the findings: `changes` to show and `steps` to execute. Executes nothing."""
        if self.survey is not None and self.may_change(self.survey):
            context = self._context(self.survey)
            self.wrong |= set(context.which(*context.findings))
            self._take(planning.make(self.subjects, context))
        if self.reached < Reached.CHANGE:
            self.reached = Reached.PLAN if self.steps else Reached.END

    def begin_with(self, changes: Sequence[Change]) -> None:
        """A plan of these changes alone: the rest can only be planned when they are done."""
        if self.survey is not None and self.may_change(self.survey):
            self._arrange(changes)
            self.reached = Reached.PLAN

    def _context(self, survey: Survey) -> Context:
        return Context(survey, self.policy, {finding.control.id: finding for finding in self.findings})

    def _arrange(self, changes: Iterable[Change]) -> None:
        self._take(planning.arranged(changes, [subject.name for subject in self.subjects]))

    def _take(self, plan: planning.Plan) -> None:
        self.changes, self.steps = list(plan.changes), list(plan.steps)
        self.errors += plan.errors

    @property
    def blocked(self) -> list[Blocked]:
        return [change for change in self.changes if isinstance(change, Blocked)]

    @property
    def unknown(self) -> list[str]:
        """The controls of which nothing is known here, so that nothing is planned for them."""
        return [finding.control.id for finding in self.findings if finding.state is State.UNKNOWN]

    def may_change(self, survey: Survey) -> bool:
        try:
            root = survey[System].uid == 0
        except UnknownReading as error:
            self.errors.append(f"cannot tell who we are on this host, so nothing is changed: {error}")
            return False
        if not root:
            self.errors.append("not root here, and sudo is missing or asks for a password: nothing can be changed")
        return root

    def steps_named(self, name: str) -> list[Step]:
        """The subject's step, or with `services` every service's; none where there is nothing to do."""
        return [step for step in self.steps if ("services" if step.service else step.name) == name]

    @contextlib.contextmanager
    def keeping(self, what: str) -> Iterator[None]:
        """An exception in here is this host's error, so that the host is surveyed again all the same."""
        try:
            yield
        except Exception as error:
            self.errors.append(f"{what}: {type(error).__name__}: {error}"[:ERROR])

    def execute(self, step: Step) -> bool:
        """Execute one step; whether all of it was done. What failed is kept in `errors`, other subjects may go on."""
        self.reached = Reached.CHANGE
        self.begun.append(step)
        try:
            made = self._execute(step)
        except journal.Refused as error:  # nor would the host let any other step change it
            self.errors.append(str(error))
            self.host.log_styled(f"failed: {error}", fg="red")
            self._arrange(self.blocked)
            return False
        if made:
            self.made += step.makes
        else:
            self.unmade |= {change.subject for change in step.makes}
        if not made and not step.service:
            self._leave(step)
        return made

    def _leave(self, step: Step) -> None:
        """A subject ends where one of its changes failed: what it wants of a service could stand on that one."""
        needed = {change.subject for change in self.changes if isinstance(change, Install)}
        ended = needed if step.name == PACKAGES else {step.name}
        self._arrange(change for change in self.changes if change.subject not in ended or isinstance(change, Blocked))
        if step.name == PACKAGES:
            self.errors.append(f"{', '.join(sorted(ended))}: nothing was changed, for want of packages")

    def _execute(self, step: Step) -> bool:
        compiled = journal.compile_step(step, self.run, self.entries + 1)
        self.entries += len(compiled.entries)
        before, sessions = len(self.done), logins(self.host) if step.armed else frozenset()
        try:
            lines = transport.execute(self.host, compiled.script, STEP_SECONDS)
        except transport.Unreachable as error:
            self.errors.append(f"{step.name}: {error}; what was begun on the host goes on there, run again to see")
            if step.armed:
                await_revert(self, self.run["id"], step.name)
            return False
        outcomes = compiled.outcomes(lines)
        told_first = sorted(outcomes, key=lambda entry: outcomes[entry].error in FOLLOWS)
        made = all([self._note(step, entry, compiled.entries[entry], outcomes[entry].error) for entry in told_first])
        if not step.armed:
            return made
        if not made:
            self.errors.append(f"{step.name}: what it had changed until then was taken back")
        if made and self._made_to_last(step, sessions):
            return True
        del self.done[before:]
        return False

    def _made_to_last(self, step: Step, sessions: frozenset[str]) -> bool:
        """Confirm an armed step over a fresh connection; where there is none, wait until the host took it back."""
        script = journal.confirm_script(self.run["id"])
        return bool(confirmed(self, step.name, self.run["id"], script, sessions, SURVEY_SECONDS))

    def _note(self, step: Step, entry: str, change: Change | Service, error: str) -> bool:
        what = f"{change.name} takes up its settings" if isinstance(change, Service) else change.what
        if error in FOLLOWS and any(each.startswith(f"{step.name}: ") for each in self.errors):
            return False  # what stopped the step has been told
        if error:
            self.errors.append(f"{step.name}: {what}: {error}")
            self.host.log_styled(f"failed: {what}: {error}", fg="red")
            return False
        self.host.log(f"done: {what}")
        entry = f"{self.run['id']}/{entry}"
        if isinstance(change, Service):
            self.done.append({"subject": step.name, "what": what, "journal": entry})
        else:
            self.done.append(change_json(change, entry))
        return True

    def reboot(self, step: Step) -> bool:
        """Reboot the host and wait until it has come to rest; whether it came back well. Not where something failed."""
        if self.errors:
            self.errors.append("not rebooted, since something failed before")
            return True
        if not self.execute(step):
            return False
        well = True
        for change in step.changes:
            if isinstance(change, Reboot):
                well, said = wait(self, change)
                self.host.log_styled(f"{'back' if well else 'failed'}: {said}", fg="green" if well else "red")
                if not well:
                    self.unmade.add(change.subject)
                    self.errors.append(f"reboot: {said}")
        return well

    def reconnect(self) -> None:
        """A fresh connection; Unreachable where there is none."""
        self.host.disconnect()
        client = getattr(self.host.connector, "client", None)
        if client is not None:
            client.close()
        self.host.connect(reason="again, after a change", show_errors=False, raise_exceptions=False)
        if not self.host.connected:
            raise transport.Unreachable("no connection could be made")

    def confirm(self) -> bool:
        """Survey again after the changes; keep the baseline. Whether the host answers and nothing failed. Without a new
        survey nothing is known of the host as it is now, and nothing is kept."""
        before = self.survey
        self.look()
        if self.lost:
            with contextlib.suppress(transport.Unreachable):
                self.reconnect()
                self.look()
        if not self.lost:
            read = self.survey is not before
            script = self._keep_script() if read else journal.ended_script(self.run["id"])
            try:
                transport.execute(self.host, script, SURVEY_SECONDS)
            except transport.Unreachable as error:
                self.errors.append(f"the baseline could not be kept: {error}")
            self.reached = Reached.END if read else self.reached
        return not self.errors

    def _keep_script(self) -> str:
        """sh that ends the run on the host: what holds now is the baseline, while anything that we changed is there."""
        record = self.survey.readings.get(Record) if self.survey else None
        changed = not isinstance(record, RecordReading) or record.journals or record.unread
        rows = baseline.baseline_of(self.run, self.findings, self._in_vain())
        return journal.ended_script(self.run["id"]) + (baseline.keep_script(rows) if changed else baseline.DROP)

    def _in_vain(self) -> list[again.Vain]:
        """What was changed in this run and would be changed again; the findings that it was for say so."""
        if self.survey is None or self.undoing:
            return []
        context = self._context(self.survey)
        wanted = planning.wanted(self.subjects, context)
        made = [change for change in self.made if change.subject not in self.unmade]
        vain = again.in_vain(made, wanted, context, self.run["id"], again.kept(self.survey))
        told = again.told(self.findings, made, self.wrong, wanted, vain, self.run["kind"])
        for was, now in zip(self.findings, told, strict=True):
            if now is not was:
                self.host.log_styled(clean(f"{now.control.id}: {now.verdict.reason}"), fg="red")
        self.findings = told
        return vain

    def report(self, wanted: Reached) -> HostReport:
        """How this host ended, in a run that was to come as far as `wanted`. What was read before a change is no word
        on the host as it is after it, so it is left out where no survey followed."""
        untold = self.reached is Reached.CHANGE or not self.errors  # else an error says why it went no further
        errors = [*self.errors, self._cut_off()] if self.reached < wanted and untold and not self.lost else self.errors
        status: Status = "unreachable" if self.lost else "error" if errors else "ok"
        system, kernel = self._identity()
        findings = [] if self.reached is Reached.CHANGE else self._with_next()
        return HostReport(
            self.host.name, status, "; ".join(errors) or None, system, kernel,
            findings, self.done, waivers.of_host(self.policy, findings),
        )  # fmt: skip

    def _cut_off(self) -> str:
        """What a run that ended before its time did here, and what it did not."""
        match self.reached:
            case Reached.NOTHING:
                return "the run ended before this host was read"
            case Reached.SURVEY:
                return "the run ended before its plan was made: nothing was changed"
            case Reached.PLAN:
                return "the run ended before its plan was carried out: nothing was changed"
        left = [step for step in self.steps if step not in self.begun]
        changes = sum(len(step.changes) + bool(step.service) for step in left)
        last = self.undoing.past.run if self.undoing else self.begun[-1].name
        names = f" ({some(step.name for step in left)})" if left else ""
        return (
            f"the run was cut off: {len(self.done)} changes are known to be made, {changes} were not begun{names}; "
            f"what was begun last ({last}) may still go on on the host. Run drift to see how the host is now"
        )

    def _with_next(self) -> list[Finding]:
        """The findings, each that does not hold with what is to be done next: by what harden would plan now."""
        if self.survey is None:
            return self.findings
        context = self._context(self.survey)
        steps = planning.next_steps(planning.make(self.subjects, context), context)
        return [replace(finding, next=steps.get(finding.control.id)) for finding in self.findings]

    def _identity(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.survey is None:
            return {}, {}
        system, kernel = (self.survey.readings.get(fact) for fact in (System, Kernel))
        return (
            {"id": system.id, "version": system.version_id, "name": system.pretty_name}
            if isinstance(system, SystemReading)
            else {},
            {"release": kernel.release, "build": kernel.build} if isinstance(kernel, KernelReading) else {},
        )
