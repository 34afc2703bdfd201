"""Docker's part of the subject userns: root in a container has no rights on the host (userns-remap)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from shlex import quote

from deploys.core import templates
from deploys.core.change import (
    Activate,
    Blocked,
    Change,
    Command,
    Context,
    MergeJson,
    Part,
    Service,
    WriteFile,
    mending,
)
from deploys.core.control import (
    Control,
    Impact,
    Severity,
    Verdict,
    agree,
    not_applicable,
    some,
)
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import REMAP, configured, daemon_json
from deploys.engines.docker.undo import held
from deploys.userns.controls import RANGES, UsernsRules, another_range, on_userns
from deploys.userns.ranges import NoRange, called, own_start, plan_range, shared, with_row
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import DAEMON_JSON, Container, Docker, DockerReading, Network
from facts.userns import DOCKER_USER, SUBGID, SUBUID, Userns, UsernsReading

MAPPED = "userns.docker-remap"
NO_RM = templates.text("engines/docker/userns/no-rm.sh")


def remap_on_disk(docker: DockerReading) -> str | None:
    """The value of userns-remap that a restarted daemon would use; None where it would not remap."""
    value = configured(docker, "userns-remap")
    return None if value in (None, "", "root", "root:root", "0", "0:0") else str(value)


def remap_live(docker: DockerReading) -> bool:
    return _option(docker, "userns")


def _option(docker: DockerReading, name: str) -> bool:
    return any(f"name={name}" in option.split(",") for option in docker.security)


@on_userns("docker_remap", "root in containers mapped to other ids")
def _check_remap(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    if not isinstance(docker.info, Unknown) and _option(docker, "rootless"):
        return not_applicable("this Docker is rootless, and runs as a whole in a user namespace already")
    disk, live = remap_on_disk(docker), remap_live(docker)
    return agree(declared=True, disk=disk is not None, live=live, impact=Impact.RESTART, what="userns-remap")


CONTROL = Control(
    id=MAPPED,
    title="Root in a Docker container has no rights on the host (userns-remap)",
    severity=Severity.HIGH,
    why="Without userns-remap, a process that escapes from a container as root is root on the host.",
    check=_check_remap,
    references=("CIS-Docker-2.9", "CIS-Docker-5.31", "NIST-800-190-4.4.3"),
    impact=Impact.RESTART,
    by_hand="set userns-remap in /etc/docker/daemon.json and restart Docker, which then no longer sees what it stored",
    files=(DAEMON_JSON,),
)


def plan(context: Context) -> Iterator[Change]:
    if context.failing(MAPPED):
        also = [RANGES] if context.failing(RANGES) and shared(context.survey[Userns], DOCKER_USER) else []
        yield from mending([MAPPED, *also], _remap(context))
    else:
        yield from another_range(
            context,
            DOCKER_USER,
            uses=lambda: context.policy[UsernsRules].docker_remap is True and _is_own(context.survey[Docker]),
            held=lambda: held(context.survey[Docker]),
            move=lambda: _move(context),
        )


def _is_own(docker: DockerReading) -> bool:
    return remap_on_disk(docker) in (DOCKER_USER, "default")


def _move(context: Context) -> Iterator[Change]:
    """Docker keeps what it has by the first of its ids, so that with others it begins with nothing."""
    reading = context.survey[Userns]
    start = plan_range(reading)
    restart = daemon_json(context, "userns", "the ids that nobody else has", put={})
    yield restart
    if isinstance(restart, Activate):
        yield from _rows(reading, start, restart.service)


def _remap(context: Context) -> Iterator[Change]:
    """Switch userns-remap on. Docker then no longer sees what it stored before, so the operator has to accept that."""
    docker, reading = context.survey[Docker], context.survey[Userns]
    value = remap_on_disk(docker) or DOCKER_USER
    what = f"map root in Docker's containers to {value}'s ids (userns-remap)"
    if _containerd_store(docker):
        why = "Docker cannot remap images in containerd's image store: set features.containerd-snapshotter=false"
        yield Blocked("userns", what, why=why)
        return
    lost = consequences(docker)
    if lost and not context.accepts(REMAP):
        yield Blocked("userns", what, why=lost, accepts=(REMAP,))
        return
    merge = daemon_json(context, "userns", what, put={"userns-remap": value})
    if isinstance(merge, Blocked):  # then nothing is prepared for it either
        yield merge
        return
    try:
        start = (None if shared(reading, DOCKER_USER) else own_start(reading)) or plan_range(reading)
    except (NoRange, UnknownReading) as error:
        yield Blocked("userns", what, why=str(error))
        return
    yield from _open_parents(reading)
    if remap_on_disk(docker) is None:
        yield from _user(reading)
    yield from _start_again(known(docker.containers), lost)
    yield merge
    if isinstance(merge, MergeJson | Activate) and merge.service is not None:
        yield from _rows(reading, start if value == DOCKER_USER else None, merge.service)


def _containerd_store(docker: DockerReading) -> bool:
    """The default of Docker 29 and later where it was newly installed; an option before."""
    status = () if isinstance(docker.info, Unknown) else docker.told("DriverStatus", list) or ()
    return any("io.containerd.snapshotter" in str(pair) for pair in status)


def consequences(docker: DockerReading) -> str:
    """What Docker no longer sees, or stops, when the mapping changes; "" where it has nothing."""
    if isinstance(docker.stored, Unknown) or isinstance(docker.containers, Unknown):
        why = next(r.unknown for r in (docker.stored, docker.containers) if isinstance(r, Unknown))
        return f"Docker no longer sees anything that it has stored, and hullproof could not read what that is ({why})"
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
    lost = f"Docker no longer sees these, until an undo brings them back: {'; '.join(parts)}" if parts else ""
    listed = some(sorted(container.name for container in docker.containers), 12)
    running = [f"these containers stop: {listed}"] if docker.containers else []
    refused = [f"{c.name} ({why})" for c in docker.containers if (why := refusal(c))]
    cannot = [f"these start again only with --userns=host: {', '.join(refused)}"] if refused else []
    return "; ".join(filter(None, [lost, *running, *cannot]))


def _networks(docker: DockerReading) -> tuple[Network, ...]:
    return () if isinstance(docker.networks, Unknown) else docker.networks


def refusal(container: Container) -> str:
    """Why a daemon with userns-remap would refuse to start this container; "" where it would not."""
    if container.userns_mode == "host":
        return ""
    modes = (
        ("privileged", container.privileged),
        ("host network", container.network_mode == "host"),
        ("host PIDs", container.pid_mode == "host"),
    )
    return ", ".join(name for name, found in modes if found)


def _user(reading: UsernsReading) -> Iterator[Change]:
    """The system user that the rows name. `-K` keeps useradd from adding rows of its own."""
    if DOCKER_USER in known(reading.passwd):
        return
    gid = known(reading.group).get(DOCKER_USER)
    group, again = "--user-group", ""
    if gid is not None:  # a group of that name exists already; userdel may remove it too
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
    """The rows, written in Docker's own step: they are undone with daemon.json if Docker does not start. The last file
    is written even if it does not change, since its check has to run before anything stops."""
    for path, before in ((SUBUID, reading.subuid), (SUBGID, reading.subgid)):
        old = known(before)
        text = with_row(old, start, instead=called(reading)) if start is not None else old or ""
        mode, owner = ("0644", "root:root") if old is None else ("", "")  # "": as it was
        what = f"give {DOCKER_USER} the ids {start}–{start + 65535} in {path}" if start is not None else f"keep {path}"
        if text != old or path == SUBGID:
            yield WriteFile(
                "userns",
                what,
                path=path,
                text=text,
                before=old,
                mode=mode,
                owner=owner,
                validate=NO_RM if path == SUBGID else "",
                service=service,
                shared="lines",
            )


def _open_parents(reading: UsernsReading) -> Iterator[Change]:
    """The mapped root has to traverse the directories above the data root; Docker opens the data root itself."""
    for path, mode in reading.data_parents.items():
        if not int(mode[-1], 8) & 1:
            what = f"let the mapped root traverse {path} (chmod o+x)"
            undo = f"chmod {mode} {quote(path)}"
            yield Command("userns", what, script=f"chmod o+x {quote(path)}", undo=undo)


def _start_again(containers: Iterable[Container], lost: str) -> Iterator[Change]:
    """On an undo, start the containers again that stop for the switch: under live-restore they would run on without a
    daemon that knows them, and their addresses would be given to others.

    This is in the subject's own step, which is undone after Docker's, when the old daemon.json and daemon are back.
    """
    ids = [container.id for container in sorted(containers, key=lambda container: container.started)]
    if ids:
        what = "record the running containers, so that an undo starts them again"
        undo = f"IDS={quote(' '.join(ids))}\n{templates.text('engines/docker/userns/start.sh')}"
        yield Command("userns", what, script=":", undo=undo, interrupts=lost)


PART = Part(controls=(CONTROL,), plan=plan, facts=(Userns, Docker), accepts=(REMAP,), mends=(RANGES,))
