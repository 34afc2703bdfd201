"""Shell completion, by the protocol that the shells' scripts speak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploys.subjects import SUBJECTS
from hullproof.command import COMMANDS, main
from hullproof.completing import complete_controls
from tests.support.entry_points import ROOT

DOCKER_L = ("live-restore", "log-driver", "log-level", "log-opts")


def completed(line: str) -> list[str]:
    """What bash is offered for the last word of a command line."""
    words = line.split(" ")
    env = {"_HULLPROOF_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "hullproof"], env=os.environ | env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hullproof expl", ["plain,explain"]),
        ("hullproof explain docker.l", [f"plain,docker.{name}" for name in DOCKER_L]),
        ("hullproof explain fil", ["plain,files", "plain,files.engines", "plain,files.own"]),
        ("hullproof explain files.own --policy st", ["plain,strict"]),
        ("hullproof policy show b", ["plain,baseline"]),
        ("hullproof policy check ./ow", ["file,./ow"]),
        ("hullproof policy diff strict b", ["plain,baseline"]),
        ("hullproof report show x --state p", ["plain,pass", "plain,pending-restart", "plain,pending-reboot"]),
        ("hullproof report show x --control rkt.", ["plain,rkt.ended"]),
        ("hullproof drift inv", ["file,inv"]),
        ("hullproof drift inventory --policy s", ["plain,strict"]),
        ("hullproof harden inventory --only rkt", ["plain,rkt", "plain,rkt.ended"]),
    ],
)  # fmt: skip
def test_what_bash_is_offered(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_every_command_is_offered() -> None:
    assert {word.partition(",")[2] for word in completed("hullproof ")} == set(COMMANDS)


def test_every_control_and_subject_is_known_without_importing_them() -> None:
    known = {item.value for item in complete_controls(None, None, "")}  # type: ignore[arg-type]
    assert known == {s.name for s in SUBJECTS} | {control.id for s in SUBJECTS for control in s.controls}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_the_shells_own(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_HULLPROOF_COMPLETE={shell}_complete" in done.output


def test_bash_takes_the_script(tmp_path: Path) -> None:
    script = tmp_path / "hullproof.bash"
    script.write_text(CliRunner().invoke(main, ["completion", "bash"]).output)
    program = tmp_path / "hullproof"
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m hullproof "$@"\n')
    program.chmod(0o755)
    asked = "COMP_WORDS=(hullproof policy show st); COMP_CWORD=3; _hullproof_completion hullproof"
    ask = f". {script}; {asked}; echo ${{COMPREPLY[*]}}"
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", ask], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "strict\n"


def test_another_shell_is_refused() -> None:
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 1
