"""Who connects containers to the host's bridges without root: rows of lxc-usernet(5), `USER TYPE BRIDGE COUNT`."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Blocked, Change, Context, WriteFile, mending
from deploys.core.control import Verdict, failed, passed, some
from deploys.core.policy import Policy
from deploys.engines.lxc.rules import LxcRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.lxc.lxc import USERNET, Lxc, row_of

ID = "lxc.usernet"
ACCEPT = "lxc-usernet"  # accepting it: users lose their rows


def _others(survey: Survey, policy: Policy) -> list[str]:
    """The rows that the policy does not name."""
    allowed = {row_of(row) for row in policy[LxcRules].usernet or ()}
    return [row for row in survey[Lxc].connecting if row not in allowed]


def check(survey: Survey, policy: Policy) -> Verdict:
    declared, others = policy[LxcRules].usernet, _others(survey, policy)
    if others:
        return failed(f"{USERNET} has {some(others)}", declared=declared, disk=others)
    return passed("nobody else connects containers to the host's bridges", declared=declared, disk=[])


def plan(context: Context) -> Iterator[Change]:
    if context.failing(ID):
        yield from mending([ID], _take_away(context))


def _take_away(context: Context) -> Iterator[Change]:
    others, before = _others(context.survey, context.policy), known(context.survey[Lxc].usernet) or ""
    users = some(dict.fromkeys(row.split()[0] for row in others))
    what = f"take the rows {some(others)} out of {USERNET}"
    if not context.accepts(ACCEPT):
        why = f"containers of {users} get no network device on these bridges when they start next"
        todo = "name the rows in lxc.usernet"
        yield Blocked("lxc", what, why=why, by_hand=todo, accepts=(ACCEPT,))
        return
    gone = set(others)
    text = "".join(line for line in before.splitlines(keepends=True) if row_of(line) not in gone)
    yield WriteFile(
        "lxc", f"{what}: containers of {users} that run keep their network devices", path=USERNET, text=text,
        before=before, mode="", owner="", shared="lines",
    )  # fmt: skip
