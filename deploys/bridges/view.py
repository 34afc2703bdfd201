"""A host's bridges as one policy wants them: computed once for each policy and survey, for all checks and plans."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deploys.bridges.managers.files import files_for
from deploys.bridges.nft_filter import filter_text
from deploys.bridges.rules import BridgesRules, Segment, segments, without_metadata
from deploys.bridges.wanted import WantedBridge, wanted
from deploys.core.policy import Policy
from facts.core.fact import SectionFact
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines import present
from facts.engines.shapes import EngineReading
from facts.networks.bridges import IFUPDOWN, MANAGED, NETWORKD, NETWORKMANAGER, Bridges, BridgesReading
from facts.networks.networks import Networks, NetworksReading

READ: tuple[type[SectionFact[Any]], ...] = (Bridges, Networks, *present.FACTS)  # what a view is made from


@dataclass(frozen=True, eq=False)
class BridgesView:
    """A property that needs a reading which is unknown raises UnknownReading when it is read, not earlier."""

    rules: BridgesRules
    survey: Survey

    @property
    def reading(self) -> BridgesReading:
        return self.survey[Bridges]

    @property
    def networks(self) -> NetworksReading:
        return self.survey[Networks]

    @property
    def engines(self) -> tuple[EngineReading, ...]:
        return present.engines(self.survey)

    @property
    def engine_networks(self) -> dict[str, str]:
        """By bridge: the network of an engine that it belongs to, as a sentence names it. These are each host's own, so
        whoever asks once more has asked for that too."""
        return self.survey.remember("engine networks", self._engine_networks)

    def _engine_networks(self) -> dict[str, str]:
        found = ((engine.name, engine.by_bridge) for engine in self.engines)
        return {bridge: f"the {name} network {net.name}" for name, nets in found for bridge, net in nets.items()}

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(segments(self.rules))

    @cached_property
    def wanted(self) -> tuple[WantedBridge, ...]:
        return tuple(wanted(self.rules))

    @cached_property
    def without_metadata(self) -> BridgesView:
        """The same host and policy, but for the rule that closes the metadata addresses."""
        return BridgesView(without_metadata(self.rules), self.survey)

    @cached_property
    def manager(self) -> str | None:
        """The network manager: that of the device with the default route, or else one that runs."""
        devices = map(self.reading.device, self.networks.default_devices)
        found = [*(device.managed for device in devices if device), *known(self.networks.managers)]
        return next((name for name in found if name in (NETWORKD, IFUPDOWN, NETWORKMANAGER)), None)

    @cached_property
    def files(self) -> dict[str, str]:
        """The manager's files that the policy wants, by path."""
        return files_for(self.manager, self.wanted) if self.manager else {}

    @cached_property
    def stale_files(self) -> dict[str, str]:
        """hullproof's own files, of whichever manager, that the policy no longer wants."""
        there = self.reading.files.items()
        return {path: known(text) or "" for path, text in there if path.startswith(MANAGED) and path not in self.files}

    @property
    def wants_filter(self) -> bool:
        rules = self.rules
        return bool(rules.networks or rules.metadata or rules.isolated_engines or rules.guarded_engines)

    @cached_property
    def filter_text(self) -> str:
        """The nft rules file."""
        return filter_text(self.rules)

    def file(self, path: str) -> str | None:
        """The text of one of hullproof's own files on the host; None where there is no such file."""
        return known(self.reading.files.get(path))

    def file_fault(self, path: str) -> str:
        """A clause for a finding about a file that is not what it should be."""
        return f"{path} does not exist" if self.file(path) is None else f"{path} differs from the policy"


def view_of(rules: BridgesRules, survey: Survey) -> BridgesView:
    """One view for each pair of them. It keeps the rules alive, so that their id stays theirs."""

    def view() -> BridgesView:
        for fact in READ:  # it reads when it is asked, and only then: later, for another control, it does not again
            survey.get(fact)
        return BridgesView(rules, survey)

    return survey.remember(("view", id(rules)), view)


def bridges_view(survey: Survey, policy: Policy) -> BridgesView:
    return view_of(policy[BridgesRules], survey)
