"""The examples for CI: they are YAML, and what they call is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploys.report import formats
from tests.support.commands import unknown_words

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "docs" / "examples").glob("*.yml"))
every_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)


def texts(value: Any) -> Iterator[str]:
    """All texts in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def lines(path: Path) -> list[str]:
    """The lines of scripts, as a shell gets them."""
    found = [line for text in texts(yaml.safe_load(path.read_text())) for line in text.splitlines()]
    return [line for line in found if line.startswith("hullproof ")]


@every_example
def test_commands_and_options_are_there(path: Path) -> None:
    assert lines(path)
    assert [word for line in lines(path) for word in unknown_words(line)] == []


def test_a_command_that_is_not_there_would_be_seen() -> None:
    assert unknown_words("hullproof drfit x.py") == ["drfit"]
    assert unknown_words("hullproof watch begin x.py") == ["begin"]
    assert unknown_words("hullproof watch install x.py --evry=1h") == ["--evry"]


@every_example
def test_files_of_the_report_are_those_that_are_written(path: Path) -> None:
    named = set(re.findall(r"report/([\w.]+)", " ".join(texts(yaml.safe_load(path.read_text())))))
    assert named
    assert named <= {"report.json", *formats.FORMATS}


def test_nothing_is_put_into_a_script_before_the_shell_reads_it() -> None:
    """GitHub replaces ${{ }} in the script's text: what it stands for would be code."""
    whole = yaml.safe_load((EXAMPLES[0].parent / "github-actions.yml").read_text())
    steps = [step for job in whole["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []
