"""Reboots of a fleet: who may when, who is waited for and how long, and that nobody follows one that was lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from pyinfra.api.exceptions import PyinfraError

from deploys.core.change import Blocked, Command, Reboot
from deploys.run import execute, reboot, transport
from deploys.run.reboot import batches, wait
from deploys.run.run import Run
from deploys.run.steps import Step, arrange

ROOT = Path(__file__).resolve().parents[3]
CHANGE = Reboot("kernel", "boot it", script="arm", undo="", settled='echo "it\'s ok"', seconds=60)
NAMES = [f"h{n}" for n in range(1, 9)]


@pytest.mark.parametrize(
    ("canaries", "size", "expected"),
    [
        ([], "3", [["h1", "h2", "h3"], ["h4", "h5", "h6"], ["h7", "h8"]]),
        (["h5"], "50%", [["h5"], ["h1", "h2", "h3", "h4"], ["h6", "h7", "h8"]]),
        (["h2", "h1"], "1", [[f"h{n}"] for n in range(1, 9)]),
        ([], "1%", [[name] for name in NAMES]),
        ([], "200%", [NAMES]),
    ],
)
def test_batches(canaries: list[str], size: str, expected: list[list[str]]) -> None:
    assert batches(NAMES, canaries, size) == expected


@pytest.mark.parametrize("size", ["0", "0%", "-1", "many", "3.5", ""])
def test_a_batch_size_that_makes_no_sense_is_told(size: str) -> None:
    with pytest.raises(PyinfraError, match="want a number of hosts"):
        batches(NAMES, [], size)


def test_reboots_come_last_each_a_step_of_its_own() -> None:
    steps = arrange([CHANGE, Command("kernel", "c", script="s", undo=""), Blocked("kernel", "b", why="w")], ["kernel"])
    assert [step.name for step in steps] == ["kernel", "reboot"]
    assert steps[-1] == Step("reboot", (CHANGE,))


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def waited(monkeypatch: pytest.MonkeyPatch, answers: Sequence[str | None]) -> tuple[tuple[bool, str], Any, Clock]:
    """`wait` against a host that answers so, one after the other, then not at all; None: out of reach."""
    clock, queue = Clock(), list(answers)
    session: Any = SimpleNamespace(lost=False, host=SimpleNamespace(connected=True), reconnect=lambda: None)

    def execute(script: str, seconds: int) -> Sequence[str]:
        answer = queue.pop(0) if queue else None
        if answer is None:
            raise transport.Unreachable("connection refused")
        said = subprocess.run(["sh", "-c", script], text=True, capture_output=True).stdout
        nonce = re.search(r"@\w+", said)
        assert "it's ok" in said, "the question is asked as it was written"
        return [f"{nonce[0] if nonce else ''} {answer}"]

    monkeypatch.setattr(reboot, "time", clock)
    monkeypatch.setattr(gevent, "sleep", clock.sleep)
    session.execute = execute
    return wait(session, CHANGE), session, clock


def test_a_host_is_waited_for_until_it_has_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, session, clock = waited(monkeypatch, ["", None, None, "", "ok runs 6.2"])
    assert (outcome, session.lost, clock.now) == ((True, "runs 6.2"), False, 25)


def test_a_host_that_went_back_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, session, _ = waited(monkeypatch, [None, "fail 6.2 was not kept (engine: down)\x1b[2J"])
    assert outcome == (False, "6.2 was not kept (engine: down)")
    assert not session.lost


def test_a_host_that_never_returns_is_lost_by_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, session, clock = waited(monkeypatch, [])
    assert outcome == (False, "did not come back within 60 s")
    assert session.lost
    assert clock.now == 60


@pytest.mark.parametrize(
    ("canary", "why"),
    [
        (None, "the canary c is out of reach"),
        ({"lost": True}, "the canary c is out of reach"),
        ({"errors": ["kernel: could not install"]}, "something failed on the canary c"),
        (
            {"changes": [Blocked("kernel", "reboot", why="it was tried", warns=True)]},
            "the canary c warns: it was tried",
        ),
        ({"changes": [Blocked("kernel", "reboot", why="not in its window")]}, ""),
        ({"steps": ["reboot"]}, "the canary c reboots first and has not yet: run again, best without --serial"),
    ],
)
def test_a_canary_holds_the_others_back_also_in_a_later_run(canary: dict[str, Any] | None, why: str) -> None:
    run, hosts = Run("harden"), [SimpleNamespace(name="c", groups=["canary"]), SimpleNamespace(name="h", groups=[])]
    for host in hosts:
        host.state = SimpleNamespace(inventory=hosts, is_host_in_limit=lambda each: True)
    if canary is not None:
        steps = canary.pop("steps", [])
        about = {"lost": False, "errors": [], "changes": [], "steps_named": lambda name: steps} | canary
        run.sessions["c"] = cast(Any, SimpleNamespace(**about))
    assert run.may_not_reboot(cast(Any, hosts[1])) == why
    assert run.may_not_reboot(cast(Any, hosts[0])) == ""


def test_nothing_reboots_where_something_failed_before() -> None:
    session: Any = SimpleNamespace(errors=[])
    session.errors.append("kernel: could not install")
    assert execute.reboot(session, Step("reboot", (CHANGE,)))
    assert session.errors[1:] == ["not rebooted, since an earlier change failed"]


FLEET = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from pyinfra.context import host
from deploys.run import execute
from deploys.run.steps import Step
from deploys.core.change import Blocked
from deploys.run.operations import reboot
from deploys.run.run import begin
from deploys.subjects import SUBJECTS

run = begin("harden")
session = run.session(SUBJECTS)
if host.name in {warned!r}:  # it went back in an earlier run
    session.changes = [Blocked("kernel", "reboot", why="it was tried", warns=True)]
else:
    session.steps = [Step("reboot", ())]

def come_back(session, step):
    name = session.host.name
    with Path({log!r}).open("a") as log:
        log.write(name + "\\n")
    return name not in {lost!r}

execute.reboot = come_back
for batch in host.loop(run.batches()):
    if host.name in batch:
        reboot(name="Reboot")
"""


@pytest.mark.parametrize(
    ("lost", "warned", "orders"),
    [
        ([], [], ["cabde", "cabed", "cbade", "cbaed"]),
        (["@fake/c"], [], ["c"]),
        (["@fake/b"], [], ["cb", "cab", "cba"]),  # whoever goes at the same time may have begun already
        ([], ["@fake/b"], ["cade", "caed"]),  # only a canary's word counts for others
        ([], ["@fake/c"], [""]),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--serial"]])
def test_canaries_first_then_batches_and_nobody_after_one_that_is_lost_or_warns(
    tmp_path: Path, lost: list[str], warned: list[str], orders: list[str], flags: list[str]
) -> None:
    log = tmp_path / "log"
    log.touch()
    (tmp_path / "hosts.py").write_text(
        "fleet = [(f'@fake/{x}', {'fake_delay': 0, 'fake_delay_jitter': 0}) for x in 'abcde']\ncanary = ['@fake/c']\n"
    )
    (tmp_path / "fleet.py").write_text(FLEET.format(root=str(ROOT), log=str(log), lost=lost, warned=warned))
    data = ("--data", "batch=2", "--data", f"report={tmp_path}")
    done = subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), "-y", *flags, "hosts.py", "fleet.py", *data], cwd=tmp_path,
        env=os.environ | {"PYINFRA_PROGRESS": "off", "PYINFRA_FAKE_DELAY": "0"}, text=True, capture_output=True,
        stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    said = log.read_text().replace("@fake/", "").replace("\n", "")
    if flags:  # pyinfra then takes each host through the whole run before the next, in an order of its own
        assert said[:1] == ("" if "@fake/c" in warned else "c"), "whoever's turn comes before the canary's waits"
        assert not lost or said.partition(lost[0][-1])[2] == "", done.stdout
    else:
        assert said in orders, done.stdout + done.stderr
