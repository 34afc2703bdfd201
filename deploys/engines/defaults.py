"""What an engine gives the containers that are made from now on: rows that are judged by its files, and put right in
one file of hullproof's that the engine reads. Containers that are there keep what they have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from deploys.core.change import Blocked, Change, Context, by_hand, mending
from deploys.core.control import Control, Impact, Severity, State, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy, Rules
from facts.core.fact import SectionFact
from facts.core.survey import Survey

Reading = TypeVar("Reading")
P = TypeVar("P", bound=Rules)
Put = Mapping[str, Any]  # what is written, by the names that the engine's own file has


def nothing(reading: Any, wanted: Any) -> Put:
    """For what hullproof does not set."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Default(Generic[Reading]):
    """Something that an engine gives containers; `name` is the policy's key, too. `wrong` says what is against what the
    policy wants, "" if nothing, and `beside` what is missing elsewhere on the host; `put` is what would be right, {}
    where hullproof sets nothing: then `by_hand`. `first`: what has to be done before, or is in the way. `against`: why
    it does not apply on this host, "" where it does."""

    name: str
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    wrong: Callable[[Reading, Any], str]
    put: Callable[[Reading, Any], Put]
    by_hand: str
    beside: Callable[[Survey], str] = lambda survey: ""
    first: Callable[[Context], Iterable[Change]] = lambda context: ()
    against: Callable[[Survey, Policy], str] = lambda survey, policy: ""

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    def wanted(self, rules: Rules) -> Any:
        """What the policy says; None for nothing."""
        return getattr(rules, self.key)


@dataclass(frozen=True, kw_only=True)
class Defaults(Generic[Reading, P]):
    """The rows of an engine. `later`: files that the engine reads after hullproof's, and that set one of these.
    `pending`: why a daemon does not know yet what its files say, "" where it does, or where there is no daemon.
    `named`: what the plan calls a key of what is written."""

    subject: str
    shown: str
    fact: type[SectionFact[Reading]]
    rules: type[P]
    installed: Callable[[Reading], bool]
    rows: tuple[Default[Reading], ...]
    files: tuple[str, ...]
    packages: tuple[str, ...]
    write: Callable[[Context, Put, str], Iterable[Change]]
    later: Callable[[Reading, Put], Iterable[str]] = lambda reading, put: ()
    pending: Callable[[Reading], str] = lambda reading: ""
    named: Callable[[str], str] = lambda key: key.partition(".")[2] or key
    impact: Impact = Impact.NONE

    def controls(self) -> tuple[Control, ...]:
        return tuple(self._control(row) for row in self.rows)

    def _control(self, row: Default[Reading]) -> Control:
        return Control(
            id=self._id(row),
            title=row.title,
            severity=row.severity,
            why=row.why,
            check=partial(self._check, row),
            references=row.references,
            impact=self.impact,
            by_hand=row.by_hand,
            files=self.files,
            packages=self.packages,
        )

    def _id(self, row: Default[Reading]) -> str:
        return f"{self.subject}.{row.name}"

    def absent(self, survey: Survey, policy: Policy) -> str | None:
        return None if self.installed(survey[self.fact]) else f"{self.shown} is not installed"

    def _check(self, row: Default[Reading], survey: Survey, policy: Policy) -> Verdict:
        reading, wanted, key = survey[self.fact], row.wanted(policy[self.rules]), f"{self.subject}.{row.key}"
        if why := self.absent(survey, policy):
            return not_applicable(why)
        if wanted is None:
            return not_applicable(f"the policy does not declare {key}")
        if why := row.against(survey, policy):
            return not_applicable(why)
        if wrong := row.wrong(reading, wanted) or row.beside(survey):
            later = [each for each in dict.fromkeys(self.later(reading, row.put(reading, wanted))) if each not in wrong]
            wrong += f", as {some(later)} counts after hullproof's file" if later else ""
            return failed(f"{wrong}; the policy wants {_say(wanted)} ({key})", declared=wanted, disk=wrong, live=wrong)
        if pending := self.pending(reading):
            return Verdict(State.PENDING_RESTART, pending, declared=wanted, disk=wanted)
        return passed("new containers get what the policy wants", declared=wanted, disk=wanted, live=wanted)

    def plan(self, context: Context) -> Iterator[Change]:
        """All that can be set is written at once."""
        together: dict[str, Any] = {}
        mended: list[str] = []
        for row in self.rows:
            if not context.failing(self._id(row)):
                continue
            if context.findings[self._id(row)].state is State.PENDING_RESTART:
                mended.append(self._id(row))
                continue
            put = row.put(context.survey[self.fact], row.wanted(context.policy[self.rules]))
            before = list(mending([self._id(row)], self._before(row, put, context)))
            yield from before
            if put and not any(isinstance(change, Blocked) for change in before):
                together |= put
                mended.append(self._id(row))
        if mended:
            yield from mending(mended, self.write(context, together, self._what(together)))

    def _before(self, row: Default[Reading], put: Put, context: Context) -> Iterable[Change]:
        if not put:
            return [by_hand(context.findings[self._id(row)])]
        if later := list(self.later(context.survey[self.fact], put)):
            why = f"{some(later)} is read after hullproof's file: remove it there"
            return [Blocked(self.subject, self._what(put), why=why)]
        return row.first(context)

    def _what(self, put: Put) -> str:
        said = dict.fromkeys(f"{self.named(key)}={_say(value)}" for key, value in put.items())
        return f"have {self.shown} give new containers {some(said, 20) or 'what its files say'}"


def _say(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
