"""Docker's part of the subject cgroups: its containers live below the slice (cgroup-parent)."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.cgroups.controls import CgroupsRules, on_cgroups
from deploys.core.change import Change, Context, Part, mending
from deploys.core.control import Control, Impact, Severity, State, Verdict, agree, not_applicable
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import configured, daemon_json
from deploys.engines.docker.daemon_keys import NOT_IN_FORCE, untold
from facts.cgroups import SLICE, Cgroups
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import DAEMON_JSON, Docker

KEY = "cgroup-parent"
PARENT = "cgroups.docker-parent"


@on_cgroups("below", f"containers below {SLICE}")
def docker_parent(survey: Survey, policy: Policy) -> Verdict:
    """Only its systemd driver takes a slice. What the daemon runs with, it does not tell: it counts from its start."""
    docker = survey[Docker]
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    if docker.told("CgroupDriver", str) != "systemd":
        return not_applicable("Docker manages control groups itself, and takes no slice of systemd's")
    below = policy[CgroupsRules].below or []
    if SLICE not in below:
        return not_applicable(f"the policy does not name {SLICE} (cgroups.below), and hullproof sets no other")
    disk, live = configured(docker, KEY), untold(KEY, None)(docker)
    if disk in below and live == NOT_IN_FORCE:
        reason = f"{KEY} is {disk} on disk, {live}; a restart of docker applies it"
        return Verdict(State.PENDING_RESTART, reason, declared=SLICE, disk=disk, live=live)
    return agree(declared=SLICE, disk=disk, live=live, impact=Impact.RESTART, holds=below.__contains__, what=KEY)


def plan(context: Context) -> Iterator[Change]:
    if context.failing(PARENT):
        what = f"set {KEY} to {SLICE}: new containers start there, those that are there stay where they are"
        yield from mending([PARENT], [daemon_json(context, "cgroups", what, put={KEY: SLICE})])


CONTROLS = (
    Control(
        id=PARENT,
        title=f"Docker starts its containers below {SLICE}",
        severity=Severity.MEDIUM,
        why="In system.slice containers take their share from the host's own services.",
        check=docker_parent,
        references=("NIST-800-190-4.4.3",),
        impact=Impact.RESTART,
        by_hand=f"set {KEY} in {DAEMON_JSON} and restart Docker",
        files=(DAEMON_JSON,),
    ),
)
PART = Part(controls=CONTROLS, plan=plan, facts=(Cgroups, Docker))
