"""Which keys of the policy ask for a control: those that its check reads before it answers that nothing is declared."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache
from typing import Any
from unittest.mock import MagicMock

from deploys.core.change import Subject
from deploys.core.control import Control, State
from deploys.core.policy import Policy, Rules


def demanded_by(control: Control, subjects: Sequence[Subject]) -> list[tuple[type[Rules], str]]:
    """The rules and the fields that the control's check reads where a policy declares nothing, and a host answers
    whatever it is asked. Empty: it is judged whatever the policy says."""
    policy, seen = _noting(tuple(subject.rules for subject in subjects))
    seen.clear()
    verdict: Any = None
    with contextlib.suppress(Exception):  # no reading is what the check wants; which keys it reads is all that counts
        verdict = control.check(_AnyHost(), policy)  # type: ignore[arg-type]
    keys = list(dict.fromkeys(seen))
    return keys[-1:] if verdict is not None and verdict.state is State.NOT_APPLICABLE else keys


class _AnyHost:
    """A survey in which everything is there, and nothing makes sense. It is no container, which would end a check."""

    def __getitem__(self, fact: Any) -> Any:
        return self.get(fact)

    def get(self, fact: Any, default: Any = None) -> Any:
        return MagicMock(container=None, version=None, remember=self.remember)

    def remember(self, what: Any, make: Any) -> Any:
        return make()


@cache
def _noting(every: tuple[type[Rules], ...]) -> tuple[Policy, list[tuple[type[Rules], str]]]:
    """A policy that declares nothing, and the list in which it notes what is read of it. Made once: pydantic takes long
    to make a class."""
    seen: list[tuple[type[Rules], str]] = []
    return Policy("empty", {rules: _reading(rules, seen) for rules in every}), seen


def _reading(rules: type[Rules], seen: list[tuple[type[Rules], str]]) -> Rules:
    """Rules that declare nothing, and note which of their fields are read."""

    class Noting(rules):  # type: ignore[misc, valid-type]
        def __getattribute__(self, name: str) -> Any:
            if name in rules.model_fields:
                seen.append((rules, name))
            return super().__getattribute__(name)

    return Noting()
