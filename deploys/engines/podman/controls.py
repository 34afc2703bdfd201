"""Podman: what it gives the containers that root makes from now on, and who may speak to its API."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Change, Context, Remark, Subject, Undoing
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
from deploys.engines.podman import api, filters, networks, privileges, user_namespace
from deploys.engines.podman.defaults import ROWS
from deploys.engines.podman.rules import PodmanRules
from deploys.engines.podman.settings import set_later, write
from facts.cgroups import Cgroups
from facts.containers import Containers
from facts.core.survey import Survey
from facts.engines.podman.podman import DROP_IN, SOCKET, Podman
from facts.engines.rootless.rootless import Rootless
from facts.lsm import Lsm
from facts.seccomp import Seccomp
from facts.userns import Userns

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


def plan(context: Context) -> Iterator[Change]:
    yield from DEFAULTS.plan(context)
    yield from networks.plan(context)
    yield from api.plan(context)


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
        id=networks.ID,
        title="Podman's networks keep apart from each other",
        severity=Severity.MEDIUM,
        why="A network of its own keeps nobody out: without isolate every container on another one reaches its ports.",
        check=only_where(DEFAULTS.absent, undeclared(PodmanRules, "podman.isolate"))(networks.check),
        references=("NIST-800-190-4.3.3",),
        by_hand="make these networks again with -o isolate=true, or name them in podman.isolate; Podman's own gets a "
        "file by `podman network inspect podman | jq .[0] >/etc/containers/networks/podman.json`",
    ),
    Control(
        id=api.ID,
        title="Podman's API is root's alone",
        severity=Severity.HIGH,
        why="The API has no passwords: whoever reaches it starts containers as root.",
        check=only_where(DEFAULTS.absent, undeclared(PodmanRules, api.ID))(api.check),
        references=("NIST-800-190-4.5.1",),
        by_hand="stop what listens (systemctl disable --now podman.socket, or the podman system service), take a "
        f"ListenStream= with a port from podman.socket, or give {SOCKET} to root alone",
    ),
)

SUBJECT = Subject(
    name="podman",
    rules=PodmanRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Podman, Userns, Containers, Cgroups, Seccomp, Lsm, Rootless),
    accepts=(api.ACCEPT, user_namespace.REMAP),
    undoing=_remarks,
    unproved="a file says what containers get that are made later; what those really have is attacked as containers.*",
    installed=lambda survey: survey[Podman].installed,
)
