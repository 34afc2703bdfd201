"""What one policy demands more, less, or otherwise than another: by keys, and by the controls that these ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from deploys.core.change import Subject
from deploys.core.control import Control
from deploys.core.policy import Policy, Rules, Waiver
from deploys.subjects import SUBJECTS
from hullproof.knowledge.accepts import ACCEPTS
from hullproof.knowledge.demands import demanded_by
from hullproof.knowledge.policies import declared, declared_for, entry_of, key_of


class Way(StrEnum):
    MORE = "more"
    LESS = "less"
    OTHERWISE = "otherwise"


@dataclass(frozen=True)
class Otherwise:
    """A key that two policies do not say the same at; `before` and `after` are None where nothing is demanded."""

    way: Way
    key: str
    before: Any
    after: Any
    controls: tuple[Control, ...] = ()


def differences(before: Policy, after: Policy) -> list[Otherwise]:
    """In the order of the subjects and of their keys, then waivers and accepted names."""
    keys = [row for subject in SUBJECTS for field in subject.rules.model_fields
            for row in _field(subject, field, before, after)]  # fmt: skip
    return [*keys, *_waivers(before, after), *_accepted(before, after)]


def _field(subject: Subject, field: str, before: Policy, after: Policy) -> Iterator[Otherwise]:
    rules, key = subject.rules, f"{subject.name}.{key_of(subject.rules, field)}"
    was, now = (declared(policy, rules, field) for policy in (before, after))
    if was == now:
        return
    asked = tuple(_asked_by().get((rules, field), ()))
    entries = [control for control in asked if entry_of(control)[1]]  # no other entry is known to these rules
    for control in entries:
        sides = [declared_for(control, policy, rules, field) for policy in (before, after)]
        if sides[0] != sides[1]:
            yield _row(f"{key}: {entry_of(control)[1]}", sides[0], sides[1], (control,))
    if not entries:
        yield from _entries(key, was, now, asked)


def _entries(key: str, was: Any, now: Any, controls: tuple[Control, ...]) -> Iterator[Otherwise]:
    """A mapping by its own keys, anything else as a whole."""
    if not (isinstance(was, dict | None) and isinstance(now, dict | None)):
        yield _row(key, was, now, controls)
        return
    for name in {**(was or {}), **(now or {})}:
        sides = [(side or {}).get(name) for side in (was, now)]
        if sides[0] != sides[1]:
            yield _row(f"{key}: {name}", sides[0], sides[1], controls)


def _row(key: str, was: Any, now: Any, controls: tuple[Control, ...]) -> Otherwise:
    way = Way.MORE if was is None else Way.LESS if now is None else Way.OTHERWISE
    return Otherwise(way, key, was, now, controls)


@cache
def _asked_by() -> dict[tuple[type[Rules], str], list[Control]]:
    """By rules and field, the controls that this key asks for."""
    found: dict[tuple[type[Rules], str], list[Control]] = {}
    for control in (control for subject in SUBJECTS for control in subject.controls):
        for key in demanded_by(control, SUBJECTS):
            found.setdefault(key, []).append(control)
    return found


def _waivers(before: Policy, after: Policy) -> Iterator[Otherwise]:
    """A waiver more is a demand less."""
    controls = {control.id: control for subject in SUBJECTS for control in subject.controls}
    said = [{(w.control, tuple(w.only or ())): _waiver(w) for w in policy.waivers} for policy in (before, after)]
    for key in {**said[0], **said[1]}:
        was, now = said[0].get(key), said[1].get(key)
        if was != now:
            way = Way.LESS if was is None else Way.MORE if now is None else Way.OTHERWISE
            yield Otherwise(way, f"waivers: {key[0]}", was, now, (controls[key[0]],))


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return waiver.model_dump(mode="json", exclude={"control"}, exclude_none=True)


def _accepted(before: Policy, after: Policy) -> Iterator[Otherwise]:
    for name in sorted(before.accept ^ after.accept):
        sides = [ACCEPTS[name].allows if name in policy.accept else None for policy in (before, after)]
        yield Otherwise(Way.OTHERWISE, f"accept: {name}", sides[0], sides[1])
