"""Outcomes that hosts share: of what is pure, and asked of the very same readings, one is made.

Most hosts of a fleet are alike in most of what is read from them, and readings that are alike are one object
(`facts.core.shared`). So a control's verdict, or a subject's plan, is found again by what it asked for.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from deploys.core.policy import Policy
from facts.core import asked

T = TypeVar("T")

MOST = 8  # outcomes of one control: the kinds of hosts in a fleet

Same = Callable[[Any], Any]


def alike(policy: Policy, what: object, same: Same, make: Callable[[], T]) -> T:
    """`make()`, or what it gave for this policy on another host; `what` it is of is kept alive with the policy.

    Nothing in `make` waits, or lets another host go on: what that asks for would be taken for what was asked here.
    same: what was asked for -> the object that it was on this host, the very same on hosts that are alike. What raises,
    or asks for something that is no other host's, is made each time.
    """
    _, rows = policy.outcomes.setdefault(id(what), (what, []))
    for number, (read, for_it, outcome) in enumerate(rows):
        if all(is_it(same(each)) for each, is_it in read):
            if number:
                rows.insert(0, rows.pop(number))
            asked.note(for_it)
            found: T = outcome
            return found
    with asked.asking() as for_it:
        made = make()
    if not for_it.alone:
        with contextlib.suppress(TypeError):  # something that cannot be held weakly is no reading
            rows.insert(0, ([(each, _is(same(each))) for each in for_it.facts], for_it, made))
            del rows[MOST:]
    return made


def _is(value: Any) -> Callable[[Any], bool]:
    """Whether something is this very object. What is read of a host goes when nobody else holds it, and nothing is it
    after that: not None either, which says that nothing was read."""
    if value is None:
        return lambda other: other is None
    held = weakref.ref(value)
    return lambda other: other is not None and held() is other
