"""A denial as a sentence: what was denied to which process, how often, and how the operator can allow it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from facts.core.numbers import utc
from facts.denials import SAME, Denial, Gap

SHOWN = 8  # kinds of denials in one sentence
MODES = {"refused": "denied", "allowed": "would have denied", "noted": "recorded for"}
ACCESS = {"r": "read", "w": "write", "c": "create", "d": "delete", "a": "append", "k": "lock", "l": "link",
          "m": "map", "x": "execute"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WayOut:
    """How to allow denials that match these patterns: by `advice`, or by `boolean`, which not every policy has."""

    source: str = ".*"
    target: str = ".*"
    kind: str = ".*"
    permission: str = ".*"
    advice: str = ""
    boolean: str = ""

    def fits(self, denial: Denial) -> bool:
        patterns = (self.source, self.target, self.kind, self.permission)
        values = (denial.subject, denial.target, denial.kind, denial.action)
        return all(re.fullmatch(pattern, value) for pattern, value in zip(patterns, values, strict=True))


# The usual causes; the first that fits counts.
WAYS = (
    WayOut(
        target="unlabeled_t|file_t|default_t",
        advice="the file has no proper label: run restorecon -RF on it",
    ),
    WayOut(source="container_t", target="cgroup_t", boolean="container_manage_cgroup"),
    WayOut(
        source="dockerd_t|podman_t|crio_t|containerd_t|container_engine_t",
        kind="file|dir",
        permission="mounton",
        advice="label what is mounted into the container (:Z once it is container_file_t, or semanage fcontext)",
    ),
    WayOut(
        source="container_t",
        target=".*_port_t",
        kind="(tcp|udp)_socket",
        permission="name_connect",
        boolean="container_connect_any",
    ),
    WayOut(
        source="container_t",
        kind="file|dir|lnk_file|sock_file",
        advice="if the container is meant to have it, mount it with :Z (for this container) or :z (shared)",
    ),
    WayOut(
        source="container_t",
        kind="capability2?",
        advice="start that container without the program that needs the capability",
    ),
)


def explain(denial: Denial) -> str:
    """`AppArmor profile docker-default denied sh write access to /proc/sysrq-trigger (4 times)`."""
    times = f"{denial.count} times{' or more' * (denial.count >= SAME)}" if denial.count > 1 else "once"
    who = "/".join(denial.processes) or "a process"
    say = {"apparmor": _apparmor, "selinux": _selinux, "seccomp": _seccomp}[denial.module]
    return f"{say(denial, who)} ({times})"


def list_kinds(rows: Sequence[str]) -> str:
    """The first of these rows, and how many more kinds of denial there are."""
    more = f"; {len(rows) - SHOWN} more kinds" if len(rows) > SHOWN else ""
    return "; ".join(rows[:SHOWN]) + more


def unknown_before(gap: Gap) -> str:
    """Until when the record of denials has gaps, and why."""
    until = utc(gap.until)
    return f"the record of denials before {until:%Y-%m-%d %H:%M} UTC is incomplete: {gap.why}"


def _apparmor(denial: Denial, who: str) -> str:
    head = f"AppArmor profile {denial.subject} {MODES[denial.mode]} {who}"
    if denial.action == "capable":
        return f"{head} the capability {denial.kind}"
    if denial.action in ("signal", "ptrace"):
        return f"{head} {denial.action} {'to' if denial.action == 'signal' else 'of'} {denial.target} ({denial.kind})"
    if denial.kind and set(denial.kind) <= set(ACCESS):
        return f"{head} {' and '.join(ACCESS[letter] for letter in denial.kind)} access to {denial.target}"
    return f"{head} the operation {denial.action} {denial.target}".rstrip() + (f" ({denial.kind})" * bool(denial.kind))


def _selinux(denial: Denial, who: str) -> str:
    head = f"SELinux {MODES[denial.mode]} {who} ({denial.subject})"
    return f"{head} the permission {denial.action} on {denial.target}:{denial.kind}"


def _seccomp(denial: Denial, who: str) -> str:
    did = "killed" if denial.mode == "refused" else "recorded"
    return f"seccomp {did} {who} ({denial.subject}) for {denial.action} on {denial.target}"


def way_out(denial: Denial, booleans: Collection[str]) -> str:
    """How an operator can allow what SELinux denied; `booleans` are those of the policy."""
    for way in WAYS:
        if way.fits(denial):
            if way.advice:
                return way.advice
            if way.boolean in booleans:
                return f"allow it with setsebool -P {way.boolean} on"
    return f"allow it with a module of your own (audit2allow -M), or with semanage permissive -a {denial.subject}"
