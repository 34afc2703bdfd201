"""Units that the next boot will not run, as their files say: the script on a tree of files, and what is made of it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploys.core.boot_units import plan_units, standing_on
from deploys.core.change import Blocked, Command, Context
from deploys.core.control import Control, Severity, State, judge, passed
from deploys.core.policy import Policy
from facts.core import units
from facts.core.frame import read_frame, survey_script
from facts.core.reading import Section, Unknown
from facts.core.survey import Survey
from facts.core.system import System
from facts.core.units import MODULES, SYSCTL, Idle
from tests.support.hosts import SYSTEM
from tests.support.survey import fact

ETC, USR = "etc/systemd/system", "usr/lib/systemd/system"
VENDOR = {
    f"{USR}/{SYSCTL}": "[Service]\nExecStart=/usr/lib/systemd/systemd-sysctl\n",
    f"{USR}/sysinit.target.wants/{SYSCTL}": f"-> ../{SYSCTL}",
}
# files, links and what systemd-analyze says of conditions: why no boot runs systemd-sysctl
TREES = {
    "as installed": ({}, "", None),
    "masked": ({f"{ETC}/{SYSCTL}": "-> /dev/null"}, "", ("masked", f"{SYSCTL} is masked (ROOT/{ETC}/{SYSCTL})")),
    "masked until the boot alone": ({f"run/systemd/system/{SYSCTL}": "-> /dev/null"}, "", None),
    "an empty file masks too": ({f"{ETC}/{SYSCTL}": ""}, "", ("masked", "is masked")),
    "no target wants it": (
        {f"{ETC}/sysinit.target.wants/{SYSCTL}": "-> /dev/null"}, "", ("unwanted", f"no target starts {SYSCTL}"),
    ),
    "another target wants it": (
        {f"{ETC}/sysinit.target.wants/{SYSCTL}": "-> /dev/null", f"{ETC}/x.target.wants/{SYSCTL}": f"-> {SYSCTL}"},
        "", None,
    ),
    "a condition that holds": ({f"{ETC}/{SYSCTL}.d/x.conf": "[Unit]\nConditionPathExists=/\n"}, "", None),
    "a condition that does not": (
        {f"{ETC}/{SYSCTL}.d/x.conf": "[Unit]\nConditionPathExists = /no\n"},
        f"{SYSCTL}: ConditionPathExists=/no failed.\nConditions failed.",
        ("condition", f"does not start at boot (ConditionPathExists=/no in ROOT/{ETC}/{SYSCTL}.d/x.conf)"),
    ),
    "of all services": (
        {f"{ETC}/service.d/x.conf": "[Unit]\nAssertPathExists=/no\n"},
        f"{SYSCTL}: AssertPathExists=/no failed.\nAsserts failed.",
        ("condition", "service.d/x.conf"),
    ),
    "another command": (
        {f"{ETC}/{SYSCTL}.d/x.conf": "[Service]\nExecStart=\nExecStart=/bin/true\n"},
        "", ("command", f"x.conf replaces the command of {SYSCTL}"),
    ),
    "the same command": (
        {f"{ETC}/{SYSCTL}.d/x.conf": "ExecStart=\nExecStart=-/usr/lib/systemd/systemd-sysctl --strict\n"}, "", None,
    ),
    "a second command": ({f"{ETC}/{SYSCTL}.d/x.conf": "ExecStart=/bin/true\n"}, "", None),
    "a unit of their own in its place": (
        {f"{ETC}/{SYSCTL}": "[Service]\nExecStart=/bin/true\n"}, "", ("command", "replaces the command"),
    ),
    "its copy": ({f"{ETC}/{SYSCTL}": "[Service]\nExecStart=/usr/lib/systemd/systemd-sysctl\n"}, "", None),
}  # fmt: skip


def _section(root: Path, files: dict[str, str], said: str) -> Section:
    for path, text in {**VENDOR, **files}.items():
        at = root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            at.unlink(missing_ok=True)
            at.symlink_to(text.removeprefix("-> "))
        else:
            at.write_text(text)
    tool = root / "bin" / "systemd-analyze"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat <<'E'\n{said}\nE\nexit {1 if said else 0}\n")
    tool.chmod(0o755)
    script = units.SCRIPT
    for path in ("/etc", "/usr/local/lib", "/usr/lib"):
        script = re.sub(rf"(?<![\w}}]){path}(?=[/ ;]|$)", f"{root}{path}", script, flags=re.MULTILINE)
    script = f"PATH={tool.parent}:$PATH\n{script}:"
    done = subprocess.run(
        ["sh", "-s"], input=survey_script([fact("u", script)]), text=True, capture_output=True, timeout=60
    )
    found = read_frame(done.stdout.splitlines())["u"]
    assert isinstance(found, Section), done.stderr
    return found


@pytest.mark.parametrize("case", TREES)
def test_why_no_boot_runs_it(case: str, tmp_path: Path) -> None:
    files, said, expected = TREES[case]
    section = _section(tmp_path, dict(files), said)
    blocks = {
        name: replace(block, text=block.text.replace(str(tmp_path), "")) for name, block in section.blocks.items()
    }
    found = units.parse(Section(blocks)).get(SYSCTL)
    if expected is None:
        assert found is None
    else:
        assert isinstance(found, Idle)
        assert found.cause == expected[0]
        assert expected[1].replace("ROOT", "") in found.why


def test_what_systemd_cannot_say_is_unknown(tmp_path: Path) -> None:
    said = "Failed to connect to the bus"
    section = _section(tmp_path, {f"{ETC}/{SYSCTL}.d/x.conf": "ConditionPathExists=/no\n"}, said)
    assert units.parse(section)[SYSCTL] == Unknown(f"it is not known whether {SYSCTL} starts at boot: {said}")


ROW = Control(
    id="x.y", title="It holds", severity=Severity.LOW, why="It must.",
    check=standing_on(SYSCTL, MODULES, so="so nothing is set")(lambda survey, policy: passed("it holds", live=1)),
)  # fmt: skip
MASKED = Idle(SYSCTL, "masked", f"/{ETC}/{SYSCTL}")
MOVED = Idle(MODULES, "condition", f"/{ETC}/{MODULES}.d/x.conf", "ConditionPathExists=/no")


def _context(**idle: Idle | Unknown) -> Context:
    system = replace(SYSTEM, idle={f"{name}.service": found for name, found in idle.items()})
    survey, policy = Survey({System: system}), Policy("test", {})
    return Context(survey, policy, {"x.y": judge([ROW], survey, policy)[0]})


def test_what_stands_on_a_unit_fails_without_it_and_is_planned() -> None:
    assert _context().findings["x.y"].state is State.PASS
    assert list(plan_units(_context(), "x", SYSCTL, controls=("x.y",))) == []
    masked = _context(**{"systemd-sysctl": MASKED})
    assert masked.findings["x.y"].verdict.reason == f"{SYSCTL} is masked (/{ETC}/{SYSCTL}), so nothing is set"
    (change,) = plan_units(masked, "x", SYSCTL, MODULES, controls=("x.y",))
    assert isinstance(change, Command)
    assert (change.script, change.undo) == (f"systemctl unmask {SYSCTL}", f"systemctl mask {SYSCTL}")
    assert change.controls == ("x.y",)
    unknown = _context(**{"systemd-sysctl": Unknown("no answer")})
    assert unknown.findings["x.y"].state is State.UNKNOWN
    assert list(plan_units(unknown, "x", SYSCTL, controls=("x.y",))) == []


def test_a_condition_is_the_operators_to_remove() -> None:
    (change,) = plan_units(_context(**{"systemd-modules-load": MOVED}), "x", SYSCTL, MODULES, controls=("x.y",))
    assert isinstance(change, Blocked)
    assert change.next == f"remove {MOVED.line} from {MOVED.file}, then run systemctl daemon-reload"
