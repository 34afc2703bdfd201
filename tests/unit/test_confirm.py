"""A change that could cut us off counts only when a fresh connection has confirmed it."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.engine import session as engine
from deploys.engine.arrange import Step
from deploys.engine.change import Command
from deploys.engine.journal import Compiled
from deploys.engine.policy import Policy
from deploys.engine.session import Session
from deploys.engine.transport import Unreachable

NO_CLIENT = "'NoneType' object has no attribute 'open_session'"  # what paramiko says after a failed reconnection
CUT = Command("selinux", "enforce live", script="arm", undo="", confirm="stand down")


class Host:
    """The part of a pyinfra host that a session speaks to."""

    name = "h"

    def log(self, *_: Any) -> None: ...

    def log_styled(self, *_: Any, **__: Any) -> None: ...


@pytest.mark.parametrize(
    ("answers", "said", "holds", "why"),
    [
        (["@n ok 0001"], ["confirmed"], True, ""),
        (["@n ok 0001"], ["permission denied"], False, "goes back by itself"),
        (["@n ok 0001"], None, False, "no route"),
        (["@n fail 0001 not armed"], ["confirmed"], False, "not armed"),
    ],
)
def test_confirmed(
    monkeypatch: pytest.MonkeyPatch, answers: list[str], said: list[str] | None, holds: bool, why: str
) -> None:
    told: list[str] = []

    def execute(_: Any, script: str, __: int) -> list[str]:
        told.append(script)
        if script == "step":
            return answers
        if said is None:
            raise Unreachable("no route to host")
        return said

    one: Any = Host()
    session = Session(one, Policy("p", {}), (), {"id": "r"})
    monkeypatch.setattr(engine.transport, "execute", execute)
    monkeypatch.setattr(engine.journal, "compile_step", lambda *_: Compiled("step", "n", {"0001": CUT}))
    monkeypatch.setattr(Session, "reconnect", lambda self: told.append("fresh connection"))
    assert session.execute(Step("selinux", (CUT,))) is holds
    assert why in " ".join(session.errors)
    armed = "not armed" not in why
    assert told[1:] == (["fresh connection", "(stand down) && echo confirmed"] if armed else [])


def test_a_connection_that_could_not_be_made_again_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        state = None

        def run_shell_command(self, *_: Any, **__: Any) -> Any:
            raise AttributeError(NO_CLIENT)

    gone: Any = Gone()
    monkeypatch.setattr(engine.transport, "pop_global_arguments", lambda *_: ({}, ()))
    with pytest.raises(Unreachable, match="connection lost"):
        engine.transport.execute(gone, "true", 1)
