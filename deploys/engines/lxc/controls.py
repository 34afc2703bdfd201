"""LXC: what it gives the containers that root makes from now on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deploys.core.change import Change, Context, Subject
from deploys.core.control import Control, Severity, Verdict, failed, naming_key, only_where, passed, some, undeclared
from deploys.core.policy import Policy
from deploys.engines.defaults import Defaults, Put
from deploys.engines.lxc import capabilities, containers, filters, settings, undo, user_namespace, usernet
from deploys.engines.lxc.defaults import ROWS
from deploys.engines.lxc.rules import LxcRules
from deploys.userns.controls import RANGES
from facts.cgroups import Cgroups
from facts.containers import Containers
from facts.core.survey import Survey
from facts.engines.incus.incus import Incus
from facts.engines.lxc.lxc import DEFAULT, USERNET, Lxc
from facts.userns import Userns


def _write(context: Context, put: Put, what: str) -> Iterable[Change]:
    if user_namespace.KEY in put:
        put = {**put, user_namespace.KEY: user_namespace.lines(context)}
    return settings.write(context, put, what)


DEFAULTS = Defaults(
    subject="lxc",
    shown="LXC",
    fact=Lxc,
    rules=LxcRules,
    installed=lambda lxc: lxc.installed,
    rows=(user_namespace.DEFAULT, filters.DEFAULT, capabilities.DEFAULT, *ROWS),
    files=(DEFAULT,),
    packages=("lxc", "liblxc-common"),
    write=_write,
)


@only_where(DEFAULTS.absent)
def _settings(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: LXC makes no container with a line that it cannot read."""
    lxc = survey[Lxc]
    if lxc.broken:
        return failed(f"lxc-create makes no container with this: {some(lxc.broken)}", disk=list(lxc.broken))
    if lxc.ignored:
        return failed(f"LXC passes over a line that begins with no key: {some(lxc.ignored)}", disk=list(lxc.ignored))
    return passed("LXC reads every line", disk=[])


def plan(context: Context) -> Iterable[Change]:
    """Other ids for new containers mend what they have in common with another owner, too."""
    own = f"lxc.{user_namespace.DEFAULT.name}"
    asked = context.failing(own) and context.failing(RANGES)  # else LXC's files may be unread
    also = (RANGES,) if asked and user_namespace.shared(context.survey) else ()
    for change in DEFAULTS.plan(context):
        yield replace(change, controls=(*change.controls, *(also if own in change.controls else ())))
    yield from usernet.plan(context)
    yield from containers.plan(context)


CONTROLS = (
    Control(
        id="lxc.settings",
        title="LXC's file for new containers is valid",
        severity=Severity.HIGH,
        why="With a line that LXC cannot read no container is made, and what it passes over protects nothing.",
        check=_settings,
        by_hand="correct the line that the finding names",
        files=(DEFAULT,),
    ),
    *DEFAULTS.controls(),
    Control(
        id=usernet.ID,
        title="Only those whom the policy names connect containers to the host's bridges",
        severity=Severity.MEDIUM,
        why="Whoever has a row there puts network devices on a bridge of the host's, without being root.",
        check=only_where(DEFAULTS.absent, undeclared(LxcRules, usernet.ID))(naming_key(usernet.ID)(usernet.check)),
        references=("NIST-800-190-4.4.2",),
        by_hand=f"remove the rows from {USERNET}, or name them in lxc.usernet",
        files=(USERNET,),
    ),
    *containers.CONTROLS,
)

SUBJECT = Subject(
    name="lxc",
    rules=LxcRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Lxc, Userns, Cgroups, Containers, Incus),
    accepts=(usernet.ACCEPT, user_namespace.ACCEPT),
    undoing=undo.remarks,
    unproved="a file says what containers get that are made later; what one really gets is attacked as "
    "lxc.user-namespace and its like",
    installed=lambda survey: survey[Lxc].installed,
)
