"""The policy: what must hold on a host. Each subject brings its own rules; here they become one validated whole."""

from __future__ import annotations

import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

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

    def __getitem__(self, kind: type[R]) -> R:
        found: Any = self.rules[kind]
        return found  # type: ignore[no-any-return]

    def waiver_for(self, control: str) -> Waiver | None:
        """The waiver with the latest last day, if any names this control."""
        named = [waiver for waiver in self.waivers if waiver.control == control]
        return max(named, key=lambda waiver: waiver.until, default=None)
