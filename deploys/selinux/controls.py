"""SELinux: it enforces now and after a boot, and each container runs in a container domain with its own category."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from pydantic import Field

from deploys.core.change import Change, Context, Subject, mending
from deploys.core.control import (
    Check,
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    failed,
    in_container,
    naming_key,
    not_applicable,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.engines.docker.daemon import configured
from deploys.engines.docker.restart import unknown_process
from deploys.kernel.boot_parameters import given, next_words
from deploys.lsm import controls as lsm
from deploys.selinux import stages as selinux_plan
from deploys.selinux.stages import (
    ACCEPT_DENIALS,
    ACCEPT_RETRY,
    CONFINED,
    LABELS,
    Stage,
    Step,
    level,
    next_stage,
    shared,
    unlabelled,
)
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import System
from facts.denials import Denials
from facts.engines.docker.docker import Docker
from facts.kernel.kernel import Kernel
from facts.lsm import Lsm
from facts.selinux import SELinux, SELinuxReading


class SELinuxRules(Rules):
    """Mandatory access control by SELinux, where lsm.module wants it."""

    enforcing: Literal[True] | None = Field(
        None, description="SELinux enforces. harden gets there by way of permissive, one stage per run."
    )
    observe_hours: int | None = Field(
        None, ge=0, description="How many hours denials are observed in permissive before SELinux enforces; default 24."
    )
    containers: Literal[True] | None = Field(
        None, description="Docker labels its containers, and each runs in a container domain with its own category."
    )


def on_selinux(key: str) -> Callable[[Check], Check]:
    """Only where the policy declares `key` and wants SELinux on this host."""
    return only_where(undeclared(SELinuxRules, f"selinux.{key}"), _not_wanted, in_container)


def _not_wanted(survey: Survey, policy: Policy) -> str | None:
    wanted = lsm.wanted_module(survey, policy) == "selinux"
    return None if wanted else "the policy does not want SELinux on this host (lsm.module)"


def stage(survey: Survey, policy: Policy) -> Stage:
    hours = policy[SELinuxRules].observe_hours
    obstacle = lsm.boot_obstacle("selinux", next_words(survey[Kernel]), survey[System].family)
    clock = survey[System].clock
    return next_stage(survey[SELinux], obstacle, survey[Denials], clock, 24 if hours is None else hours)


@on_selinux("enforcing")
def enforcing(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[SELinux]
    words = next_words(survey[Kernel])
    mode, config = known(reading.mode), known(reading.config_mode)
    live = {"mode": mode, "policy": known(reading.policy_loaded), "type": known(reading.type)}
    disk = {"config": config, "command line": " ".join(_about_selinux(words)) or "nothing"}
    off = disagreements(reading, lsm.boot_obstacle("selinux", words, survey[System].family))
    if not off:
        return passed("SELinux enforces, and does after the next boot", "enforcing", disk, live)
    now = stage(survey, policy)
    reason = f"{'; '.join(off)}; the policy wants enforcing (selinux.enforcing). {now.say()}"
    state = State.PENDING_REBOOT if now.step is Step.REBOOT else State.FAIL
    return Verdict(state, reason, "enforcing", disk, live)


def _about_selinux(words: Sequence[str]) -> list[str]:
    names = ("selinux", "enforcing", "security", "lsm")
    return [word for name in names if (word := given(words, name))]


def disagreements(reading: SELinuxReading, obstacle: lsm.BootObstacle | None) -> list[str]:
    """Which readings keep SELinux from enforcing, now or after the next boot."""
    found = []
    mode = known(reading.mode)
    if mode != "enforcing":
        found.append(f"SELinux is {mode} in the kernel")
    elif not known(reading.policy_loaded):
        found.append("the kernel has no SELinux policy loaded")
    if known(reading.config_mode) != "enforcing":
        set_ = f"has SELINUX={reading.config_mode}" if reading.config_mode else "sets no mode"
        found.append(f"/etc/selinux/config {set_}")
    elif (kind := known(reading.type)) not in known(reading.policies):
        found.append(f"/etc/selinux/config names the policy {kind}, which is not installed")
    if obstacle:
        found.append(f"the next boot's command line has {obstacle}")
    if not known(reading.labelled):
        found.append("the files of this host have no SELinux labels")
    if reading.relabel_pending:
        found.append("/.autorelabel has the next boot label all files")
    return found


@on_selinux("containers")
@naming_key("selinux.containers", "Docker to label containers")
def docker_labels(survey: Survey, policy: Policy) -> Verdict:
    docker, reading = survey[Docker], survey[SELinux]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if known(reading.mode) == "disabled":
        return failed("SELinux is disabled in the kernel, and Docker labels nothing without it", True, None, False)
    if not known(reading.container_domains):
        reason = "SELinux's policy has no domain for containers, so Docker could not start a labelled one"
        return failed(reason, True, None, False)
    disk = configured(docker, "selinux-enabled") is True
    live = "name=selinux" in docker.security
    if disk and live:
        return passed("Docker labels its containers", True, disk, live)
    if disk:
        reason = "selinux-enabled is set on disk, but Docker has not been restarted since"
        return Verdict(State.PENDING_RESTART, reason, True, disk, live)
    return failed("selinux-enabled is not set, so Docker does not label its containers", True, disk, live)


@on_selinux("containers")
@naming_key("selinux.containers", "a container domain and a category for each container")
def containers_confined(survey: Survey, policy: Policy) -> Verdict:
    reading, docker = survey[SELinux], survey[Docker]
    if not docker.installed and not reading.podman:
        return not_applicable("Docker is not installed, and no container of Podman is running")
    if known(reading.mode) == "disabled":
        return failed("SELinux is disabled in the kernel, so it confines no container", "confined")
    containers = known(docker.containers) if docker.installed else ()
    problems = [problem for container in containers if (problem := unlabelled(container))]
    bare = (row for row in reading.podman if not level(row.label))
    problems += [f"Podman's {row.container} runs with the label {row.label}" for row in bare]
    problems += shared(containers, reading.podman)
    if problems:
        return failed("; ".join(problems), "confined", None, problems)
    unknown_process(containers)
    count = len(containers) + len({row.container for row in reading.podman})
    confined = f"{count} running container{'s' * (count > 1)}, each in a container domain with its own category"
    return passed(confined if count else "no container is running", "confined", None, "confined")


def plan(context: Context) -> Iterator[Change]:
    survey = context.survey
    if context.failing("selinux.enforcing"):
        now = stage(survey, context.policy)
        controls = context.which("selinux.enforcing", "lsm.module")
        yield from mending(controls, selinux_plan.step(context, survey[SELinux], survey[Kernel].boot, now))
    if context.failing(LABELS, CONFINED):
        yield from selinux_plan.label_containers(context, survey[SELinux])


CONTROLS = (
    Control(
        id="selinux.enforcing",
        title="SELinux enforces, now and after the next boot",
        severity=Severity.HIGH,
        why="In permissive or disabled, SELinux stops nothing: a process that escapes from its container reaches "
        "whatever its user may reach.",
        check=enforcing,
        references=("STIG-RHEL9-431010", "STIG-RHEL9-431015", "NIST-800-190-4.4.3"),
        impact=Impact.REBOOT,
        lockout=True,
        unconfirmed="What takes effect at a boot boots into permissive, or goes back to it unless sshd answers.",
        by_hand="correct what the finding names (/etc/selinux/config, the command line, the labels of the files with "
        "touch /.autorelabel) and reboot the host",
    ),
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
    Control(
        id=CONFINED,
        title="Every running container is in an SELinux container domain with its own category",
        severity=Severity.HIGH,
        why="Without a container domain SELinux does not hold an escaped process back, and containers that share a "
        "category can reach each other's files.",
        check=containers_confined,
        references=("CIS-Docker-5.3", "NIST-800-190-4.4.3"),
        by_hand="whoever started the container recreates it with a label of its own (without --privileged, "
        "--security-opt label=disable, or another container's label=level:…)",
    ),
)

SUBJECT = Subject(
    name="selinux",
    rules=SELinuxRules,
    controls=CONTROLS,
    plan=plan,
    facts=(SELinux, Denials, Lsm, Kernel, System, Docker),
    accepts=(ACCEPT_DENIALS, ACCEPT_RETRY),
)
