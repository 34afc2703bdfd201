"""`hullproof explain CONTROL`: all that is known of a control. Connects to no host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from deploys.core.change import ACCEPT_RETRY
from deploys.core.control import Control, Impact, by, some
from deploys.core.policy import Policy
from deploys.core.policy_file import SHIPPED, PolicyError, load_policy
from deploys.core.text import clean
from deploys.report.part import part
from deploys.report.reading import ReportError, read
from deploys.report.terminal import BOLD, paint
from deploys.subjects import SUBJECTS
from hullproof.columns import listed, row, screen
from hullproof.completing import complete_controls, complete_policies
from hullproof.inventory import InventoryError
from hullproof.knowledge import accepts
from hullproof.knowledge.controls import NotNamed, find, renames, subject_of
from hullproof.knowledge.demands import demanded_by
from hullproof.knowledge.inventory import Alike, policies_of
from hullproof.knowledge.policies import declared_for, entry_of, key_of
from hullproof.knowledge.proofs import proofs, why_unproved

LOCKOUT = "could cut the connection: the host reverts it by itself unless a fresh connection confirms it"


@click.command()
@click.argument("control", metavar="CONTROL", shell_complete=complete_controls)
@click.option("--policy", metavar="NAME|PATH", shell_complete=complete_policies, help="What this policy says of it.")
@click.option(
    "--inventory",
    metavar="INVENTORY",
    type=click.Path(),
    help="What its hosts' policies say of it; connects to none.",
)
@click.option("--report", "path", metavar="FILE|DIR", type=click.Path(), help="Its state on the hosts of this report.")
def explain(control: str, policy: str | None, inventory: str | None, path: str | None) -> None:
    """Say why a control is demanded, by which key of a policy, how it is attacked and how it is put right by hand.

    CONTROL is an id such as docker.live-restore, or a subject such as docker, whose controls are listed.
    """
    try:
        found, renamed = find(control)
        groups = _policies(policy, inventory)
        report = read(Path(path)) if path else None
    except (NotNamed, PolicyError, InventoryError, ReportError) as error:
        raise click.ClickException(_said(error, inventory)) from None
    color, width = screen()
    if renamed:
        click.echo(renamed, err=True)
    if len(found) > 1 or found[0].subject == control.strip().lower():
        lines = listed(((each.id, each.severity.value, each.title) for each in found), width)
    else:
        lines = _lines(found[0], groups, report, color, width)
    click.echo("\n".join(lines))
    if any(isinstance(group.policy, str) for group in groups):
        click.get_current_context().exit(1)


def _said(error: Exception, inventory: str | None) -> str:
    return f"{inventory}: {error}" if isinstance(error, InventoryError) else str(error)


def _policies(policy: str | None, inventory: str | None) -> list[Alike]:
    """Whose policies are told of: those of an inventory's hosts, else the one named, else the shipped ones."""
    if inventory:
        return policies_of(inventory, [f"policy={policy}"] if policy else [])
    return [Alike((), name, load_policy(name, SUBJECTS)) for name in ([policy] if policy else SHIPPED)]


def _lines(
    control: Control, groups: Sequence[Alike], report: Mapping[str, Any] | None, color: bool, width: int
) -> Iterator[str]:
    yield paint(control.id, BOLD, color) + f" ({control.severity.value})"
    yield ""
    for label, lines in (
        ("Demands", [f"{control.title}."]),
        ("Why", [control.why]),
        ("References", [", ".join(control.references)] if control.references else []),
        ("Mending it", list(_mending(control))),
        ("Wanted by", list(_wanted(control, groups))),
        ("Waived", list(_waived(control, groups))),
        ("Attacked by", list(_attacks(control))),
        ("May wait for", list(_waits(control, groups))),
        ("By hand", [_by_hand(control)]),
        ("Earlier", list(_earlier(control))),
        ("State", list(_states(control, report)) if report else []),
    ):
        yield from row(label, lines, color, width)


def _mending(control: Control) -> Iterator[str]:
    takes = (
        "takes neither a restart nor a reboot" if control.impact is Impact.NONE else f"takes a {control.impact.value}"
    )
    yield "; ".join([takes, *([LOCKOUT] if control.lockout else [])])


def _wanted(control: Control, groups: Sequence[Alike]) -> Iterator[str]:
    """The keys, each with what the policies say there; hosts by their policy."""
    keys = demanded_by(control, SUBJECTS)
    if not keys:
        yield "no key: it is judged whatever the policy says"
    names = {subject.rules: subject.name for subject in SUBJECTS}
    for rules, field in keys:
        entry = entry_of(control)[1]
        yield f"{names[rules]}.{key_of(rules, field)}{f': {entry}' if entry else ''}"
        for group in groups:
            if isinstance(group.policy, Policy):
                yield f"  {_whose(group)}: {_value(declared_for(control, group.policy, rules, field))}"
    for group in groups:
        if isinstance(group.policy, str):
            yield f"  {_whose(group)}: the policy was refused: {group.policy}"


def _whose(group: Alike) -> str:
    return f"{group.name}, on {some(group.hosts, 8)}" if group.hosts else group.name


def _value(found: Any) -> str:
    return "not demanded" if found is None or found == {} else json.dumps(clean(found), ensure_ascii=False)


def _waived(control: Control, groups: Sequence[Alike]) -> Iterator[str]:
    for group in groups:
        for waiver in group.policy.waivers_for(control.id) if isinstance(group.policy, Policy) else ():
            past = ", which is past" if waiver.expired else ""
            yield f"{_whose(group)}: {by(waiver)}{past}: {waiver.reason}"


def _attacks(control: Control) -> Iterator[str]:
    attempts = list(dict.fromkeys(proofs().get(control.id, ())))
    yield from attempts or [f"no proof: {why_unproved(control, subject_of(control))}"]


def _waits(control: Control, groups: Sequence[Alike]) -> Iterator[str]:
    """The names to accept, and on which hosts they are."""
    for name, waits in accepts.waits(control.id):
        yield f"{name}, {waits.when}"
        if name != ACCEPT_RETRY:  # which is for every control, and says all in its name
            yield f"  {waits.allows}"
        for group in groups:
            if isinstance(group.policy, Policy) and name in group.policy.accept:
                yield f"  Accepted: {_whose(group)}"


def _by_hand(control: Control) -> str:
    return control.by_hand or "harden does it; where it may not, its plan says what to do"


def _earlier(control: Control) -> Iterator[str]:
    if control.formerly:
        yield f"it was called {', '.join(control.formerly)}, which works until the release after this one"
    if control.split_from:
        yield f"what it judges was a part of {', '.join(control.split_from)}"
    if other := renames().parts.get(control.id):
        yield f"a part of what it judged is {other} now"


def _states(control: Control, report: Mapping[str, Any]) -> Iterator[str]:
    """By state and reason, the hosts that say so."""
    run = report["run"]
    yield f"in {run['kind']} of {run['finished']}, policy {run['policy']}:"
    own = {control.id, *control.formerly}
    groups: dict[tuple[str, str, str], list[str]] = {}
    silent = []
    for name, host in part(report, hosts=report["hosts"], controls=own)["hosts"].items():
        for finding in host["findings"]:
            key = finding["state"], finding["reason"], finding["next"] or ""
            groups.setdefault(key, []).append(name)
        if not host["findings"]:
            silent.append(name)
    for (state, reason, todo), hosts in groups.items():
        yield f"  {state} on {some(hosts, 8)}: {reason}{f' (next: {todo})' if todo else ''}"
    if silent:
        yield f"  not judged on {some(silent, 8)}"
