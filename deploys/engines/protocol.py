"""What subjects ask of a container engine that has to change, whichever it is."""

from __future__ import annotations

from typing import Protocol

from deploys.core.change import Change, Context
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
