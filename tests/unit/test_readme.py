"""What the README shows is what there is: commands, files, options, states, the policy, the names to accept."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploys.core.change import RETRY
from deploys.core.control import State
from deploys.core.policy_file import load_policy
from deploys.subjects import SUBJECTS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"^    (\S.*)$", README, re.MULTILINE)]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)(?:`|    )", README))))
def test_make_targets_are_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:deploys|tests|inventories|docs|templates)/[\w./*-]+", README)))
)
def test_files_are_there(path: str) -> None:
    assert list(ROOT.glob(path.rstrip("./"))), path


def test_pyinfra_knows_the_options() -> None:
    shown = subprocess.run([Path(sys.executable).with_name("pyinfra"), "--help"], capture_output=True, text=True).stdout
    used = {word for command in COMMANDS if command.startswith("pyinfra") for word in command.split() if word[0] == "-"}
    assert used
    assert {word for word in used if word not in shown} == set()


def test_the_policy_shown_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    path = tmp_path / "shown.yml"
    path.write_text("".join(blocks))
    policy = load_policy(str(path), SUBJECTS)
    assert policy.waiver_for("containers.privileged")


def test_every_state_is_explained() -> None:
    assert [state for state in State if f"`{state.value}`" not in README] == []


def test_the_names_to_accept_are_the_codes() -> None:
    named = set(re.findall(r"^\| `([a-z-]+)` \|", README, re.MULTILINE)) - {state.value for state in State}
    assert named == {RETRY, *(name for subject in SUBJECTS for name in subject.accepts)}
