"""What instances and profiles have that the policy does not name: for whoever made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.incus.rules import IncusRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.incus.incus import Configured, Daemon, Incus

OPENING = ("security.syscalls.allow", "security.syscalls.whitelist")  # in place of the filter that there is
CLOSED = ("security.syscalls.deny_default", "security.syscalls.blacklist_default")
Against = Callable[[Configured], str]


def absent(survey: Survey, policy: Policy) -> str | None:
    return None if survey[Incus].daemons else "neither Incus nor LXD is there"


def _listed(key: str, against: Against, survey: Survey, policy: Policy) -> Verdict:
    may = getattr(policy[IncusRules], key)
    if why := absent(survey, policy):
        return not_applicable(why)
    if may is None:
        return not_applicable(f"the policy does not declare incus.{key}")
    all_of = [(daemon, each, name) for daemon in survey[Incus].daemons for each, name in _named(daemon)]
    wrong = [f"{name} of {daemon.name}: {why}" for daemon, each, name in all_of
             if name not in may and (why := against(each))]  # fmt: skip
    if wrong:
        reason = f"{some(wrong)}; the policy names {some(may) or 'none'} that may (incus.{key})"
        return failed(reason, declared=may, disk=wrong)
    return passed("no instance or profile that the policy does not name is against this", declared=may, disk=[])


def _named(daemon: Daemon) -> Iterator[tuple[Configured, str]]:
    """With what the policy calls them."""
    for instance in known(daemon.instances):
        yield instance, instance.name
    for profile in known(daemon.profiles):
        yield profile, f"profile:{profile.name}"


def _privileged(each: Configured) -> str:
    return "root in it is root on the host (security.privileged)" if each.on("security.privileged") else ""


def _nesting(each: Configured) -> str:
    return "it may run containers in containers (security.nesting)" if each.on("security.nesting") else ""


def _raw(each: Configured) -> str:
    keys = [key for key in sorted(each.config) if each.config[key] and (key.startswith("raw.") or key in OPENING)]
    keys += [key for key in CLOSED if each.off(key)]
    return f"it has {some(keys)}" if keys else ""


def _control(key: str, against: Against, title: str, severity: Severity, why: str, todo: str) -> Control:
    return Control(
        id=f"incus.{key}",
        title=title,
        severity=severity,
        why=why,
        check=partial(_listed, key, against),
        references=("NIST-800-190-4.4.3",),
        by_hand=f"{todo}, or name it in incus.{key}",
    )


CONTROLS = (
    _control(
        "privileged",
        _privileged,
        "No instance of Incus or LXD has the host's ids",
        Severity.HIGH,
        "Whoever gets out of a privileged container as root is root on the host.",
        "unset security.privileged and start it again: its files are given to its own ids then",
    ),
    _control(
        "nesting",
        _nesting,
        "No instance of Incus or LXD runs containers in containers",
        Severity.MEDIUM,
        "Its AppArmor profile lets it mount a proc and sysfs of its own, where what is masked can be reached.",
        "unset security.nesting and start it again",
    ),
    _control(
        "raw",
        _raw,
        "No instance of Incus or LXD has lines of its own for LXC, QEMU, AppArmor or seccomp",
        Severity.HIGH,
        "Such lines are passed on as they are, and may take any protection away: lxc.apparmor.profile = unconfined.",
        "unset these keys and start it again",
    ),
)
