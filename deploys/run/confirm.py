"""What could have cut us off lasts only if a fresh connection confirms it; else the host takes it back by itself."""

from __future__ import annotations

import contextlib
from time import monotonic, sleep
from typing import TYPE_CHECKING

from deploys.run import journal, transport
from deploys.run.logins import await_login

if TYPE_CHECKING:
    from deploys.run.session import Session

LOGIN_SECONDS = journal.ARMED_SECONDS - 40  # some of it has passed, and confirming takes some too
ASK_SECONDS = 180


def confirmed(
    session: Session, name: str, run: str, script: tuple[str, str], sessions: frozenset[str], seconds: int
) -> dict[str, journal.Outcome]:
    """What the host said to `script`, which confirms what is armed, over a fresh connection; {} where that could
    not be, and the host has taken it back."""
    try:
        session.reconnect()
        await_login(session.host, sessions, LOGIN_SECONDS, lambda text: session.host.log(f"{name}: {text}"))
        said = journal.parse_answer(transport.execute(session.host, script[0], seconds), script[1])
    except transport.Unreachable as error:
        session.errors.append(f"{name}: could not be confirmed over a fresh connection ({error})")
        await_revert(session, run, name)
        return {}
    if why := said.get(journal.CONFIRMED, journal.Outcome("", "the host did not say")).error:
        session.errors.append(f"{name}: could not be confirmed: {why}")
        await_revert(session, run, name)
        return {}
    return said


def await_revert(session: Session, run: str, name: str) -> None:
    """Until the host says that nothing is armed any more, or should long have."""
    script, nonce = journal.armed_script(run)
    session.host.log(f"{name}: the host takes it back within {journal.ARMED_SECONDS} s; waiting for it")
    deadline = monotonic() + journal.ARMED_SECONDS + 60
    while monotonic() < deadline:
        sleep(5)
        with contextlib.suppress(transport.Unreachable):
            session.reconnect()
            said = journal.parse_answer(transport.execute(session.host, script, ASK_SECONDS), nonce)
            if ended := said.get(journal.WAITS, journal.Outcome("", "")).error:
                session.errors.append(f"{name}: {ended}")
                return
