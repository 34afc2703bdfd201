"""The policy: what must hold on a host. Each subject brings its own rules; here they become one validated whole."""

from __future__ import annotations

import datetime
import json
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from facts.core import asked

R = TypeVar("R", bound="Rules")


class Rules(BaseModel):
    """One subject's part of the policy. A key that no field names is an error; a subject's class gives the fields,
    each with a description (they become the JSON Schema that editors complete from)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Waiver(BaseModel):
    """A finding accepted by name until a day, with an owner and a reason."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True)

    control: str = Field(description="The control's id, as reports and docs/reference/controls.md give it.")
    reason: str = Field(min_length=1, description="Why the finding is accepted.")
    owner: str = Field(min_length=1, description="Who answers for it.")
    until: datetime.date = Field(description="The last day it is accepted (UTC); past it the finding fails again.")
    only: list[str] | None = Field(
        None,
        min_length=1,
        description="What of the finding is accepted, by name: containers, as the keys of `containers` name them "
        "(`web`, `podman:web`, `image:registry.example/web`, `1000/web`, `user:1000`). Whatever else the finding "
        "lists goes on failing.",
    )

    @property
    def days(self) -> int:
        """How many days it still holds after today; below 0 it is past."""
        return (self.until - datetime.datetime.now(datetime.UTC).date()).days

    @property
    def expired(self) -> bool:
        return self.days < 0


class Policy:
    """A validated policy. `policy[DockerRules]` is a subject's part."""

    def __init__(
        self,
        name: str,
        rules: dict[type[Rules], Rules],
        waivers: tuple[Waiver, ...] = (),
        accept: frozenset[str] = frozenset(),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.rules = rules
        self.waivers = waivers
        self.accept = accept
        self.notes = notes  # what its author should know, such as that a key has another name now
        self.outcomes: dict[int, tuple[object, list[Any]]] = {}  # of `deploys.core.alike`

    @cached_property
    def plain(self) -> dict[str, Any]:
        """What it demands, as JSON values that `like` reads."""
        return {kind.__name__: rules.model_dump(mode="json", by_alias=True) for kind, rules in self.rules.items()}

    def like(self, plain: Any) -> Policy | None:
        """The policy of the same subjects that demanded this, without waivers; None where it makes no sense today."""
        try:
            rules = {kind: kind.model_validate_json(json.dumps(plain[kind.__name__])) for kind in self.rules}
        except (TypeError, KeyError, ValueError):
            return None
        return Policy(self.name, rules, accept=self.accept)

    def __getitem__(self, kind: type[R]) -> R:
        found: Any = self.rules[kind]
        return found  # type: ignore[no-any-return]

    def waivers_for(self, control: str) -> tuple[Waiver, ...]:
        """Those that count for a control: of those for all of it the one with the latest last day, and those that name
        what they are for."""
        own = [waiver for waiver in self.waivers if waiver.control == control]
        whole = max((waiver for waiver in own if waiver.only is None), key=lambda waiver: waiver.until, default=None)
        return tuple(waiver for waiver in own if waiver.only is not None or waiver is whole)

    def waived_by_name(self, control: str) -> dict[str, Waiver]:
        """The waivers that have not expired, by each name that they cover. Which these are changes in a run that lasts
        past midnight, so that what comes of them is no other host's too."""
        named = [waiver for waiver in self.waivers_for(control) if waiver.only]
        if named:
            asked.note_alone()
        return {name: waiver for waiver in named if not waiver.expired for name in waiver.only or ()}
