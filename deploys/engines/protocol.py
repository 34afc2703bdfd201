"""What subjects ask of a container engine that has to change, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from deploys.core.change import Change, Context
from deploys.core.control import State
from deploys.core.policy import Policy
from facts.containers import Container
from facts.core.survey import Survey
from facts.engines.shapes import EngineReading


class NetworkEngine(Protocol):
    """An engine with networks. What it cannot or may not do now is a Blocked change."""

    def reading(self, survey: Survey) -> EngineReading: ...

    def keep_default_apart(self, context: Context, subject: str) -> Change:
        """Containers on its default network stop reaching each other."""

    def keep_later_apart(self, context: Context, subject: str) -> Change:
        """The same for networks that are created later, without an option against it."""

    def write_rules_again(self, context: Context, subject: str) -> Change:
        """It writes its firewall rules, which are missing."""

    def why_called(self, context: Context) -> str:
        """Why it passes bridged frames through iptables at each start; "" where it does not."""


class StartingEngine(Protocol):
    """An engine that gives its containers a profile and a filter when they start. `rule` is one of the subject
    containers: `confined` or `seccomp`; the containers are root's own."""

    name: str  # as in Container.engine

    def mends(self, rule: str, container: Container, survey: Survey, policy: Policy) -> State | None:
        """What gives a container, which is against the rule, what the engine gives those that start now:
        PENDING_RESTART or PENDING_REBOOT; FAIL where the engine has to change first; None: its owner has to recreate
        it."""

    def refused_calls(self, container: Container, survey: Survey, policy: Policy) -> tuple[str, ...]:
        """The system calls that its default filter, as the policy wants it, refuses to such a container."""

    def start_again(self, context: Context, rule: str, containers: Sequence[Container]) -> Iterable[Change]:
        """These containers start again, and get what the engine gives now. What may not be done is Blocked."""
