"""systemd-nspawn: how systemd starts machines from now on, and which machines differ from that."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Change, Context, Subject, by_hand, mending
from deploys.core.control import Control, Severity, naming_key, only_where, undeclared
from deploys.engines.defaults import Defaults
from deploys.engines.nspawn import machines, undo
from deploys.engines.nspawn.defaults import ROWS
from deploys.engines.nspawn.rules import NspawnRules
from deploys.engines.nspawn.start import IDS, LIMITED, SETTINGS, later, write
from facts.engines.nspawn.nspawn import DROP_IN, TEMPLATE, Nspawn

DEFAULTS = Defaults(
    subject="nspawn",
    shown="systemd-nspawn",
    fact=Nspawn,
    rules=NspawnRules,
    installed=lambda nspawn: nspawn.installed,
    rows=ROWS,
    files=(DROP_IN, f"/usr/lib/systemd/system/{TEMPLATE}"),
    packages=("systemd-container",),
    write=write,
    later=later,
)


def plan(context: Context) -> Iterator[Change]:
    yield from DEFAULTS.plan(context)
    if context.failing("nspawn.machines"):
        yield from mending(["nspawn.machines"], [by_hand(context.findings["nspawn.machines"])])


CONTROLS = (
    *DEFAULTS.controls(),
    Control(
        id="nspawn.machines",
        title="Only machines that the policy names have files of their own which weaken them",
        severity=Severity.HIGH,
        why="A line in a machine's own file takes back what all machines are started with.",
        check=only_where(DEFAULTS.absent, undeclared(NspawnRules, "nspawn.machines"))(
            naming_key("nspawn.machines", "that no other machine differs")(machines.check)
        ),
        references=("NIST-800-190-4.4.3",),
        by_hand="remove these lines from the machine's file, or name the machine in nspawn.machines",
    ),
)

SUBJECT = Subject(
    name="nspawn",
    rules=NspawnRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Nspawn,),
    accepts=(SETTINGS, LIMITED, IDS),
    undoing=undo.remarks,
    unproved="a file says how machines are started later; what one really gets is attacked as "
    "nspawn.user-namespace and its like",
)
