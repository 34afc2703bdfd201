"""rkt has ended: what is left of it is named, and no host counts as one with an engine for that."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from deploys.core.change import Blocked, Context
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy
from deploys.engines.rkt.controls import SUBJECT, RktRules
from facts import containers
from facts.containers import Containers, ContainersReading
from facts.core.frame import PRELUDE
from facts.core.survey import Survey
from tests.support.hosts import beside, docker

SCRIPT = (Path(containers.__file__).parent / "engines/rkt/list.sh").read_text()
POD = "/var/lib/rkt/pods/run/0f0b5d1c-7c3f-4b8e-9d3b-2d0c6a3c1b1a"


def traces(root: Path, program: bool = False) -> tuple[str, list[str]]:
    """The engine that the script names, and what it shows of it, on a host whose files are below `root`."""
    script = SCRIPT.replace(" /", f" {root}/")
    mine = (
        f'have() {{ {"true" if program else "false"}; }}\nengine() {{ echo "engine $1"; }}\nrun() {{ shift; "$@"; }}\n'
    )
    done = subprocess.run(["sh", "-c", f"{PRELUDE}\n{mine}{script}"], capture_output=True, text=True, check=True)
    lines = [line.removeprefix(str(root)) for line in done.stdout.split("\n") if line]
    return "engine rkt" * ("engine rkt" in lines), [line for line in lines if line.startswith("/")]


@pytest.mark.parametrize("path", ["/opt/bin/rkt", "/var/lib/rkt/cas", POD, "/etc/systemd/system/rkt-api.service"])
def test_each_trace_is_named_and_is_no_engine(path: str, tmp_path: Path) -> None:
    assert traces(tmp_path) == ("", [])
    (tmp_path / path.lstrip("/")).mkdir(parents=True)
    assert traces(tmp_path) == ("", [path])
    assert traces(tmp_path, program=True) == ("engine rkt", [path])


def judged(reading: ContainersReading, ended: bool = True) -> tuple[Finding, list[str]]:
    host = Survey({Containers: reading})
    policy = Policy("p", {RktRules: RktRules(ended=True if ended else None)})
    [finding] = judge(SUBJECT.controls, host, policy)
    changes = list(SUBJECT.plan(Context(host, policy, {finding.control.id: finding})))
    assert all(isinstance(each, Blocked) for each in changes)
    return finding, [each.by_hand for each in changes if isinstance(each, Blocked)]


def test_what_is_left_fails_with_the_successors_named() -> None:
    clean = beside(docker())
    assert judged(clean)[0].state is State.NOT_APPLICABLE
    for reading in (dataclasses.replace(clean, rkt=(POD,)), dataclasses.replace(clean, engines=("rkt",))):
        finding, by_hand = judged(reading)
        assert finding.state is State.FAIL
        assert all(successor in by_hand[0] for successor in ("Podman", "containerd"))
        assert judged(reading, ended=False)[0].state is State.NOT_APPLICABLE
    assert POD in judged(dataclasses.replace(clean, rkt=(POD,)))[0].verdict.reason


def test_its_pods_are_read_from_what_the_host_said() -> None:
    lines = ["@n block rkt.traces", POD, "@n status 0"]
    frame = ["@hullproof n", "@n section containers", "@n block engines", "", "@n status 0", "@n block uid", "0",
             "@n status 0", *lines, "@n end containers 0", "@n done"]  # fmt: skip
    assert Survey.parse([Containers], frame)[Containers].rkt == (POD,)
