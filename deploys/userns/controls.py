"""User namespaces: root in a container is nobody on the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from shlex import quote
from typing import Literal

from pydantic import Field

from deploys.core.change import (
    Activate,
    Blocked,
    Change,
    Command,
    Context,
    MergeJson,
    Service,
    Subject,
    WriteFile,
    mending,
)
from deploys.core.control import Control, Impact, Severity, Verdict, agree, failed, not_applicable, passed, some
from deploys.core.policy import Policy, Rules
from deploys.engines.docker.daemon import REMAP, configured, daemon_json
from deploys.userns.ranges import NoRange, own_start, plan_range, with_row
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Container, Docker, DockerReading, Network
from facts.kernel.kernel import Kernel
from facts.kernel.sysctls import as_number
from facts.userns import DOCKER_USER, LIMIT_FILE, SUBGID, SUBUID, Userns, UsernsReading

LIMIT = "user.max_user_namespaces"


class UsernsRules(Rules):
    """User namespaces and the subordinate ids that they map."""

    max_user_namespaces: int | None = Field(
        None, ge=1, description="user.max_user_namespaces is at least this (0 breaks containers and is refused)"
    )
    ranges: Literal[True] | None = Field(
        None, description="true: no subordinate range overlaps another owner's, or a user's or group's own id"
    )
    docker_remap: Literal[True] | None = Field(
        None, description="true: Docker maps root in containers to ids without rights on the host (userns-remap)"
    )


NOT_ASKED = not_applicable("the policy does not ask for it")


# ------------------------------------------------------------------------------------------------ controls


def _check_limits(survey: Survey, policy: Policy) -> Verdict:
    least = policy[UsernsRules].max_user_namespaces
    if least is None:
        return NOT_ASKED
    live, stored = known(survey[Userns].max_user_namespaces), known(survey[Kernel].sysctls.stored(LIMIT))
    written = as_number(stored.value) if stored else None
    disk = live if written is None else written  # the kernel refuses what is no number, and keeps its own default
    return agree(least, disk, live, Impact.NONE, lambda value: value is not None and value >= least, LIMIT)


def _check_ranges(survey: Survey, policy: Policy) -> Verdict:
    if policy[UsernsRules].ranges is None:
        return NOT_ASKED
    overlaps = known(survey[Userns].overlaps)
    if not overlaps:
        return passed("no subordinate range overlaps another, or a user's or group's own id", [], [], [])
    rows = [f"{overlap.first} overlaps {overlap.second}" for overlap in overlaps]
    more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
    return failed("; ".join(rows[:4]) + more, [], rows, rows)


def remap_on_disk(docker: DockerReading) -> str | None:
    """The value that a restarted daemon would take for userns-remap; None where it would not remap."""
    value = configured(docker, "userns-remap")
    return None if value in (None, "", "root", "root:root", "0", "0:0") else str(value)


def remap_live(docker: DockerReading) -> bool:
    return _option(docker, "userns")


def _option(docker: DockerReading, name: str) -> bool:
    return any(f"name={name}" in option.split(",") for option in docker.security)


def _on_host_ids(container: Container) -> bool:
    process = known(container.process)
    return any(inside == 0 and outside == 0 for inside, outside, _ in process.uid_map)


def _check_remap(survey: Survey, policy: Policy) -> Verdict:
    if policy[UsernsRules].docker_remap is None:
        return NOT_ASKED
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if not isinstance(docker.info, Unknown) and _option(docker, "rootless"):
        return not_applicable("this daemon is rootless: all of it runs in a user namespace already")
    disk, live = remap_on_disk(docker), remap_live(docker)
    verdict = agree(True, disk is not None, live, Impact.RESTART, what="userns-remap")
    if not verdict.state.holds:
        return verdict
    bare = [container.name for container in known(docker.containers) if _on_host_ids(container)]
    if bare:
        return failed(f"root is the host's root in {', '.join(bare)} (started with --userns=host)", True, disk, bare)
    return verdict


CONTROLS = (
    Control(
        id="userns.limits",
        title="Enough user namespaces are allowed",
        severity=Severity.LOW,
        why="Every container with its own ids takes one; at the limit the next does not start.",
        check=_check_limits,
        by_hand=f"set {LIMIT} with sysctl -w, and in the file of /etc/sysctl.d that is read last",
    ),
    Control(
        id="userns.ranges",
        title="Subordinate id ranges overlap nothing",
        severity=Severity.HIGH,
        why="Two owners of one id can read each other's files and end each other's processes.",
        check=_check_ranges,
        references=("NIST-800-190-4.4.3",),
        by_hand=f"give one of the two owners another range in {SUBUID} and {SUBGID}, and its files the new ids: only "
        "you can tell which files those are",
    ),
    Control(
        id="userns.docker-remap",
        title="Root in a Docker container is nobody on the host",
        severity=Severity.HIGH,
        why="Whoever gets out of a container as root is root on the host, unless its ids are mapped to others.",
        check=_check_remap,
        references=("CIS-Docker-2.9", "CIS-Docker-5.31", "NIST-800-190-4.4.3"),
        impact=Impact.RESTART,
        by_hand="whoever started these containers recreates them without --userns=host",
    ),
)


# ------------------------------------------------------------------------------------------------ remediation


def plan(context: Context) -> Iterable[Change]:
    if context.failing("userns.limits"):
        yield from mending(["userns.limits"], _raise_limit(context))
    if context.failing("userns.docker-remap"):
        yield from mending(["userns.docker-remap"], _remap(context))


def _raise_limit(context: Context) -> Iterator[Change]:
    reading, stored = context.survey[Userns], known(context.survey[Kernel].sysctls.stored(LIMIT))
    live, least = known(reading.max_user_namespaces), context.policy[UsernsRules].max_user_namespaces
    if live is None or least is None:
        yield Blocked("userns", "allow user namespaces", why="this kernel is built without them")
        return
    if live < least:
        yield Command("userns", f"set {LIMIT} to {least}", script=f"sysctl -q -w {LIMIT}={least}",
                      undo=f"sysctl -q -w {LIMIT}={live}")  # fmt: skip
    text = f"# Written by hullproof: engines need user namespaces.\n{LIMIT} = {least}\n"
    if text != known(reading.limit_file):
        yield WriteFile("userns", f"keep {LIMIT} at {least} after a reboot", path=LIMIT_FILE, text=text,
                        before=known(reading.limit_file))  # fmt: skip
    elif stored is not None and stored.file != LIMIT_FILE:
        yield Blocked("userns", f"keep {LIMIT} at {least}", why=f"{stored.file} is read after our file")


def _remap(context: Context) -> Iterator[Change]:
    """Switch the mapping on. Everything that Docker holds goes out of sight with it, so that is asked first."""
    docker, reading = context.survey[Docker], context.survey[Userns]
    if remap_on_disk(docker) is not None and remap_live(docker):
        return  # what is left is containers that were started with --userns=host: only their owner can start them anew
    if _containerd_store(docker):
        why = (
            "images are in containerd's own store, which Docker cannot remap: set features.containerd-snapshotter=false"
        )
        yield Blocked("userns", "map root in Docker's containers to nobody (userns-remap)", why=why)
        return
    lost = consequences(docker)
    if lost and not context.accepts(REMAP):
        allow = f"allow it with `--data accept={REMAP}` or `accept: [{REMAP}]` in the policy"
        yield Blocked("userns", "map root in Docker's containers to nobody (userns-remap)", why=f"{lost}; {allow}")
        return
    value = remap_on_disk(docker) or DOCKER_USER
    merge = daemon_json(context, "userns", f"map root in containers to {value}'s ids", {"userns-remap": value})
    if isinstance(merge, Blocked):  # it cannot be written now: then nothing is made ready for it either
        yield merge
        return
    try:
        start = own_start(reading) or plan_range(reading)
    except (NoRange, UnknownReading) as error:
        yield Blocked("userns", "plan a range of ids for Docker's containers", why=str(error))
        return
    yield from _open_parents(reading)
    if remap_on_disk(docker) is None:
        yield from _user(reading)
    yield from _start_again(known(docker.containers), lost)
    yield merge
    if isinstance(merge, MergeJson | Activate) and merge.service is not None:
        yield from _rows(reading, start if value == DOCKER_USER else None, merge.service)


def _containerd_store(docker: DockerReading) -> bool:
    """Docker 29 and later where it was installed afresh; before, where somebody asked for it."""
    status = () if isinstance(docker.info, Unknown) else docker.told("DriverStatus", list) or ()
    return any("io.containerd.snapshotter" in str(pair) for pair in status)


def consequences(docker: DockerReading) -> str:
    """What a change of the mapping takes out of sight or stops, in words; "" where there is nothing to lose."""
    if isinstance(docker.stored, Unknown) or isinstance(docker.containers, Unknown):
        why = next(r.unknown for r in (docker.stored, docker.containers) if isinstance(r, Unknown))
        return f"it could not be read what Docker holds, all of which would disappear from sight ({why})"
    stored, parts = docker.stored, []
    own_networks = [n.name for n in _networks(docker) if n.name not in ("bridge", "host", "none")]
    for names, what in (
        (stored.images, f"images ({stored.images_bytes / 1e6:.0f} MB)"),
        (stored.containers, "containers"),
        (stored.volumes, "volumes"),
        (tuple(own_networks) if stored.images or stored.containers or stored.volumes else (), "networks"),
    ):
        if names:
            parts.append(f"{len(names)} {what}: {some(sorted(names), 12)}")
    lost = f"these disappear from Docker's sight, and come back when it is undone: {'; '.join(parts)}" if parts else ""
    running = [f"stopped: {some(sorted(c.name for c in docker.containers), 12)}"] if docker.containers else []
    refused = [f"{c.name} ({why})" for c in docker.containers if (why := refusal(c))]
    cannot = [f"could not be started again without --userns=host: {', '.join(refused)}"] if refused else []
    return "; ".join(filter(None, [lost, *running, *cannot]))


def _networks(docker: DockerReading) -> tuple[Network, ...]:
    return () if isinstance(docker.networks, Unknown) else docker.networks


def refusal(container: Container) -> str:
    """Why a remapping daemon would refuse to run this container; "" where it would not."""
    if container.userns_mode == "host":
        return ""
    modes = (
        ("privileged", container.privileged),
        ("host network", container.network_mode == "host"),
        ("host PIDs", container.pid_mode == "host"),
    )
    return ", ".join(name for name, found in modes if found)


def _user(reading: UsernsReading) -> Iterator[Change]:
    """The system user whose name the rows carry. `-K`: shadow appends no rows of its own."""
    if DOCKER_USER in known(reading.passwd):
        return
    gid = known(reading.group).get(DOCKER_USER)
    group, again = "--user-group", ""
    if gid is not None:  # a group of that name is there already; userdel may take it along
        group = f"--gid {gid}"
        again = f" && {{ getent group {gid} >/dev/null || groupadd --system --gid {gid} {DOCKER_USER}; }}"
    yield Command(
        "userns",
        f"create the system user {DOCKER_USER}",
        script=f"shell=$(command -v nologin || echo /bin/false)\n"
        f'useradd --system --no-create-home --home-dir /nonexistent --shell "$shell" {group} '
        f"-K SUB_UID_COUNT=0 -K SUB_GID_COUNT=0 {DOCKER_USER}",
        undo=f"userdel {DOCKER_USER}{again}",
    )


def _rows(reading: UsernsReading, start: int | None, service: Service) -> Iterator[Change]:
    """The rows, written in Docker's own step: they go back with daemon.json if Docker does not come up. The last is
    written even where it stays as it is, for what it checks before anything is stopped."""
    for path, before in ((SUBUID, reading.subuid), (SUBGID, reading.subgid)):
        old = known(before)
        text = with_row(old, start) if start is not None else old or ""
        mode, owner = ("0644", "root:root") if old is None else ("", "")  # "": as it was
        what = f"give {DOCKER_USER} the ids {start}–{start + 65535} in {path}" if start is not None else f"keep {path}"
        if text != old or path == SUBGID:
            yield WriteFile("userns", what, path=path, text=text, before=old, mode=mode, owner=owner,
                            validate=NO_RM if path == SUBGID else "", service=service, shared="lines")  # fmt: skip


def _open_parents(reading: UsernsReading) -> Iterator[Change]:
    """The mapped root has to pass through the directories above the data root; Docker sees to the data root itself."""
    for path, mode in reading.data_parents.items():
        if not int(mode[-1], 8) & 1:
            yield Command("userns", f"let the mapped root pass through {path} (o+x)",
                          script=f"chmod o+x {quote(path)}", undo=f"chmod {mode} {quote(path)}")  # fmt: skip


def _start_again(containers: Iterable[Container], lost: str) -> Iterator[Change]:
    """What brings the containers back that are stopped for the switch: under live-restore they would go on, no daemon
    would know them, and their addresses would be given away again.

    It stands in the subject's own step, so that it is undone after Docker's: the old daemon.json and the old daemon
    are back by then.
    """
    ids = [container.id for container in sorted(containers, key=lambda container: container.started)]
    if ids:
        yield Command("userns", "remember the running containers: an undo starts them again", script=":",
                      undo=START.format(ids=" ".join(map(quote, ids))), interrupts=lost)  # fmt: skip


# A container started with --rm is deleted when it stops, and no undo would bring it back: then nothing is stopped.
NO_RM = """set -- $(docker ps -q 2>/dev/null)
[ $# -gt 0 ] || exit 0
gone=$(docker inspect -f '{{if .HostConfig.AutoRemove}}{{.Name}}{{end}}' "$@" | grep .)
[ -z "$gone" ] || { echo "started with --rm, so stopping deletes them; stop them yourself first:" $gone; exit 1; }
"""
# What was removed since, or does not start, is named: it must not keep the rest from being undone.
START = """up=
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do docker version >/dev/null 2>&1 && up=1 && break; sleep 5; done
[ -n "$up" ] || {{ echo "Docker does not answer"; exit 1; }}
for c in {ids}; do why=$(docker start "$c" 2>&1 >/dev/null) || echo "not started again: $c: $why" >>"$NOTE"; done
"""

SUBJECT = Subject("userns", UsernsRules, CONTROLS, plan, (Userns, Docker, Kernel), (REMAP,))
