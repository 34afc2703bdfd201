"""The containers of LXC that there are, running or not: what their files give them is named for whoever made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from deploys.core.change import Change, Context, by_hand
from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.lxc import capabilities, filters, user_namespace
from deploys.engines.lxc.rules import LxcRules
from deploys.engines.lxc.settings import said
from deploys.userns.ranges import SIZE, NoRange
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.lxc.containers import Made
from facts.engines.lxc.lxc import GUARDED, STRICT, Lxc, LxcReading
from facts.lxc_files import PROFILE
from facts.userns import SUBGID, SUBUID, Userns

HOST_IDS, WEAKENED = "lxc.host-ids", "lxc.weakened"
SHIFT = "lxc.rootfs.options = idmap=container"
Against = Callable[[LxcReading, Policy, Made], str]


def _listed(key: str, against: Against, survey: Survey, policy: Policy) -> Verdict:
    """Containers that the policy's list does not name. One that cannot be read hides none of the others."""
    lxc, may = survey[Lxc], getattr(policy[LxcRules], key)
    if not lxc.installed:
        return not_applicable("LXC is not installed")
    if may is None:
        return not_applicable(f"the policy does not declare lxc.{key}")
    wrong, unread = _wrong(lxc, policy, may, against)
    if wrong:
        reason = f"{some([*wrong, *unread])}; the policy names {some(may) or 'none'} that may (lxc.{key})"
        return failed(reason, declared=may, disk=wrong)
    if unread:
        raise UnknownReading(some(unread))
    return passed("no container that the policy does not name is against this", declared=may, disk=[])


def _wrong(lxc: LxcReading, policy: Policy, may: list[str], against: Against) -> tuple[list[str], list[str]]:
    wrong, unread = [], []
    for made in known(lxc.made):
        if made.name in may:
            continue
        try:
            if why := against(lxc, policy, made):
                wrong.append(f"{made.name}{' (starts at boot)' if made.starts else ''}: {why}")
        except UnknownReading as error:
            unread.append(f"{made.name} was not read: {error}")
    return wrong, unread


# ------------------------------------------------------------------------------------------------ ids


def _host_ids(lxc: LxcReading, policy: Policy, made: Made) -> str:
    """Whether root in it is the host's, or one of the host's own users: other ids may be mapped one by one."""
    roots = {each.kind: each for each in user_namespace.maps(made.all(user_namespace.KEY), of_root=True)}
    if set(roots) != {"u", "g"}:
        return "its root is the host's (no lxc.idmap)"
    low = next((each for each in roots.values() if each.start < user_namespace.FIRST), None)
    return f"its root has the host's own id {low.start} ({low.source})" if low else ""


def _way(context: Context) -> str:
    """How a container is given ids of its own, with those that harden would take."""
    reading, todo = context.survey[Userns], context.findings[HOST_IDS].control.by_hand
    try:
        start = user_namespace.start_of(reading)
        if user_namespace.in_the_way(context, start):
            return todo
        given = "" if user_namespace.given(reading, start) else f"give root these ids in {SUBUID} and {SUBGID}; "
    except (NoRange, UnknownReading):
        return todo
    return (
        f"{given}stop the container, write lxc.idmap = u 0 {start} {SIZE}, lxc.idmap = g 0 {start} {SIZE} and {SHIFT} "
        f"at the end of its file, and start it again; where its file system cannot map ids (ext4, xfs and btrfs can), "
        f"leave the last line out and add {start} to the owners of its files; or name it in lxc.host_ids"
    )


# ------------------------------------------------------------------------------------------------ what is taken back


def _weakened(lxc: LxcReading, policy: Policy, made: Made) -> str:
    return some(filter(None, (_filter(lxc, made), _capabilities(policy, made))))


def _filter(lxc: LxcReading, made: Made) -> str:
    """A filter that is named after hullproof's, as common.conf does with one that refuses five calls."""
    ours = [line.value for line in known(made.lines) if line.key == PROFILE and line.value in (GUARDED, STRICT)]
    line = made.last(PROFILE)
    if not ours or (line and line.value in ours):
        return ""
    return filters.weaker(lxc, line, "strict" if ours[-1] == STRICT else "guarded")


def _capabilities(policy: Policy, made: Made) -> str:
    """What its own file drops, and a line after that gives back, as userns.conf does."""
    lines = known(made.lines)
    own = capabilities.names(line for line in lines if line.key == capabilities.DROP and line.file == made.path)
    kept = capabilities.kept(made) & own & set(policy[LxcRules].capabilities or ())
    if not kept:
        return ""
    last = (
        made.last(capabilities.KEEP) or [line for line in lines if line.key == capabilities.DROP and not line.value][-1]
    )
    return f"{said(last, last.key)} and gives back {some(sorted(kept))}"


def plan(context: Context) -> Iterator[Change]:
    """Nothing is changed: whoever made them is told what to write."""
    for name in context.which(HOST_IDS, WEAKENED):
        blocked = by_hand(context.findings[name])
        yield replace(blocked, by_hand=_way(context)) if name == HOST_IDS else blocked


def _control(name: str, against: Against, title: str, severity: Severity, why: str, todo: str) -> Control:
    key = name.partition(".")[2].replace("-", "_")
    return Control(
        id=name,
        title=title,
        severity=severity,
        why=why,
        check=partial(_listed, key, against),
        references=("NIST-800-190-4.4.3",),
        by_hand=f"{todo}, or name it in lxc.{key}",
    )


CONTROLS = (
    _control(
        HOST_IDS,
        _host_ids,
        "Containers of LXC that there are have ids of their own, running or not",
        Severity.HIGH,
        "Whoever gets out of a container as root is root on the host, unless its ids are mapped to others.",
        f"give it lxc.idmap and {SHIFT}",
    ),
    _control(
        WEAKENED,
        _weakened,
        "No container's file takes back what LXC's default gave it",
        Severity.MEDIUM,
        "What a template includes counts after the default: common.conf has a seccomp filter that refuses five calls, "
        "userns.conf gives every capability back.",
        "repeat these lines of hullproof's at the end of its file, after what it includes, and start it again",
    ),
)
