"""rkt (Rocket): it has ended, and what is left of it is named. Nothing of it is hardened: nobody mends it any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from deploys.core.change import Change, Context, Subject, by_hand
from deploys.core.control import Control, Severity, Verdict, failed, naming_key, only_where, some, undeclared
from deploys.core.policy import Policy, Rules
from facts.containers import Containers
from facts.core.survey import Survey

ENDED = "rkt.ended"


class RktRules(Rules):
    """rkt (Rocket), which has ended: nothing of it is hardened."""

    ended: Literal[True] | None = Field(None, description="Nothing of rkt is left on the host.")


def absent(survey: Survey, policy: Policy) -> str | None:
    reading = survey[Containers]
    return None if reading.rkt or "rkt" in reading.engines else "nothing of rkt is on this host"


@only_where(undeclared(RktRules, ENDED), absent)
@naming_key(ENDED, "nothing of rkt to be left")
def _ended(survey: Survey, policy: Policy) -> Verdict:
    found = list(survey[Containers].rkt) or ["its program"]
    return failed(f"rkt has ended, and is still here: {some(found, 8)}", declared=True, disk=found, live=None)


CONTROLS = (
    Control(
        id=ENDED,
        title="Nothing of rkt is left",
        severity=Severity.HIGH,
        why="It ended in 2020, and known ways out of its pods were never closed (CVE-2019-10144, -10145, -10147).",
        check=_ended,
        references=("NIST-800-190-4.4.1",),
        by_hand="let Podman run what its pods did (on a Kubernetes node: containerd or CRI-O); then end the pods, and "
        "remove its package, units and folders",
    ),
)


def plan(context: Context) -> Iterator[Change]:
    for control in context.which(ENDED):
        yield by_hand(context.findings[control])


SUBJECT = Subject(
    name="rkt",
    rules=RktRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Containers,),
    unproved="it says what is installed, and forbids nothing that could be attempted",
)
