"""A run on one host where something fails: what stood on it is left out, everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deploys.core.change import Blocked, Change, Command, Install, Service, WriteFile
from deploys.core.policy import Policy
from deploys.run import ending, execute, look, session, step_script, transport
from deploys.run.steps import PACKAGES, Step
from facts.core.survey import Survey
from tests.support.journal import RUN

MENU = Service("menu", activate="make it", healthy="true", explain="")


class Remote:
    """A host on which every change whose words are in `broken` fails."""

    name = "h"
    silent: tuple[str, ...] = ()  # before these the connection is lost

    def __init__(self, *broken: str) -> None:
        self.broken = broken

    def log(self, text: str) -> None: ...

    def log_styled(self, text: str, **_: Any) -> None: ...

    def answer(self, compiled: Any) -> Iterator[str]:
        if "another run" in self.broken:
            yield f"@{compiled.script.nonce} fail journal another run is changing this host"
            return
        if "menu" in self.broken and isinstance(next(iter(compiled.entries.values())), Service):
            yield from self.put_back(compiled)
            return
        for entry, change in compiled.entries.items():
            if getattr(change, "what", "") in self.silent:
                return
            failed = getattr(change, "what", "") in self.broken
            yield f"@{compiled.script.nonce} {'fail' if failed else 'ok'} {entry} {'no' if failed else ''}"
            if failed:
                return

    def put_back(self, compiled: Any) -> Iterator[str]:
        service, *files = compiled.entries
        yield from (f"@{compiled.script.nonce} ok {file} " for file in files)
        yield from (f"@{compiled.script.nonce} put-back {file}" for file in files)
        yield f"@{compiled.script.nonce} fail {service} menu did not come up"


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run all changes on a host where some fail; the words of what was done, and the errors."""

    def run(changes: list[Change], *broken: str) -> tuple[list[str], list[str]]:
        remote: Any = Remote(*broken)
        compiled: list[Any] = []
        compile_step = step_script.compile_step

        def kept(*given: Any) -> Any:
            compiled.append(compile_step(*given))
            return compiled[-1]

        monkeypatch.setattr(execute, "compile_step", kept)
        monkeypatch.setattr(transport, "execute", lambda *_: list(remote.answer(compiled[-1])))
        names: Any = [type("Named", (), {"name": name}) for name in ("kernel", "selinux")]
        policy: Any = None
        one = session.Session(remote, policy, names, RUN)
        look.arrange(one, changes)
        for name in (PACKAGES, "kernel", "selinux", "services"):
            for step in one.steps_named(name):
                execute.execute(one, step)
        return [row["what"] for row in one.done], one.errors

    return run


def boot(subject: str) -> WriteFile:
    return WriteFile(subject, f"{subject} at boot", path=f"/etc/{subject}", text="x", before=None, service=MENU)


LABEL = Command("selinux", "label", script="label", undo="")


def test_a_service_gets_nothing_of_a_subject_that_failed(go: Any) -> None:
    """Files that could not be labelled must not be booted with SELinux on."""
    changes = [LABEL, boot("selinux"), boot("kernel")]
    done, errors = go(changes, "label")
    assert sorted(done) == ["kernel at boot", "restart menu with the new settings"]
    assert errors == ["selinux: label: no"]
    assert sorted(go(changes)[0]) == [
        "kernel at boot",
        "label",
        "restart menu with the new settings",
        "selinux at boot",
    ]


def test_a_service_that_nobody_needs_any_more_is_not_activated(go: Any) -> None:
    assert go([LABEL, boot("selinux")], "label") == ([], ["selinux: label: no"])


def test_without_packages_the_others_go_on(go: Any) -> None:
    changes = [Install("selinux", "install", packages=("policy",)), LABEL, Command("kernel", "set", script="", undo="")]
    done, errors = go(changes, "install")
    assert done == ["set"]
    assert errors == [
        "packages: install: no",
        "selinux: nothing was changed, since its packages could not be installed",
    ]


@pytest.mark.parametrize("broken", ["label", "another run"])
def test_what_the_plan_named_as_blocked_stays_named(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """A canary's warning is not lost with the subject that failed."""
    remote: Any = Remote(broken)
    named: Any = [type("Named", (), {"name": "selinux"})]
    policy: Any = None
    one = session.Session(remote, policy, named, RUN)
    look.arrange(one, [LABEL, boot("selinux"), Blocked("selinux", "enforce", why="profiles are missing")])
    compiled = step_script.compile_step(one.steps[0], RUN, 1)
    monkeypatch.setattr(execute, "compile_step", lambda *_: compiled)
    monkeypatch.setattr(transport, "execute", lambda *_: list(remote.answer(compiled)))
    assert not execute.execute(one, one.steps[0])
    assert [blocked.what for blocked in one.blocked] == ["enforce"]


def test_pyinfras_log_gets_no_escape_sequence_of_the_hosts(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Remote, "log", lambda _, text: said.append(text))
    monkeypatch.setattr(Remote, "log_styled", lambda _, text, **__: said.append(text))
    done, errors = go([Command("kernel", "set \x1b[2J\x1b]0;x\x07it", script="", undo=""),
                       Command("selinux", "label\x1b[31m", script="", undo="")], "label")  # fmt: skip
    assert (done, errors) == (["set ]0;xit"], ["selinux: label: no"])
    assert said == ["done: set ]0;xit", "failed: label: no"]


def test_what_was_put_back_is_not_reported_as_done(go: Any) -> None:
    done, errors = go([LABEL, boot("selinux"), boot("kernel")], "menu")
    assert done == ["label"]
    assert errors == ["menu: restart menu with the new settings: menu did not come up"]


def test_where_no_change_failed_and_the_host_fell_silent_that_is_said_once(
    go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remote, "silent", ("label",))
    more = Command("selinux", "look", script="", undo="")
    done, errors = go([Command("selinux", "begin", script="", undo=""), LABEL, more])
    assert done == ["begin"]
    assert errors == ["selinux: label: not reached: a change before it failed, or the connection was lost"]


def test_what_was_not_reached_is_left_out_where_a_change_failed(go: Any) -> None:
    """Also where an error that begins with the subject's name was there before: words decide nothing."""
    assert go([LABEL, Command("selinux", "look", script="", undo="")], "label") == ([], ["selinux: label: no"])


def test_a_host_that_another_run_changes_is_left_and_that_is_said_once(go: Any) -> None:
    assert go([LABEL, boot("selinux"), boot("kernel")], "another run") == ([], ["another run is changing this host"])


def test_without_a_new_survey_nothing_is_known_or_kept_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def execute(_: Any, script: str, __: int) -> list[str]:
        sent.append(script)
        if "hullproof" in script and len(sent) == 1:
            raise transport.Overflow("the host answered with more than 12 MB")
        return ["kept"]

    monkeypatch.setattr(transport, "execute", execute)
    monkeypatch.setattr(transport, "tune", lambda _: None)
    remote: Any = Remote()
    one = session.Session(remote, Policy("p", {}), (), RUN)
    one.survey, one.reached, one.begun = Survey({}), session.Reached.CHANGE, [Step("boat", ())]
    assert not ending.survey_again(one)
    assert "baseline" not in sent[-1]
    reported = ending.report(one, session.Reached.END)
    assert (reported.status, list(reported.findings)) == ("error", [])


def test_a_connection_that_is_no_socket_is_left_as_it_is() -> None:
    """Behind ProxyJump or ProxyCommand."""
    opened: Any = type("Transport", (), {"sock": object(), "channel_timeout": 0})()
    client = type("Client", (), {"get_transport": lambda _: opened})()
    host: Any = type("Host", (), {"connector": type("Connector", (), {"client": client})()})()
    transport.tune(host)
    assert opened.channel_timeout == transport.CHANNEL_SECONDS
