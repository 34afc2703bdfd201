"""SELinux: in force in every reading, reached in stages with evidence, and each container in a domain of its own."""

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
    not_applicable,
    only_where,
    passed,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.engines.docker.daemon import configured
from deploys.engines.restart import unknown_process
from deploys.kernel.boot_parameters import given, next_words
from deploys.lsm import controls as lsm
from deploys.selinux import stages as selinux_plan
from deploys.selinux.stages import ACCEPT, CONFINED, LABELS, RETRY, level, shared, unlabelled
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
        None, description="SELinux enforces; the way there goes over permissive, in one stage per run."
    )
    observe_hours: int | None = Field(
        None, ge=0, description="How long denials are watched in permissive before it enforces; not given is 24."
    )
    containers: Literal[True] | None = Field(
        None, description="Docker labels its containers, and each runs in a container domain with its own category."
    )


def on_selinux(key: str) -> Callable[[Check], Check]:
    """Only where the policy declares `key` and wants SELinux on this host."""
    return only_where(undeclared(SELinuxRules, f"selinux.{key}"), _not_wanted, in_container)


def _not_wanted(survey: Survey, policy: Policy) -> str | None:
    wanted = lsm.wanted(survey, policy) == "selinux"
    return None if wanted else "the policy does not want SELinux here (lsm.module)"


def stage(survey: Survey, policy: Policy) -> selinux_plan.Stage:
    hours = policy[SELinuxRules].observe_hours
    bar = lsm.barred("selinux", next_words(survey[Kernel]), survey[System].family)
    clock = survey[System].clock
    return selinux_plan.stage(survey[SELinux], bar, survey[Denials], clock, 24 if hours is None else hours)


@on_selinux("enforcing")
def enforcing(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[SELinux]
    words = next_words(survey[Kernel])
    mode, config = known(reading.mode), known(reading.config_mode)
    live = {"mode": mode, "policy": known(reading.policy_loaded), "type": known(reading.type)}
    disk = {"config": config, "command line": " ".join(_about_selinux(words)) or "nothing"}
    off = disagreements(reading, lsm.barred("selinux", words, survey[System].family))
    if not off:
        return passed("SELinux enforces, and the next boot does", "enforcing", disk, live)
    now = stage(survey, policy)
    reason = f"{'; '.join(off)}. {now.say()}"
    state = State.PENDING_REBOOT if now.name == "reboot" else State.FAIL
    return Verdict(state, reason, "enforcing", disk, live)


def _about_selinux(words: Sequence[str]) -> list[str]:
    names = ("selinux", "enforcing", "security", "lsm")
    return [word for name in names if (word := given(words, name))]


def disagreements(reading: SELinuxReading, bar: str | None) -> list[str]:
    """Which of the readings keep SELinux from enforcing, now or after the next boot, each named."""
    found = []
    mode = known(reading.mode)
    if mode != "enforcing":
        found.append(f"the kernel runs with SELinux {mode}")
    elif not known(reading.policy_loaded):
        found.append("no policy is loaded")
    if known(reading.config_mode) != "enforcing":
        found.append(f"/etc/selinux/config says {reading.config_mode or 'nothing'}")
    elif (kind := known(reading.type)) not in known(reading.policies):
        found.append(f"/etc/selinux/config names the policy {kind}, which is not installed")
    if bar:
        found.append(f"the next boot's command line has {bar}")
    if not known(reading.labelled):
        found.append("the files of this host have no labels")
    if reading.relabel_pending:
        found.append("/.autorelabel asks the next boot to label all files")
    return found


@on_selinux("containers")
def docker_labels(survey: Survey, policy: Policy) -> Verdict:
    docker, reading = survey[Docker], survey[SELinux]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if known(reading.mode) == "disabled":
        return failed("SELinux does not run yet, and Docker refuses to label without it", True, None, False)
    if not known(reading.container_domains):
        return failed("the policy has no domain for containers: Docker could not start one", True, None, False)
    disk = configured(docker, "selinux-enabled") is True
    live = "name=selinux" in docker.security
    if disk and live:
        return passed("Docker labels its containers", True, disk, live)
    if disk:
        return Verdict(State.PENDING_RESTART, "Docker has not been restarted since", True, disk, live)
    return failed("Docker does not label its containers (selinux-enabled)", True, disk, live)


@on_selinux("containers")
def containers_confined(survey: Survey, policy: Policy) -> Verdict:
    reading, docker = survey[SELinux], survey[Docker]
    if not docker.installed and not reading.podman:
        return not_applicable("neither Docker nor a container of Podman is here")
    if known(reading.mode) == "disabled":
        return failed("SELinux does not run: no container is in a domain", "confined")
    containers = known(docker.containers) if docker.installed else ()
    problems = [problem for container in containers if (problem := unlabelled(container))]
    problems += [f"Podman's {row.container} runs as {row.label}" for row in reading.podman if not level(row.label)]
    problems += shared(containers, reading.podman)
    if problems:
        return failed("; ".join(problems), "confined", None, problems)
    unknown_process(containers)
    count = len(containers) + len({row.container for row in reading.podman})
    return passed(f"{count} containers, each with a category of its own" if count else "no container runs", "confined",
                  None, "confined")  # fmt: skip


def plan(context: Context) -> Iterator[Change]:
    survey = context.survey
    if context.failing("selinux.enforcing"):
        now = stage(survey, context.policy)
        controls = context.which("selinux.enforcing", "lsm.module")
        yield from mending(controls, selinux_plan.step(context, survey[SELinux], survey[Kernel].boot, now))
    if context.failing(LABELS, CONFINED):
        yield from selinux_plan.label_containers(context, survey[SELinux])


CONTROLS = (
    Control("selinux.enforcing", "SELinux enforces, now and after the next boot", Severity.HIGH,
            "Five readings can each switch it off; permissive only logs what an escaped container does.", enforcing,
            ("STIG-RHEL9-431010", "STIG-RHEL9-431015", "NIST-800-190-4.4.3"), Impact.REBOOT, lockout=True,
            unconfirmed="What takes effect at a boot boots into permissive, or goes back to it unless sshd answers.",
            by_hand="mend what the finding names (/etc/selinux/config, the command line, the labels of the files: "
            "touch /.autorelabel) and reboot the host"),
    Control(LABELS, "Docker labels its containers", Severity.HIGH,
            "Without selinux-enabled containers run in the daemon's own domain, which may do almost anything.",
            docker_labels, ("CIS-Docker-5.3",), Impact.RESTART,
            by_hand="set selinux-enabled in /etc/docker/daemon.json, once SELinux runs with a policy for containers, "
            "and restart Docker"),
    Control(CONFINED, "Every container runs in a container domain with its own category",
            Severity.HIGH, "The category is what keeps one container from another's files.", containers_confined,
            ("CIS-Docker-5.3", "NIST-800-190-4.4.3"),
            by_hand="whoever started the container recreates it, with a label of its own (not --privileged, not "
            "--security-opt label=disable, not another one's label=level:…)"),
)  # fmt: skip

SUBJECT = Subject(
    "selinux", SELinuxRules, CONTROLS, plan, (SELinux, Denials, Lsm, Kernel, System, Docker), (ACCEPT, RETRY)
)
