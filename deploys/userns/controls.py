"""User namespaces: the host allows enough of them, and no two owners share subordinate ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from pydantic import Field

from deploys.core.change import (
    Blocked,
    Change,
    Command,
    Context,
    Subject,
    WriteFile,
    by_hand,
    mending,
)
from deploys.core.control import (
    Check,
    Control,
    Impact,
    Severity,
    Verdict,
    agree,
    failed,
    naming_key,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.userns.ranges import NoRange, shared
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import as_number
from facts.userns import DOCKER_USER, LIMIT_FILE, LXC_DEFAULT, PODMAN_USER, SUBGID, SUBUID, Overlap, Userns

LIMIT = "user.max_user_namespaces"
RANGES = "userns.ranges"
USERS = "rootless.ranges"  # which says of each user that the policy names what is wrong


class UsernsRules(Rules):
    """User namespaces and the subordinate ids that they map."""

    max_user_namespaces: int | None = Field(
        None, ge=1, description="user.max_user_namespaces is at least this; 0 is refused, since it breaks containers."
    )
    ranges: Literal[True] | None = Field(
        None, description="No range of subordinate ids overlaps another owner's range, or a user's or group's own id."
    )
    docker_remap: Literal[True] | None = Field(
        None, description="Docker maps root in containers to ids without rights on the host (userns-remap)."
    )


def on_userns(key: str, wanted: str = "") -> Callable[[Check], Check]:
    """Only where the policy declares `key`. `wanted`: what the key wants."""
    name = f"userns.{key}"
    where, naming = only_where(undeclared(UsernsRules, name)), naming_key(name, wanted)
    return lambda check: where(naming(check))


# ------------------------------------------------------------------------------------------------ controls


@on_userns("max_user_namespaces")
def _check_limits(survey: Survey, policy: Policy) -> Verdict:
    least = policy[UsernsRules].max_user_namespaces or 1
    live, stored = known(survey[Userns].max_user_namespaces), known(survey[Kernel].sysctls.stored(LIMIT))
    written = as_number(stored.value) if stored else None
    disk = live if written is None else written  # the kernel rejects what is not a number, and keeps its own default
    return agree(
        declared=least,
        disk=disk,
        live=live,
        impact=Impact.NONE,
        holds=lambda value: value is not None and value >= least,
        what=LIMIT,
    )


@on_userns("ranges", "a range for each owner alone")
def _check_ranges(survey: Survey, policy: Policy) -> Verdict:
    overlaps = known(survey[Userns].overlaps)
    if not overlaps:
        return passed(
            "no range of subordinate ids overlaps another, or a user's or group's own id", declared=[], disk=[], live=[]
        )
    rows = [str(overlap) for overlap in overlaps]
    more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
    return failed("; ".join(rows[:4]) + more, declared=[], disk=rows, live=rows)


ANOTHER = (
    f"give one of the two owners another range in {SUBUID} and {SUBGID}, or where its idmap says it (lxc.idmap, virsh "
    "edit), and change the ids of its files, which hullproof cannot tell from others'; or have the policy name a "
    "user of the two (rootless.users, rootless.ranges)"
)
CONTROLS = (
    Control(
        id="userns.limits",
        title="The host allows as many user namespaces as the policy wants",
        severity=Severity.LOW,
        why="Every container with ids of its own needs a user namespace; at the limit no further one starts.",
        check=_check_limits,
        by_hand=f"set {LIMIT} with sysctl -w, and in the file of /etc/sysctl.d that is read last",
    ),
    Control(
        id=RANGES,
        title="Ranges of subordinate ids do not overlap",
        severity=Severity.HIGH,
        why="Two owners of the same id can read each other's files and kill each other's processes.",
        check=_check_ranges,
        references=("NIST-800-190-4.4.3",),
        by_hand=ANOTHER,
    ),
)


# ------------------------------------------------------------------------------------------------ remediation


def another_range(
    context: Context,
    owner: str,
    uses: Callable[[], bool],
    held: Callable[[], str],
    move: Callable[[], Iterable[Change]],
) -> Iterator[Change]:
    """An engine's containers get ids that nobody else has, in place of those rows of `owner` that overlap: `move` makes
    the changes. `uses`: whether the policy has the engine use that owner's rows. `held` names what may own the old ids:
    then nothing is changed, for it would be another owner's alone."""
    if not context.failing(RANGES) or not (overlap := shared(context.survey[Userns], owner)):
        return
    what = f"give {owner} ids that nobody else has"
    try:
        if not uses():
            return
        why = f"what is there may own ids of that range: {there}" if (there := held()) else ""
        changes = [] if why else list(move())
    except (NoRange, UnknownReading) as error:
        why, changes = str(error), []
    if why:
        changes = [Blocked("userns", what, why=f"{overlap}, and {why}", by_hand=ANOTHER)]
    yield from mending([RANGES], changes)


def plan(context: Context) -> Iterable[Change]:
    if context.failing("userns.limits"):
        yield from mending(["userns.limits"], _raise_limit(context))
    if context.failing(RANGES) and any(not _moves(each, context) for each in known(context.survey[Userns].overlaps)):
        yield by_hand(context.findings[RANGES])


def _moves(overlap: Overlap, context: Context) -> bool:
    """Whether one of the two is an engine's (another_range) or a user's whom the policy names, of whom it is said there
    what becomes of it."""
    engines = {DOCKER_USER, context.survey[Userns].podman_auto or PODMAN_USER, LXC_DEFAULT}
    users = context.findings[USERS].verdict.live if context.failing(USERS) else {}
    return not {*engines, *users}.isdisjoint((overlap.first.owner, overlap.second.owner))


def _raise_limit(context: Context) -> Iterator[Change]:
    reading, stored = context.survey[Userns], known(context.survey[Kernel].sysctls.stored(LIMIT))
    live, least = known(reading.max_user_namespaces), context.policy[UsernsRules].max_user_namespaces
    if live is None or least is None:
        why = "this kernel was built without user namespaces: boot one with CONFIG_USER_NS"
        yield Blocked("userns", f"set {LIMIT} to {least}", why=why)
        return
    if live < least:
        undo = f"sysctl -q -w {LIMIT}={live}"
        yield Command("userns", f"set {LIMIT} to {least} (live)", script=f"sysctl -q -w {LIMIT}={least}", undo=undo)
    what = f"set {LIMIT} to {least} at boot ({LIMIT_FILE})"
    text = f"# Written by hullproof: container engines need user namespaces.\n{LIMIT} = {least}\n"
    if text != (before := known(reading.limit_file)):
        yield WriteFile("userns", what, path=LIMIT_FILE, text=text, before=before)
    elif stored is not None and stored.file != LIMIT_FILE:
        why = f"{stored.file} is read after {LIMIT_FILE} and sets {stored.value}: remove it there"
        yield Blocked("userns", what, why=why)


SUBJECT = Subject(
    name="userns",
    rules=UsernsRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Userns, Kernel),
    unproved="it counts ids and limits; whether they keep root in a container apart is attacked as userns.docker-remap",
)
