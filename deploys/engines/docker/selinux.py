"""Docker's part of the subject selinux: it labels its containers, and each runs in a domain and category of its own."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

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
from deploys.engines.docker.restart import options, unknown_process
from deploys.selinux.controls import on_selinux
from deploys.selinux.labels import level
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Container, Docker
from facts.selinux import Labelled, SELinux

NAME = "selinux"
LABELS, CONFINED = "selinux.docker-labels", "selinux.containers-confined"
MOST_JOINED = 20  # containers that each join another one


@on_selinux("containers")
@naming_key("selinux.containers", "Docker to label containers")
def docker_labels(survey: Survey, policy: Policy) -> Verdict:
    docker, reading = survey[Docker], survey[SELinux]
    if not docker.installed:
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


@on_selinux("containers")
@naming_key("selinux.containers", "a container domain and a category for each container")
def containers_confined(survey: Survey, policy: Policy) -> Verdict:
    reading, docker = survey[SELinux], survey[Docker]
    if not docker.installed and not reading.podman:
        return not_applicable("Docker is not installed, and no container of Podman is running")
    if known(reading.mode) == "disabled":
        return failed("SELinux is disabled in the kernel, so it confines no container", declared="confined")
    containers = known(docker.containers) if docker.installed else ()
    problems = [problem for container in containers if (problem := unlabelled(container))]
    bare = (row for row in reading.podman if not level(row.label))
    problems += [f"Podman's {row.container} runs with the label {row.label}" for row in bare]
    problems += shared(containers, reading.podman)
    if problems:
        return failed("; ".join(problems), declared="confined", disk=None, live=problems)
    unknown_process(containers)
    count = len(containers) + len({row.container for row in reading.podman})
    confined = f"{count} running container{'s' * (count > 1)}, each in a container domain with its own category"
    return passed(confined if count else "no container is running", declared="confined", disk=None, live="confined")


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


def plan(context: Context) -> Iterator[Change]:
    if not context.failing(LABELS, CONFINED):
        return
    docker, reading = context.survey[Docker], context.survey[SELinux]
    if known(reading.mode) == "disabled":
        why = "SELinux is not running yet: see the finding selinux.enforcing for the next stage"
        yield Blocked(NAME, "label containers", why=why, controls=context.which(LABELS, CONFINED))
    if not docker.installed or known(reading.mode) == "disabled" or not known(reading.container_domains):
        return
    if context.failing(LABELS):
        what = "set selinux-enabled: Docker labels new containers, which then start only with SELinux"
        yield from mending([LABELS], [daemon_json(context, NAME, what, put={"selinux-enabled": True})])


def unlabelled(container: Container) -> str | None:
    if isinstance(container.process, Unknown) or level(container.process.label):
        return None
    if container.privileged or "disable" in options(container, "label"):
        return f"{container.name} was started without a label (--privileged or label=disable)"
    label = f"with the label {container.process.label}" if container.process.label else "without a label"
    return f"{container.name} runs {label}: Docker labels a container when it creates it, so recreate it"


def shared(containers: Sequence[Container], podman: Sequence[Labelled]) -> list[str]:
    """Which containers share a category. Those of one pod may, and those that share processes or memory."""
    users: dict[str, dict[str, str]] = {}
    leader = _leaders(containers)
    for container in containers:
        if not isinstance(container.process, Unknown) and (own := level(container.process.label)):
            given = any(option.startswith("level:") for option in options(container, "label"))
            name = f"{container.name} (started with label=level:…)" if given else container.name
            users.setdefault(own, {}).setdefault(leader[container.id], name)
    for row in podman:
        if own := level(row.label):
            users.setdefault(own, {}).setdefault(row.pod or row.container, f"Podman's {row.container}")
    return [f"{' and '.join(who.values())} share the category {own}" for own, who in users.items() if len(who) > 1]


def _leaders(containers: Sequence[Container]) -> dict[str, str]:
    """By container, the one whose processes or memory it was started to share: Docker gives both the same label."""
    named = {name: container.id for container in reversed(containers) for name in (container.id, container.name)}
    ids = sorted(container.id for container in containers)
    joins = {container.id: _joined(container, named, ids) for container in containers}
    found: dict[str, str] = {}
    for own in joins:
        way = [own]
        while (following := found.get(way[-1]) or joins[way[-1]]) and following not in way and len(way) < MOST_JOINED:
            way.append(following)
        found |= dict.fromkeys(way, way[-1])
    return found


def _joined(container: Container, named: dict[str, str], ids: Sequence[str]) -> str:
    """The id that `container:NAME`, or the beginning of an id, means; "" where it shares no other container's."""
    for mode in (container.pid_mode, container.ipc_mode):
        if other := mode.partition("container:")[2]:
            place = bisect_left(ids, other)
            beginning = ids[place] if place < len(ids) and ids[place].startswith(other) else ""
            if found := named.get(other, beginning):
                return found
    return ""


PART = Part(controls=CONTROLS, plan=plan, facts=(SELinux, Docker))
