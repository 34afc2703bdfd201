"""Docker's part of the subject selinux: it labels its containers."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.core.change import Blocked, Change, Context, Part, mending
from deploys.core.control import (
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    failed,
    naming_key,
    not_applicable,
    passed,
)
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import configured, daemon_json
from deploys.selinux.controls import on_selinux
from facts.core.reading import known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.selinux import SELinux

NAME = "selinux"
LABELS = "selinux.docker-labels"


@on_selinux("containers")
@naming_key("selinux.containers", "Docker to label containers")
def docker_labels(survey: Survey, policy: Policy) -> Verdict:
    docker, reading = survey[Docker], survey[SELinux]
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    if known(reading.mode) == "disabled":
        return failed(
            "SELinux is disabled in the kernel, and Docker labels nothing without it",
            declared=True,
            disk=None,
            live=False,
        )
    if not known(reading.container_domains):
        reason = "SELinux's policy has no domain for containers, so Docker could not start a labelled one"
        return failed(reason, declared=True, disk=None, live=False)
    disk = configured(docker, "selinux-enabled") is True
    live = "name=selinux" in docker.security
    if disk and live:
        return passed("Docker labels its containers", declared=True, disk=disk, live=live)
    if disk:
        reason = "selinux-enabled is set on disk, but Docker has not been restarted since"
        return Verdict(State.PENDING_RESTART, reason, declared=True, disk=disk, live=live)
    return failed(
        "selinux-enabled is not set, so Docker does not label its containers", declared=True, disk=disk, live=live
    )


CONTROLS = (
    Control(
        id=LABELS,
        title="Docker labels its containers (selinux-enabled)",
        severity=Severity.HIGH,
        why="Without selinux-enabled, containers run in the daemon's own SELinux domain, which may do almost anything.",
        check=docker_labels,
        references=("CIS-Docker-5.3",),
        impact=Impact.RESTART,
        by_hand="set selinux-enabled in /etc/docker/daemon.json, once SELinux runs with a policy for containers, and "
        "restart Docker",
    ),
)


def plan(context: Context) -> Iterator[Change]:
    if not context.failing(LABELS):
        return
    docker, reading = context.survey[Docker], context.survey[SELinux]
    if known(reading.mode) == "disabled":
        why = "SELinux is not running yet: see the finding selinux.enforcing for the next stage"
        yield Blocked(NAME, "label containers", why=why, controls=(LABELS,))
    if not known(docker.installed) or known(reading.mode) == "disabled" or not known(reading.container_domains):
        return
    what = "set selinux-enabled: Docker labels new containers, which then start only with SELinux"
    yield from mending([LABELS], [daemon_json(context, NAME, what, put={"selinux-enabled": True})])


PART = Part(controls=CONTROLS, plan=plan, facts=(SELinux, Docker))
