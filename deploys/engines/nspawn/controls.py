"""systemd-nspawn: how systemd starts machines from now on, and which machines differ from that."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Change, Context, Subject, by_hand, mending
from deploys.core.control import Control, Severity, Verdict, failed, naming_key, only_where, passed, some, undeclared
from deploys.core.policy import Policy
from deploys.engines.defaults import Defaults
from deploys.engines.nspawn import machines, undo
from deploys.engines.nspawn.defaults import ROWS
from deploys.engines.nspawn.rules import NspawnRules
from deploys.engines.nspawn.start import IDS, LIMITED, SETTINGS, later, write
from facts.core.survey import Survey
from facts.engines.nspawn.keys import unknown
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


@only_where(DEFAULTS.absent)
def _files(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: systemd-nspawn passes over what it does not know, and says so in its log alone."""
    nspawn = survey[Nspawn]
    words = [word for word in (*nspawn.words, *nspawn.stray) if word.at.rpartition(":")[0].endswith(".nspawn")]
    if wrong := [f"{word.at}: {why}" for word in words if (why := unknown(word.section, word.key))]:
        return failed(f"systemd-nspawn passes over lines: {some(wrong)}", declared="lines that it knows", disk=wrong)
    return passed("systemd-nspawn knows every line of the machines' own files", declared="lines that it knows", disk=[])


def plan(context: Context) -> Iterator[Change]:
    yield from DEFAULTS.plan(context)
    for control in context.which("nspawn.machines", "nspawn.files"):
        yield from mending([control], [by_hand(context.findings[control])])


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
    Control(
        id="nspawn.files",
        title="Every line of the machines' own files is one that systemd-nspawn knows",
        severity=Severity.LOW,
        why="A misspelled line changes nothing, though whoever wrote it takes the machine to be held by it.",
        check=_files,
        by_hand="correct the lines that the finding names (systemd.nspawn(5))",
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
    installed=lambda survey: survey[Nspawn].installed,
)
