"""`hullproof policy check|show|diff`: what policies say. Connects to no host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from deploys.core.policy import Policy
from deploys.core.policy_file import PolicyError, load_policy, policy_tree
from deploys.core.policy_tree import Steps, Tree
from deploys.core.text import clean, clean_text
from deploys.report.terminal import BOLD, fill, paint
from deploys.subjects import SUBJECTS
from hullproof.columns import screen
from hullproof.completing import complete_policies
from hullproof.inventory import InventoryError
from hullproof.knowledge.differences import Otherwise, Way, differences
from hullproof.knowledge.inventory import Alike, policies_of

DEFAULT = "baseline"  # as for a run


@click.group()
def policy() -> None:
    """Check, show and compare policies."""


@policy.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_policies)
def check(files: Sequence[str]) -> None:
    """Check policies before a run does; exits 1 if one is refused.

    Each error names the file, the line and the key.
    """
    wrong = 0
    for name in files:
        try:
            loaded = load_policy(_path(name), SUBJECTS)
        except PolicyError as error:
            wrong += 1
            click.echo(str(error), err=True)
            continue
        for note in loaded.notes:
            click.echo(clean_text(note), err=True)
        for waiver in loaded.waivers:
            if waiver.expired:
                past = f"the waiver of {waiver.control} ended on {waiver.until} and waives nothing"
                click.echo(clean_text(f"{name}: {past} (owner: {waiver.owner})"), err=True)
        click.echo(f"{clean_text(name)}: no error found")
    click.get_current_context().exit(1 if wrong else 0)


def _path(name: str) -> str:
    """A file in this folder is meant before a policy of that name is."""
    return f"./{name}" if "/" not in name and Path(name).is_file() else name


def _load(name: str) -> Policy:
    try:
        return load_policy(_path(name), SUBJECTS)
    except PolicyError as error:
        raise click.ClickException(str(error)) from None


@policy.command()
@click.argument("name", metavar="[NAME|PATH]", required=False, shell_complete=complete_policies)
@click.option("--inventory", metavar="INVENTORY", type=click.Path(), help="Its hosts' policies; connects to none.")
def show(name: str | None, inventory: str | None) -> None:
    """Show a policy with all that it extends, as YAML that says where each value is from.

    Without a name, and for hosts that have none, it is the baseline.
    """
    if not inventory:
        chosen = _path(name or DEFAULT)
        _load(chosen)
        click.echo("\n".join(_yaml(policy_tree(chosen, SUBJECTS))))
        return
    try:
        groups = policies_of(inventory, [f"policy={_path(name)}"] if name else [])
    except InventoryError as error:
        raise click.ClickException(f"{inventory}: {error}") from None
    for number, group in enumerate(groups):
        click.echo("\n".join([*(["---"] if number else []), *_of_hosts(group)]))
    click.get_current_context().exit(1 if any(isinstance(group.policy, str) for group in groups) else 0)


def _of_hosts(group: Alike) -> Iterator[str]:
    yield clean_text(f"# policy {group.name}, on {', '.join(group.hosts)}")
    if isinstance(group.policy, str):
        yield clean_text(f"# refused: {group.policy}")
        return
    tree = policy_tree(group.name, SUBJECTS)
    if more := sorted(group.policy.accept - set(tree.data.get("accept") or ())):
        yield f"# accepted besides, by the inventory's data: {', '.join(more)}"
    yield from _yaml(tree)


def _yaml(tree: Tree, at: Steps = ()) -> Iterator[str]:
    """A line for each value, with the file and the line that it is from."""
    value: Any = tree.data
    for step in at:
        value = value[step]
    indent = "  " * len(at)
    for key, below in value.items():
        here = (*at, key)
        if isinstance(below, dict) and below:
            yield f"{indent}{_plain(key)}:"
            yield from _yaml(tree, here)
        elif isinstance(below, list) and any(isinstance(item, dict) for item in below):
            yield f"{indent}{_plain(key)}:"
            yield from (f"{indent}  - {_plain(item)}  # {_from(tree, (*here, at))}" for at, item in enumerate(below))
        else:
            yield f"{indent}{_plain(key)}: {_plain(below)}  # {_from(tree, here)}"


def _plain(value: Any) -> str:
    """On one line; non-ASCII that a terminal could obey is escaped."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _from(tree: Tree, steps: Steps) -> str:
    return clean_text(str(tree.place(steps)[0]))


TITLES = {
    Way.MORE: "{} demands more:",
    Way.LESS: "{} demands less:",
    Way.OTHERWISE: "{} says otherwise:",
}


@policy.command()
@click.argument("a", shell_complete=complete_policies)
@click.argument("b", shell_complete=complete_policies)
def diff(a: str, b: str) -> None:
    """What policy B demands more than A, less, or otherwise, by keys and by the controls that they ask for."""
    found = differences(_load(a), _load(b))
    color, width = screen()
    for way, title in TITLES.items():
        own = [row for row in found if row.way is way]
        if own:
            click.echo(paint(title.format(clean_text(b)), BOLD, color))
            click.echo("\n".join(line for row in own for line in _row(row, width)))
    counts = (f"{sum(row.way is way for row in found)} {way}" for way in Way)
    click.echo(f"{', '.join(counts)}.")


def _row(row: Otherwise, width: int) -> Iterator[str]:
    said = f"{row.key}: {_value(row.before)} -> {_value(row.after)}"
    yield fill(clean_text(said), width, initial_indent="  ", subsequent_indent="    ")
    for control in row.controls:
        yield fill(f"{control.id}: {control.title}", width, initial_indent="    ", subsequent_indent="      ")


def _value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(clean(value), ensure_ascii=False)
