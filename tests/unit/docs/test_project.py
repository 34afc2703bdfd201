"""What an operator installs, what `make help` says, and which version this is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def locked(file: str) -> dict[str, str]:
    """Each package's version, by its name."""
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def test_operators_get_what_running_needs_with_hashes_and_no_tools() -> None:
    lock = locked("requirements.txt")
    extras = PROJECT["optional-dependencies"]
    assert names(PROJECT["dependencies"]) <= set(lock)
    tools = names([*extras["dev"], *extras["docs"]]) - {"types-paramiko"}  # which pyinfra itself requires
    assert tools & set(lock) == set()
    entries = re.split(r"\n(?=\w)", (ROOT / "requirements.txt").read_text())
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []
    assert len(entries) == len(lock)


def test_operators_run_what_is_tested() -> None:
    tested = locked("requirements.lock")
    assert {name: tested.get(name) for name in locked("requirements.txt")} == locked("requirements.txt")
    assert names(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]) <= set(tested)
    assert names(PROJECT["optional-dependencies"]["docs"]) & set(tested) == set()


def test_the_changelog_begins_with_this_version() -> None:
    released = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == PROJECT["version"]


def test_every_target_says_what_it_is_for() -> None:
    targets = re.findall(r"^([a-z][a-z0-9 -]*):(?!=)(?! VARIANTS =)(.*)$", MAKEFILE, re.MULTILINE)
    assert [name for name, rest in targets if "  ## " not in rest] == []
    assert len(targets) > 20


def test_hooks_call_targets_that_there_are() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    wanted = {hook["entry"].removeprefix("make -s ") for hook in hooks}
    lint = re.search(r"^lint: (.*?)  ##", MAKEFILE, re.MULTILINE)
    assert lint is not None
    assert wanted == {*lint[1].split()}
