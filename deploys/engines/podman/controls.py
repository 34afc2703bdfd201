"""Podman: what it gives the containers that root makes from now on, and who may speak to its API."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Blocked, Change, Command, Context, Remark, Subject, Undoing, by_hand, mending
from deploys.core.control import (
    Control,
    Severity,
    Verdict,
    failed,
    only_where,
    passed,
    some,
    undeclared,
)
from deploys.core.policy import Policy
from deploys.engines.defaults import Defaults
from deploys.engines.podman import filters, privileges, user_namespace
from deploys.engines.podman.defaults import ROWS
from deploys.engines.podman.rules import PodmanRules
from deploys.engines.podman.settings import set_later, write
from facts.cgroups import Cgroups
from facts.containers import Containers
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.podman.podman import DROP_IN, SOCKET, Podman
from facts.engines.rootless.rootless import Rootless
from facts.lsm import Lsm
from facts.seccomp import Seccomp
from facts.userns import Userns

API = "podman-api"  # accepting it: clients of Podman's API lose it
DEFAULTS = Defaults(
    subject="podman",
    shown="Podman",
    fact=Podman,
    rules=PodmanRules,
    installed=lambda podman: podman.installed,
    rows=(user_namespace.DEFAULT, filters.DEFAULT, privileges.DEFAULT, *ROWS),
    files=(DROP_IN, "/etc/containers/containers.conf"),
    packages=("podman", "containers-common", "golang-github-containers-common"),
    write=write,
    later=set_later,
)


@only_where(DEFAULTS.absent)
def _settings(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: Podman does not start with a file that it cannot read."""
    if broken := survey[Podman].broken:
        return failed(f"no podman command works with this: {some(broken)}", declared="TOML", disk=list(broken))
    return passed("Podman's files can be read", declared="TOML", disk=[])


@only_where(DEFAULTS.absent, undeclared(PodmanRules, "podman.api"))
def _api(survey: Survey, policy: Policy) -> Verdict:
    declared, podman = policy[PodmanRules].api, survey[Podman]
    socket = known(podman.socket)
    on_disk = ["podman.socket is enabled"] * (socket.enabled and declared == "none")
    live = ["podman.socket listens"] * (socket.active and declared == "none")
    if declared == "none":
        live += [f"a podman system service listens on {at}" for at in podman.serving if not at.startswith("fd:")]
    else:
        live += [f"the API listens on {at}" for at in podman.serving if at.startswith("tcp:")]
        others = int(socket.mode or "0", 8) & (0o007 if socket.group == "root" else 0o077)
        if socket.mode and (others or socket.owner != "root"):
            live.append(f"{SOCKET} is {socket.mode} {socket.owner}:{socket.group}")
    if wrong := on_disk + live:
        reason = f"{some(wrong)}; the policy wants {declared} (podman.api)"
        return failed(reason, declared=declared, disk=on_disk, live=live)
    return passed("who is not root cannot speak to Podman's API", declared=declared, disk=[], live=[])


def plan(context: Context) -> Iterator[Change]:
    yield from DEFAULTS.plan(context)
    if context.failing("podman.api"):
        yield from mending(["podman.api"], _close(context))


def _close(context: Context) -> Iterator[Change]:
    socket, declared = known(context.survey[Podman].socket), context.policy[PodmanRules].api
    if declared != "none" or not (socket.enabled or socket.active):
        yield by_hand(context.findings["podman.api"])
        return
    what = "stop podman.socket, and have no boot start it"
    if not context.accepts(API):
        why = "whoever speaks to Podman's API (docker-compose, a CI runner, cockpit) loses it"
        yield Blocked("podman", what, why=why, accepts=(API,))
        return
    was = [verb for verb, true in (("enable", socket.enabled), ("start", socket.active)) if true]
    undo = " && ".join(f"systemctl -q {verb} podman.socket" for verb in was)
    script = "systemctl -q disable --now podman.socket"
    yield Command("podman", what, script=script, undo=undo, interrupts="clients of Podman's API")


def _remarks(undoing: Undoing) -> Iterator[Remark]:
    yield from user_namespace.remarks(undoing)
    yield from filters.remarks(undoing)


CONTROLS = (
    Control(
        id="podman.settings",
        title="Podman's files are valid",
        severity=Severity.HIGH,
        why="No podman command works with a broken file: no container starts, and none can be stopped.",
        check=_settings,
        by_hand="correct the file that the finding names",
    ),
    *DEFAULTS.controls(),
    Control(
        id="podman.api",
        title="Podman's API is root's alone",
        severity=Severity.HIGH,
        why="The API has no passwords: whoever reaches it starts containers as root.",
        check=_api,
        references=("NIST-800-190-4.5.1",),
        by_hand="stop what listens (systemctl disable --now podman.socket, or the podman system service), or give "
        f"{SOCKET} to root alone",
    ),
)

SUBJECT = Subject(
    name="podman",
    rules=PodmanRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Podman, Userns, Containers, Cgroups, Seccomp, Lsm, Rootless),
    accepts=(API, user_namespace.REMAP),
    undoing=_remarks,
    unproved="a file says what containers get that are made later; what those really have is attacked as containers.*",
)
