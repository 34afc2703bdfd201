"""What could have cut us off lasts only if a fresh connection confirms it; else the host takes it back by itself."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from time import monotonic, sleep

from deploys.run.journal import CONFIRM_WITHIN, waiting_script
from deploys.run.logins import await_login, logins
from deploys.run.script import CONFIRMED, WAITING, Fate, Outcome, Script
from deploys.run.transport import Connection, Unreachable

LOGIN_SECONDS = CONFIRM_WITHIN - 40  # some of it has passed, and confirming takes some too
ASK_SECONDS = 180
UNSAID = Outcome(CONFIRMED, Fate.FAILED, "the host did not say whether it lasts")


@dataclass(frozen=True)
class Trial:
    """What a host takes back unless it is confirmed: in which run's journal, and who was logged in before it."""

    name: str
    run: str
    logins: frozenset[str]


def trial(connection: Connection, name: str, run: str) -> Trial:
    """One that begins now."""
    return Trial(name, run, logins(connection.host))


def confirmed(connection: Connection, trial: Trial, script: Script, seconds: int) -> dict[str, Outcome]:
    """What the host said to `script`, which confirms the trial, over a fresh connection; {} where that could not be,
    and the host has taken it back."""
    name, host = trial.name, connection.host
    try:
        connection.reconnect()
        await_login(host, trial.logins, LOGIN_SECONDS, log=lambda text: host.log(f"{name}: {text}"))
        said = script.answer(connection.execute(script.text, seconds))
    except Unreachable as error:
        connection.errors.append(f"{name}: could not be confirmed over a fresh connection ({error})")
        await_revert(connection, trial)
        return {}
    if why := said.get(CONFIRMED, UNSAID).error:
        connection.errors.append(f"{name}: could not be confirmed: {why}")
        await_revert(connection, trial)
        return {}
    return said


def await_revert(connection: Connection, trial: Trial) -> None:
    """Until the host says that nothing waits to be confirmed any more, or should long have."""
    script = waiting_script(trial.run)
    connection.host.log(f"{trial.name}: waiting until the host takes it back by itself, within {CONFIRM_WITHIN} s")
    deadline = monotonic() + CONFIRM_WITHIN + 60
    while monotonic() < deadline:
        sleep(5)
        with contextlib.suppress(Unreachable):
            connection.reconnect()
            said = script.answer(connection.execute(script.text, ASK_SECONDS))
            if (waiting := said.get(WAITING)) and waiting.error:
                connection.errors.append(f"{trial.name}: {waiting.error}")
                return
