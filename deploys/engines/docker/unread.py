"""Changed files of Docker's units that systemd has not read: until it does, what the next start does is not what it
shows."""

from __future__ import annotations

import re
from typing import Literal

from deploys.core.change import Blocked
from deploys.core.control import Check, State, Verdict, failed, some
from deploys.core.policy import Policy
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.engines.docker.shapes import Unread

RELOAD = "systemctl daemon-reload"


def as_read(check: Check, kind: Literal["tcp", "modes"]) -> Check:
    """A check that holds only for units as systemd has read them."""

    def checked(survey: Survey, policy: Policy) -> Verdict:
        verdict = check(survey, policy)
        unread = survey[Docker].unit.unread if verdict.state in (State.PASS, State.PENDING_RESTART) else None
        if unread is None:
            return verdict
        said = f"the files of {' and '.join(unread.units)} were changed, and systemd has not read them again"
        if wrong := unread.tcp if kind == "tcp" else _wide(unread):
            what = "opens the API by TCP" if kind == "tcp" else "gives the socket a wide mode"
            reason = (
                f"{said}: the next start {what}, by {some(wrong)}; the policy wants otherwise (docker.{_KEYS[kind]})"
            )
            return failed(reason, declared=verdict.declared, disk=list(wrong), live=verdict.live)
        reason = f"{said}, so it is not known what the next start does: run {RELOAD}, and look again"
        return Verdict(State.UNKNOWN, reason, declared=verdict.declared, live=verdict.live)

    return checked


_KEYS = {"tcp": "tcp", "modes": "file_modes"}


def _wide(unread: Unread) -> tuple[str, ...]:
    """Modes beyond 0660."""
    found = ((line, re.search(r"SocketMode=0*([0-7]{1,4})\)$", line)) for line in unread.modes)
    return tuple(line for line, mode in found if mode and int(mode[1], 8) & ~0o660)


def reload_first(unread: Unread) -> Blocked:
    """systemd reads all of a unit at once, so a restart by a change of ours would bring into force what is there."""
    wrong = some([*unread.tcp, *_wide(unread)]) or "what is not meant"
    return Blocked(
        "docker",
        f"correct what {' and '.join(unread.units)} does at its next start",
        why="systemd has not read the changed files yet, and whatever has it do so brings them into force",
        by_hand=f"remove {wrong} there, run {RELOAD}, and run harden again",
    )
