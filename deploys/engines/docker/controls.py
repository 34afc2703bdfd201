"""Docker: the daemon's settings, and access to its API."""

from __future__ import annotations

from collections.abc import Iterable

from deploys.core.change import Blocked, Change, Command, Context, Subject, mending
from deploys.core.control import Control, Impact, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.docker.access import no_tcp, plan_no_tcp
from deploys.engines.docker.api_fronts import other_daemons, relays
from deploys.engines.docker.api_users import group_members, plan_group_members, sudo
from deploys.engines.docker.daemon import PACKAGES, RESTART, misfits
from deploys.engines.docker.daemon_keys import KEYS
from deploys.engines.docker.file_modes import file_modes, plan_file_modes
from deploys.engines.docker.registries import insecure_registries, plan_insecure_registries
from deploys.engines.docker.rules import DockerRules
from deploys.engines.docker.undo import REMOVE, STARTED, remarks, stop_script
from deploys.engines.docker.unread import as_read, reload_first
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.docker.docker import DAEMON_JSON, Docker, DockerReading
from facts.networks.networks import Networks


def running(survey: Survey, policy: Policy) -> Verdict:
    docker, required = survey[Docker], policy[DockerRules].required
    if not known(docker.installed):
        if required:
            return failed(
                "Docker is not installed; the policy wants it (docker.required)", declared=True, disk=False, live=False
            )
        return not_applicable("Docker is not installed")
    if known(docker.running):
        return passed(f"Docker {docker.version} answers", declared=required, disk=True, live=True)
    return failed(
        f"Docker is installed but does not answer{_last_words(docker)}", declared=required, disk=True, live=False
    )


def _last_words(docker: DockerReading) -> str:
    """The last line that the daemon itself logged; systemd's lines say only that it failed."""
    systemd = ("docker.service:", "Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start ")
    words = [line for line in docker.log if not line.startswith(systemd)] or docker.log
    return f"; its last log line: {words[-1]}" if words else ""


def daemon_file(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: dockerd does not start with a file that it cannot read."""
    docker = survey[Docker]
    file = docker.daemon_json
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    if isinstance(file.keys, Unknown):
        if file.malformed:
            return failed(
                f"{file.keys.unknown}, so dockerd does not start with it",
                declared="a JSON object",
                disk=file.keys.unknown,
            )
        known(file.keys)
    if wrong := misfits(docker):
        return failed(
            f"{file.path}: {some(wrong)}, so dockerd does not start with it", declared="valid values", disk=wrong
        )
    if file.duplicates:
        return failed(
            f"{file.path} has {', '.join(file.duplicates)} more than once", declared="a JSON object", disk=file.keys
        )
    return passed(f"{file.path} is valid" if file.text else f"{file.path} does not exist", declared="a JSON object")


def storage_driver(survey: Survey, policy: Policy) -> Verdict:
    docker, refused = survey[Docker], policy[DockerRules].refused_storage_drivers
    if refused is None:
        return not_applicable("the policy does not declare docker.refused_storage_drivers")
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    live = docker.told("Driver", str)
    if live in refused:
        return failed(
            f"the storage driver is {live}, which the policy refuses (docker.refused_storage_drivers)",
            declared=refused,
            disk=None,
            live=live,
        )
    return passed(f"the storage driver is {live}", declared=refused, disk=None, live=live)


def plan(context: Context) -> Iterable[Change]:
    yield from mending(context.which("docker.daemon-json", "docker.running"), _plan_running(context))
    for key in KEYS:
        yield from mending([key.control], key.plan(context))
    yield from mending(["docker.insecure-registries"], plan_insecure_registries(context))
    if unread := context.which("docker.no-tcp", "docker.file-modes") and context.survey[Docker].unit.unread:
        yield from mending(context.which("docker.no-tcp", "docker.file-modes"), [reload_first(unread)])
    else:
        yield from mending(["docker.no-tcp"], plan_no_tcp(context))
        yield from mending(["docker.file-modes"], plan_file_modes(context))
    yield from mending(["docker.group-members"], plan_group_members(context))


def _plan_running(context: Context) -> Iterable[Change]:
    docker = context.survey[Docker]
    if context.failing("docker.daemon-json"):
        reason = context.findings["docker.daemon-json"].verdict.reason
        yield Blocked("docker", "change daemon.json", why=f"{reason}: correct the file or move it away, then run again")
    elif context.failing("docker.running"):
        if not known(docker.installed):
            yield Blocked("docker", "install Docker", why="harden installs no engine: run deploys/provision.py first")
        elif context.policy[DockerRules].required:
            start = "systemctl reset-failed docker.service 2>/dev/null; timeout 120 systemctl start docker.service"
            yield Command("docker", STARTED, script=start, undo=stop_script(engine=False))
        else:
            why = (
                "the policy does not require it (docker.required): start it yourself; journalctl -u docker says why it "
                "does not run"
            )
            yield Blocked("docker", "start Docker", why=why)


CONTROLS = (
    Control(
        id="docker.running",
        title="Docker runs and answers",
        severity=Severity.HIGH,
        why="A daemon that does not answer starts no containers, and its other controls cannot be judged.",
        check=running,
        by_hand="install and start Docker; journalctl -u docker says why it does not start",
        packages=PACKAGES,
    ),
    Control(
        id="docker.daemon-json",
        title="daemon.json is valid",
        severity=Severity.HIGH,
        why="dockerd does not start with an invalid file: after the next restart or boot no container runs.",
        check=daemon_file,
        by_hand="correct /etc/docker/daemon.json or move it away, then run harden again",
        files=(DAEMON_JSON,),
    ),
    *(key.row() for key in KEYS),
    Control(
        id="docker.insecure-registries",
        title="Images are pulled over TLS",
        severity=Severity.HIGH,
        why="Without TLS, anybody on the path to a registry can replace the images that run here.",
        check=insecure_registries,
        references=("CIS-Docker-2.5", "NIST-800-190-4.2.1"),
        impact=Impact.RESTART,
        by_hand="remove these registries from insecure-registries and restart Docker, or name them in the policy's "
        "docker.insecure_registries",
        files=(DAEMON_JSON,),
    ),
    Control(
        id="docker.no-tcp",
        title="Docker's API is not reachable over TCP without a client certificate",
        severity=Severity.HIGH,
        why="The API has no passwords: anybody who reaches it is root on this host.",
        check=as_read(no_tcp, "tcp"),
        references=("CIS-Docker-2.7", "NIST-800-190-4.5.1"),
        impact=Impact.RESTART,
        by_hand="remove every tcp:// from dockerd's command line and from daemon.json, then restart Docker",
        files=(DAEMON_JSON,),
    ),
    Control(
        id="docker.storage-driver",
        title="The storage driver is maintained",
        severity=Severity.MEDIUM,
        why="aufs and devicemapper were removed from the kernel or from Docker, and get no fixes.",
        check=storage_driver,
        references=("CIS-Docker-2.6",),
        by_hand="save the images, set storage-driver to overlay2, restart Docker, then load the images",
    ),
    Control(
        id="docker.file-modes",
        title="Docker's files and sockets belong to root",
        severity=Severity.HIGH,
        why="Anybody who can write these files, or use the socket, is root on this host.",
        check=as_read(file_modes, "modes"),
        references=tuple(f"CIS-Docker-3.{number}" for number in range(1, 25)),
        by_hand="give these files to root with chown, and remove the excess permissions with chmod",
    ),
    Control(
        id="docker.group-members",
        title="Only trusted users are in the groups that Docker's sockets belong to",
        severity=Severity.HIGH,
        why="Each member can mount the host's root directory into a container.",
        check=group_members,
        references=("CIS-Docker-1.1.2",),
        by_hand="remove these users from the group (gpasswd -d USER GROUP, or usermod -g where it is their primary "
        "group), or name them in docker.trusted_users",
    ),
    Control(
        id="docker.sudo",
        title="Only trusted users run Docker through sudo",
        severity=Severity.HIGH,
        why="Whoever may run the Docker client as root can mount the host's root directory into a container.",
        check=sudo,
        references=("CIS-Docker-1.1.2",),
        by_hand="remove the rule from sudoers with visudo, or name these users in docker.trusted_users (%GROUP for a "
        "group)",
    ),
    Control(
        id="docker.relays",
        title="No program passes connections on to Docker's socket",
        severity=Severity.HIGH,
        why="The API has no passwords: whoever reaches a relay in front of its socket is root on this host.",
        check=relays,
        references=("CIS-Docker-2.7", "NIST-800-190-4.5.1"),
        by_hand="stop and disable the unit or program that listens before Docker's socket, or name it in docker.relays",
    ),
    Control(
        id="docker.other-daemons",
        title="Root runs one Docker daemon alone",
        severity=Severity.HIGH,
        why="A second daemon has settings, a socket and containers of its own, which no other control judges.",
        check=other_daemons,
        by_hand="stop the other daemon, or move what it runs to docker.service",
    ),
)

SUBJECT = Subject(
    name="docker",
    rules=DockerRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Docker, Networks),
    accepts=(RESTART, REMOVE),
    undoing=remarks,
    unproved="the daemon itself reports the setting, which forbids nothing that could be attempted from "
    "within a container",
    installed=lambda survey: known(survey[Docker].installed),
)
