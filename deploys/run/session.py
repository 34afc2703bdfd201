"""What is known of one host in one run, and what was done to it: the state that looking, planning, executing, undoing
and reporting share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from pyinfra.api.host import Host

from deploys.core.change import Blocked, Change, Context, Subject
from deploys.core.control import Finding, State
from deploys.core.policy import Policy
from deploys.run import transport
from deploys.run.only import Only, asked_for
from deploys.run.steps import Step
from deploys.run.undo_plan import UndoPlan
from facts.core.survey import Survey

ERROR = 300  # characters of an exception's words


class Reached(IntEnum):
    """How far a run came on a host."""

    NOTHING = 0
    SURVEY = 1  # judged
    PLAN = 2  # there is something to do
    CHANGE = 3  # it was begun: what the survey said is no longer so
    END = 4  # surveyed again, or nothing was to be done


@dataclass(eq=False)
class Session:
    """One host. It is a `transport.Connection`."""

    host: Host
    policy: Policy
    subjects: Sequence[Subject]
    run: dict[str, Any]
    asking: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext  # says meanwhile who is waited for
    only: Only | None = None  # the part of the controls that the run is to judge; None: all of them
    survey: Survey | None = None
    findings: list[Finding] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)  # the plan, what is blocked included
    steps: list[Step] = field(default_factory=list)  # the part of the plan that is executed
    undoing: UndoPlan | None = None
    begun: list[Step] = field(default_factory=list)
    entries: int = 0  # in the journal of this run
    done: list[dict[str, Any]] = field(default_factory=list)  # as the report has it
    made: list[Change] = field(default_factory=list)  # what of the plan was made, all of its step with it
    unmade: set[str] = field(default_factory=set)  # the subjects of which something was not
    wrong: set[str] = field(default_factory=set)  # the controls that did not hold when the plan was made
    errors: list[str] = field(default_factory=list)
    lost: bool = False
    refused: bool = False
    reached: Reached = Reached.NOTHING

    def refuse(self, why: str) -> None:
        """Leave the host alone: what was asked for it makes no sense."""
        self.errors.append(why)
        self.refused = True

    @property
    def blocked(self) -> list[Blocked]:
        return [change for change in self.changes if isinstance(change, Blocked)]

    @property
    def unknown(self) -> list[str]:
        """The controls of which nothing is known here, so that nothing is planned for them."""
        found = asked_for(self.only, self.findings)
        return [finding.control.id for finding in found if finding.state is State.UNKNOWN]

    def context(self, survey: Survey) -> Context:
        """What the subjects plan from."""
        return Context(survey, self.policy, {finding.control.id: finding for finding in self.findings})

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

    def execute(self, script: str, seconds: int) -> Sequence[str]:
        """What the host answers to `script`; Unreachable where it does not."""
        return transport.execute(self.host, script, seconds)

    def reconnect(self) -> None:
        """A fresh connection; Unreachable where there is none."""
        transport.reconnect(self.host)
