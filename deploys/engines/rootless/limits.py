"""What each user who may run containers without root takes of the host at most: the limits of the user's slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from deploys.cgroups.controls import most
from deploys.cgroups.plan import Limited, plan_limits, to_write
from deploys.core.change import Change, Context, mending
from deploys.core.control import Check, Control, Impact, Severity, Verdict, agree, failed, passed, some
from deploys.core.policy import Policy
from deploys.engines.rootless.rules import RootlessRules, users_of
from facts.cgroups import DEFAULT_WEIGHT, PROPERTIES, Cgroups
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.rootless.rootless import Rootless
from facts.engines.rootless.slices import LIMITS, UserSlice, drop_in, slice_of
from facts.userns import Userns

_TITLES = {
    "memory": "Users who run containers without root leave the host memory",
    "pids": "Users who run containers without root leave the host processes",
    "cpu": "Others come before users who run containers without root on the host's processors",
}
_WHY = {
    "memory": "Users' containers lie outside machine.slice: one that grows takes the memory of the host's services.",
    "pids": "Users' containers lie outside machine.slice: a fork bomb in one takes the host's last process number.",
    "cpu": "Users' containers lie outside machine.slice: under load the host's services get no more than one user.",
}


def slices(survey: Survey, policy: Policy) -> dict[str, UserSlice | None]:
    """By user whom the policy names: their slice; None where it was not read."""
    passwd, found = known(survey[Userns].passwd), {each.uid: each for each in known(survey[Rootless].slices)}
    return {user: found.get(passwd.get(user, -1)) for user in users_of(policy)}


def _check(limit: str, survey: Survey, policy: Policy) -> Verdict:
    declared, cgroups = getattr(policy[RootlessRules], limit), survey[Cgroups]
    if cgroups.version != "v2":
        return failed("the host runs version 1 of control groups, in which no slice holds all of it", declared=declared)
    least, wrong, unread = most(cgroups, limit, declared), {}, []
    for user, found in slices(survey, policy).items():
        if found is None:
            unread.append(
                f"the slice of {user} was not read: {user} is not listed by getent passwd, the host has more than 50 "
                "people's accounts, or the number is none of theirs"
            )
        elif not (verdict := _of(found, limit, least)).state.holds:
            wrong[user] = verdict.reason
    if wrong:
        return failed(some(f"of {user}, {why}" for user, why in wrong.items()), declared=least, disk=None, live=wrong)
    if unread:
        raise UnknownReading(some(unread))
    return passed(f"the slices of {some(users_of(policy))} have this limit", declared=least, disk=None, live={})


def _of(found: UserSlice, limit: str, least: int) -> Verdict:
    disk = found.limits.declared.get(limit)
    live = found.limits.live.get(limit) if found.limits.live else disk

    def holds(value: int | None) -> bool:
        return (DEFAULT_WEIGHT if value is None and limit == "cpu" else value or 1 << 64) <= least

    return agree(declared=least, disk=disk, live=live, impact=Impact.NONE, holds=holds, what=PROPERTIES[limit])


def controls(on_rootless: Callable[..., Callable[[Check], Check]]) -> tuple[Control, ...]:
    return tuple(
        Control(
            id=f"rootless.{limit}",
            title=_TITLES[limit],
            severity=Severity.MEDIUM,
            why=_WHY[limit],
            check=on_rootless(limit, of_users=True)(partial(_check, limit)),
            by_hand=f"systemctl set-property user-UID.slice {PROPERTIES[limit]}=…",
            references=("NIST-800-190-4.4.3",),
        )
        for limit in LIMITS
    )


def plan(context: Context) -> Iterator[Change]:
    failing = context.which(*(f"rootless.{limit}" for limit in LIMITS))
    if not failing:
        return
    rules = context.policy[RootlessRules]
    wanted = {limit: value for limit in LIMITS if (value := getattr(rules, limit)) is not None}
    within = {limit: most(context.survey[Cgroups], limit, value) for limit, value in wanted.items()}
    for user, found in slices(context.survey, context.policy).items():
        wrong = [limit for limit in wanted if found and not _of(found, limit, within[limit]).state.holds]
        if found and wrong:
            put = to_write(wanted, wrong, known(found.drop_in))
            yield from mending(failing, [plan_limits(_limited(user, found), put, within)])


def _limited(user: str, found: UserSlice) -> Limited:
    name = slice_of(found.uid)
    return Limited(
        subject="rootless", slice=name, shown=f"{name} ({user})", who=f"{user}'s processes",
        head=f"what {user} may take of this host, with all containers that {user} runs.",
        reading=found.limits, path=drop_in(found.uid), before=known(found.drop_in),
    )  # fmt: skip
