"""What could have cut us off lasts only if a fresh connection confirms it; else the host takes it back by itself."""

from __future__ import annotations

import contextlib
from time import monotonic, sleep

from deploys.run import journal
from deploys.run.logins import await_login
from deploys.run.transport import Connection, Unreachable

LOGIN_SECONDS = journal.ARMED_SECONDS - 40  # some of it has passed, and confirming takes some too
ASK_SECONDS = 180


def confirmed(
    connection: Connection, name: str, run: str, script: tuple[str, str], sessions: frozenset[str], seconds: int
) -> dict[str, journal.Outcome]:
    """What the host said to `script`, which confirms what is armed, over a fresh connection; {} where that could
    not be, and the host has taken it back."""
    try:
        connection.reconnect()
        await_login(connection.host, sessions, LOGIN_SECONDS, lambda text: connection.host.log(f"{name}: {text}"))
        said = journal.parse_answer(connection.execute(script[0], seconds), script[1])
    except Unreachable as error:
        connection.errors.append(f"{name}: could not be confirmed over a fresh connection ({error})")
        await_revert(connection, run, name)
        return {}
    if why := said.get(journal.CONFIRMED, journal.Outcome("", "the host did not say")).error:
        connection.errors.append(f"{name}: could not be confirmed: {why}")
        await_revert(connection, run, name)
        return {}
    return said


def await_revert(connection: Connection, run: str, name: str) -> None:
    """Until the host says that nothing is armed any more, or should long have."""
    script, nonce = journal.armed_script(run)
    connection.host.log(f"{name}: the host takes it back within {journal.ARMED_SECONDS} s; waiting for it")
    deadline = monotonic() + journal.ARMED_SECONDS + 60
    while monotonic() < deadline:
        sleep(5)
        with contextlib.suppress(Unreachable):
            connection.reconnect()
            said = journal.parse_answer(connection.execute(script, ASK_SECONDS), nonce)
            if ended := said.get(journal.WAITS, journal.Outcome("", "")).error:
                connection.errors.append(f"{name}: {ended}")
                return
