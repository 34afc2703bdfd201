"""A denial in words: who was refused what, how often, by which process, and what the ways out are."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from facts.core.numbers import utc
from facts.denials import SAME, Denial, Gap

SHOWN = 8  # kinds of denials in one sentence
MODES = {"refused": "refused", "allowed": "would have refused", "noted": "noted"}
ACCESS = {"r": "read", "w": "write", "c": "create", "d": "delete", "a": "append", "k": "lock", "l": "link",
          "m": "map", "x": "execute"}  # fmt: skip
# The usual reasons, asked in this order: (source, target, class, permission) patterns, and the way out in our words, or
# the boolean that allows it, which not every policy has.
WAYS = (
    ((r".*", r"unlabeled_t|file_t|default_t", r".*", r".*"), "the file has no proper label: restorecon -RF on it", ""),
    ((r"container_t", r"cgroup_t", r".*", r".*"), "", "container_manage_cgroup"),
    ((r"dockerd_t|podman_t|crio_t|containerd_t|container_engine_t", r".*", r"file|dir", r"mounton"),
     "label what is mounted into the container (:Z once it is container_file_t, or semanage fcontext)",
     "container_mounton_non_security"),
    ((r"container_t", r".*_port_t", r"(tcp|udp)_socket", r"name_connect"), "", "container_connect_any"),
    ((r"container_t", r".*", r"file|dir|lnk_file|sock_file", r".*"),
     "if the container is meant to have it, mount it with :Z (its own) or :z (shared)", ""),
    ((r"container_t", r".*", r"capability2?", r".*"), "start that container without what needs the capability", ""),
)  # fmt: skip


def explain(denial: Denial) -> str:
    """`docker-default refused sh to write /proc/sysrq-trigger (4 times)`."""
    times = f"{denial.count} times{' or more' * (denial.count >= SAME)}" if denial.count > 1 else "once"
    who = "/".join(denial.processes) or "a process"
    say = {"apparmor": _apparmor, "selinux": _selinux, "seccomp": _seccomp}[denial.module]
    return f"{say(denial, who)} ({times})"


def list_kinds(rows: Sequence[str]) -> str:
    """The first of these rows, and how many more kinds there are."""
    more = f"; {len(rows) - SHOWN} more kinds" if len(rows) > SHOWN else ""
    return "; ".join(rows[:SHOWN]) + more


def unknown_before(gap: Gap) -> str:
    """That what was refused is not wholly known, until when, and why."""
    until = utc(gap.until)
    return f"what was refused before {until:%Y-%m-%d %H:%M} UTC is not wholly known: {gap.why}"


def _apparmor(denial: Denial, who: str) -> str:
    head = f"AppArmor's {denial.subject} {MODES[denial.mode]} {who}"
    if denial.action == "capable":
        return f"{head} the capability {denial.kind}"
    if denial.action in ("signal", "ptrace"):
        return f"{head} to {denial.action} {denial.target} ({denial.kind})"
    if denial.kind and set(denial.kind) <= set(ACCESS):
        return f"{head} to {' and '.join(ACCESS[letter] for letter in denial.kind)} {denial.target}"
    return f"{head} the operation {denial.action} {denial.target}".rstrip() + (f" ({denial.kind})" * bool(denial.kind))


def _selinux(denial: Denial, who: str) -> str:
    head = f"SELinux {MODES[denial.mode]} {denial.subject} ({who})"
    return f"{head} the permission {denial.action} on {denial.kind} of {denial.target}"


def _seccomp(denial: Denial, who: str) -> str:
    did = "killed" if denial.mode == "refused" else "noted"
    return f"seccomp {did} {who} ({denial.subject}) for {denial.action} on {denial.target}"


def way_out(denial: Denial, booleans: Collection[str]) -> str:
    """What an operator can do about a denial of SELinux that is in the way; `booleans` are those of the policy."""
    what = (denial.subject, denial.target, denial.kind, denial.action)
    for patterns, way, boolean in WAYS:
        if all(re.fullmatch(pattern, value) for pattern, value in zip(patterns, what, strict=True)):
            if way:
                return way
            if boolean in booleans:
                return f"allow it with setsebool -P {boolean} on"
    return f"allow it by a module of your own (audit2allow -M), or semanage permissive -a {denial.subject}"
