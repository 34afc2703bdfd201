"""Changes that could cut us off: armed, confirmed over a fresh connection, or taken back by the host itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploys.core.change import Command, Install
from deploys.run import confirm, transport
from deploys.run.execute import execute as execute_step
from deploys.run.script import WORDS, Fate
from deploys.run.step_script import compile_step
from deploys.run.steps import Step, arrange
from tests.support.armed import ID, Host, Remote, begin, host, remote, write
from tests.support.journal import RUN

__all__ = ["host", "remote"]


def test_armed_before_the_first_change_and_confirmed(host: Host) -> None:
    seen = f"test -e {host.journal}/{ID}/armed && grep -q -- '--on-active=120' {host.asked}"
    look = Command("test", "look", script=seen, undo="", commit_confirmed=True)
    assert host.apply(look, write(host, "a")) == [
        "",
        "",
    ]
    assert host.armed()
    assert "WantedBy=sysinit.target" in (host.units / "hullproof-revert.service").read_text()
    assert host.confirm() == ""
    assert not host.armed()
    assert (host.root / "a").exists()
    assert list(host.units.iterdir()) == []
    assert f"systemctl stop hullproof-revert-{ID}.timer" in host.asked.read_text()
    assert host.confirm() == "the host had taken it back already"


def test_the_host_takes_back_what_nobody_confirms_and_says_so(host: Host) -> None:
    live = host.root / "live"
    go = Command("test", "go live", script=f"echo 1 >{live}", undo=f"rm {live}", commit_confirmed=True)
    assert host.apply(go, write(host, "a")) == [
        "",
        "",
    ]
    host.timer()
    assert not (host.root / "a").exists()
    assert not live.exists()
    assert (host.root / "state" / "reverted-test").read_text().startswith(f"{ID} 20")
    assert not host.armed()
    assert host.confirm() == "the host had taken it back already"


def test_a_timer_that_comes_too_late_does_nothing(host: Host) -> None:
    host.apply(write(host, "a"))
    late = (host.root / "state" / "revert.sh").read_text()
    host.confirm()
    host.sh(late)
    assert (host.root / "a").exists()
    assert not (host.root / "state" / "reverted-test").exists()


def test_earlier_steps_of_the_run_stand(host: Host) -> None:
    step = compile_step(Step("first", (write(host, "first", commit_confirmed=False),)), RUN, 1)
    host.sh(step.script.text)
    armed = compile_step(Step("test", (write(host, "second"),)), RUN, 2)
    host.sh(armed.script.text)
    host.timer()
    assert (host.root / "first").exists()
    assert not (host.root / "second").exists()


def test_half_a_network_is_none(host: Host) -> None:
    errors = host.apply(write(host, "a"), Command("test", "fail", script="echo no; exit 1", undo=""), write(host, "b"))
    assert errors == ["", "no", WORDS[Fate.NOT_REACHED]]
    assert not (host.root / "a").exists()
    assert not host.armed()
    assert not (host.root / "state" / "reverted-test").exists(), "the controller knows already"


def test_slow_work_winds_the_clock_up_again(host: Host) -> None:
    clock = host.clock()
    slow = [
        Command("test", f"{n} s", script=f"echo {n} >{clock}", undo="", commit_confirmed=True) for n in (10, 16, 25, 40)
    ]
    assert host.apply(*slow) == ["", "", "", ""]
    restart = f"systemctl restart hullproof-revert-{ID}.timer"
    assert host.asked.read_text().splitlines().count(restart) == 2, "at 16 and at 40 seconds"
    assert host.confirm() == ""


def test_a_change_that_outlives_the_clock_is_taken_back_too(host: Host) -> None:
    """What the timer undid while it was under way is undone once more, when it has come to its end."""
    live = host.root / "live"
    revert = f"sed 's,PATH=,&{host.root}/bin:,' {host.root}/state/revert.sh | sh"
    slow = Command("test", "slow", script=f"{revert}; echo 1 >{live}", undo=f"rm -f {live}", commit_confirmed=True)
    host.tool("flock", ":")  # it has waited its minute for the lock
    errors = host.apply(write(host, "a"), slow, write(host, "b"))
    assert errors == ["", "it took too long: meanwhile the host took the step back", WORDS[Fate.NOT_REACHED]]
    assert not live.exists()
    assert not (host.root / "a").exists()
    assert not (host.root / "b").exists()
    assert not host.armed()
    assert host.confirm() == "the host had taken it back already"


def test_who_comes_while_it_is_taken_back_cannot_confirm(host: Host) -> None:
    host.apply(write(host, "a"))
    (host.journal / ID / "armed").rename(host.journal / ID / "taking")
    assert host.confirm() == "the host is taking it back just now"
    assert host.armed(), "the controller waits for its end"
    host.timer()  # as at boot: power was lost in the middle
    assert not (host.root / "a").exists()
    assert not host.armed()


def test_without_a_timer_nothing_is_changed(host: Host) -> None:
    host.tool("systemd-run", "echo no bus; exit 1")
    (error,) = host.apply(write(host, "a"))
    assert "so nothing was changed" in error
    assert "no bus" in error
    assert not (host.root / "a").exists()
    assert not host.armed()


def test_what_takes_long_is_done_before_the_clock_runs() -> None:
    go = Command("test", "go", script=":", undo="", commit_confirmed=True)
    packages, test = arrange([go, Install("test", "install", packages=("nftables",))], ["test"])
    assert not packages.commit_confirmed
    lines = compile_step(test, RUN, 2).script.text.splitlines()
    (arm,) = [n for n, line in enumerate(lines) if "| arm " in line]
    (command,) = [n for n, line in enumerate(lines) if line.startswith("run_command 0002")]
    assert arm < command
    assert f"| arm {ID} 0002 120" in lines[arm]


# ------------------------------------------------------------------------------------------------ the controller's half


def test_the_controller_confirms_over_a_fresh_connection(host: Host, remote: Remote) -> None:
    run = begin(remote)
    assert execute_step(run, Step("test", (write(host, "a"),)))
    assert remote.connections == 1
    assert not host.armed()
    assert [row["what"] for row in run.done] == ["write a"]


def test_no_fresh_connection_no_change(host: Host, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(remote)

    def sleep(_: float) -> None:
        if remote.connections == 3 and remote.cut:  # the host's own timer, meanwhile
            remote.cut = False
            host.timer()

    monkeypatch.setattr(confirm, "sleep", sleep)
    remote.cut = True
    assert not execute_step(run, Step("test", (write(host, "a"),)))
    assert run.done == []
    assert "could not be confirmed over a fresh connection" in run.errors[0]
    assert run.errors[1] == "test: the host has taken it back by itself"
    assert not (host.root / "a").exists()


def test_a_connection_that_is_lost_midway_is_waited_for(
    host: Host, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(remote)
    real: Callable[..., list[str]] = transport.execute  # type: ignore[assignment]
    calls: list[int] = []

    def execute(to: Any, script: str, seconds: int) -> list[str]:
        calls.append(1)
        found = real(to, script, seconds)
        if len(calls) == 1:
            raise transport.Unreachable("connection lost: cut")
        return found

    monkeypatch.setattr(transport, "execute", execute)
    monkeypatch.setattr(confirm, "sleep", lambda _: host.timer() if host.armed() else None)
    assert not execute_step(run, Step("test", (write(host, "a"),)))
    assert not (host.root / "a").exists()
    assert run.errors[-1] == "test: the host has taken it back by itself"
