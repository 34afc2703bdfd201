"""What the pages show is what there is: commands, files, options, states, policies, names, attempts, links."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploys.core.change import ACCEPT_RETRY
from deploys.core.control import State
from deploys.core.policy_file import load_policy, policy_model
from deploys.run.options import KEYS
from deploys.subjects import SUBJECTS
from docs.generate.pages import files
from hullproof.command import main
from hullproof.knowledge.proofs import proofs
from tests.support.commands import unknown_words

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
GENERATED = {ROOT / path for path in files()}
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
    if path.name != "CHANGELOG.md"  # it says what was
}
WRITTEN = [page for page in PAGES if ROOT / page not in GENERATED]
ACCEPTED = {ACCEPT_RETRY, *(name for subject in SUBJECTS for name in subject.accepts)}
every_page = pytest.mark.parametrize("page", PAGES)
written_page = pytest.mark.parametrize("page", WRITTEN)


def commands(text: str) -> list[str]:
    return [line.split("#")[0].strip() for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]


def test_the_readme_can_be_read_at_once() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


@every_page
def test_make_targets_are_there(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = set(re.findall(r"(?:`|^    )make ([a-z-]+)", PAGES[page], re.MULTILINE))
    there = {name for names in re.findall(r"^([a-z][\w .-]*):(?!=)", makefile, re.MULTILINE) for name in names.split()}
    assert shown - there == set()


@every_page
def test_files_are_there(page: str) -> None:
    paths = set(re.findall(r"(?<![\w./-])(?:deploys|facts|tests|inventories|docs|templates)/[\w./*-]+", PAGES[page]))
    real = [path for path in paths if not re.search(r"[A-Z]{4}", path) or "docs/" in path]  # deploys/SUBJECT/ is any
    assert [path for path in real if not list(ROOT.glob(path.rstrip("./")))] == []


@cache
def known_options(program: str, *words: str) -> str:
    command = [str(Path(sys.executable).with_name(program)), *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout


@written_page
def test_hullproofs_commands_are_there(page: str) -> None:
    """Each as it is shown: the command, its own, and their options."""
    for command in commands(PAGES[page]):
        program, *words = command.split()
        if program != "hullproof":
            continue
        found: click.Command = main
        context = click.Context(main, info_name="hullproof")
        while isinstance(found, click.Group) and words and not words[0].startswith("-"):
            below = found.get_command(context, words.pop(0))
            assert below is not None, command
            found = below
        known = {name for option in found.params for name in option.opts} | {"--help"}
        assert {word for word in words if re.match("-[a-z-]", word)} <= known, command


@written_page
def test_options_are_known(page: str) -> None:
    for command in commands(PAGES[page]):
        program, *words = command.split()
        given = re.findall(r"(?<=[\s[])-[\w-]+", command)
        if program == "pyinfra":
            assert [word for word in given if word not in known_options("pyinfra")] == []
            data = [word.partition("=")[0] for flag, word in pairwise(words) if flag == "--data"]
            assert set(data) <= {*KEYS}, command
        if program == "hullproof":
            assert unknown_words(command) == [], command
        if program == "pytest" and words[0] == "tests/verify":
            assert [word for word in given if word not in known_options("pytest", "tests/verify")] == []


@every_page
def test_policies_shown_are_valid(page: str, tmp_path: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", PAGES[page], re.DOTALL):
        path = tmp_path / "shown.yml"
        path.write_text(block)
        load_policy(str(path), SUBJECTS)


def test_every_state_is_explained() -> None:
    assert [state for state in State if f"`{state.value}`" not in PAGES["docs/findings.md"]] == []


@every_page
def test_names_to_accept_are_known(page: str) -> None:
    shown = {name for names in re.findall(r"\baccept=([a-z,-]+)", PAGES[page]) for name in names.split(",")}
    assert shown - {"", *ACCEPTED, "a", "b"} == set()


@cache
def named_in_a_policy() -> set[str]:
    """Every control, and every key of a subject: `docker.icc`, `docker.live_restore`."""
    fields = policy_model(SUBJECTS).model_fields
    keys = {(s.name, field.alias or key) for s in SUBJECTS for key, field in s.rules.model_fields.items()}
    assert {name for name, _ in keys} <= {*fields}
    return {f"{name}.{key}" for name, key in keys} | {control.id for s in SUBJECTS for control in s.controls}


@written_page
def test_controls_and_policy_keys_are_known(page: str) -> None:
    subjects = "|".join(subject.name for subject in SUBJECTS)
    shown = set(re.findall(rf"`((?:{subjects})\.[a-z0-9._-]+)`", PAGES[page]))
    assert shown - named_in_a_policy() == set()


@written_page
def test_attempts_shown_are_those_that_are_made(page: str) -> None:
    rows = re.findall(r"^\| (.+?) \| `(.+?)` \| \*\*works\*\* \| stopped \|$", PAGES[page], re.MULTILINE)
    assert [(title, control) for title, control in rows if title not in proofs().get(control, [])] == []


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs name them alike."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@every_page
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if file.is_file() and anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{page}: {target}"
        if page.startswith("docs/"):
            assert file.resolve().is_relative_to(DOCS), f"{page}: {target} leads out of the site"


def leaves(nav: Any) -> list[str]:
    """The pages of a navigation, in its order."""
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in leaves(item)]


def test_the_site_has_every_page_and_no_other() -> None:
    nav = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
