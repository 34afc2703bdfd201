"""Docker: the daemon's settings, who can reach it, and what its containers may."""

from __future__ import annotations

from collections.abc import Iterable

from deploys.core.change import Blocked, Change, Command, Context, Subject, mending
from deploys.core.control import Control, Impact, Severity, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy
from deploys.engines.docker.access import (
    file_modes,
    group_members,
    no_tcp,
    plan_file_modes,
    plan_group_members,
    plan_no_tcp,
)
from deploys.engines.docker.daemon import RESTART, misfits
from deploys.engines.docker.daemon_keys import (
    KEYS,
    NO_NEW_PRIVILEGES,
    insecure_registries,
    no_new_privileges,
    plan_insecure_registries,
)
from deploys.engines.docker.rules import DockerRules
from deploys.engines.docker.undo import REMOVE, STARTED, remarks, stop_script
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker, DockerReading
from facts.networks.networks import Networks


def running(survey: Survey, policy: Policy) -> Verdict:
    docker, required = survey[Docker], policy[DockerRules].required
    if not docker.installed:
        if required:
            return failed("Docker is not installed", True, False, False)
        return not_applicable("Docker is not installed")
    if known(docker.running):
        return passed(f"Docker {docker.version} answers", required, True, True)
    return failed(f"Docker is installed but does not answer{_last_words(docker)}", required, True, False)


def _last_words(docker: DockerReading) -> str:
    """What the daemon itself said last; systemd's lines only tell that it failed."""
    systemd = ("docker.service:", "Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start ")
    words = [line for line in docker.log if not line.startswith(systemd)] or docker.log
    return f"; it last said: {words[-1]}" if words else ""


def daemon_file(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: a file that dockerd cannot read keeps it from starting."""
    docker = survey[Docker]
    file = docker.daemon_json
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if isinstance(file.keys, Unknown):
        if "is not JSON" in file.keys.unknown or "is JSON but" in file.keys.unknown or "directory" in file.keys.unknown:
            return failed(f"{file.keys.unknown}: dockerd will not start with it", "a JSON object", file.keys.unknown)
        known(file.keys)
    if wrong := misfits(docker):
        return failed(f"{file.path}: {some(wrong)}: dockerd will not start with it", "values that dockerd takes", wrong)
    if file.duplicates:
        return failed(f"{file.path} gives {', '.join(file.duplicates)} more than once", "a JSON object", file.keys)
    return passed(f"{file.path} can be read" if file.text else f"there is no {file.path}", "a JSON object")


def storage_driver(survey: Survey, policy: Policy) -> Verdict:
    docker, refused = survey[Docker], policy[DockerRules].refused_storage_drivers
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if refused is None:
        return not_applicable("the policy refuses no storage driver")
    live = docker.told("Driver", str)
    if live in refused:
        return failed(f"the storage driver is {live}; images must be moved to another one by hand", refused, None, live)
    return passed(f"the storage driver is {live}", refused, None, live)


def plan(context: Context) -> Iterable[Change]:
    yield from mending(context.which("docker.daemon-json", "docker.running"), _plan_running(context))
    for key in (*KEYS, NO_NEW_PRIVILEGES):
        changes = key.plan(context) if key is not NO_NEW_PRIVILEGES else _plan_no_new_privileges(context)
        yield from mending([f"docker.{key.control}"], changes)
    yield from mending(["docker.insecure-registries"], plan_insecure_registries(context))
    yield from mending(["docker.no-tcp"], plan_no_tcp(context))
    yield from mending(["docker.file-modes"], plan_file_modes(context))
    yield from mending(["docker.group-members"], plan_group_members(context))


def _plan_running(context: Context) -> Iterable[Change]:
    docker = context.survey[Docker]
    if context.failing("docker.daemon-json"):
        reason = context.findings["docker.daemon-json"].verdict.reason
        yield Blocked("docker", "change daemon.json", why=f"{reason}. Put it right or move it away, then run again")
    elif context.failing("docker.running"):
        if not docker.installed:
            yield Blocked("docker", "have Docker on this host", why="install it with deploys/provision.py")
        elif context.policy[DockerRules].required:
            start = "systemctl reset-failed docker.service 2>/dev/null; timeout 120 systemctl start docker.service"
            yield Command("docker", STARTED, script=start, undo=stop_script(engine=False))
        else:
            why = "the policy does not say that it must (docker.required): start it, or see journalctl -u docker"
            yield Blocked("docker", "start Docker", why=why)


def _plan_no_new_privileges(context: Context) -> Iterable[Change]:
    """The daemon's part is ours; containers that were created before are their owners'."""
    if not context.failing("docker.no-new-privileges"):
        return
    verdict = context.findings["docker.no-new-privileges"].verdict
    if not (verdict.disk == verdict.declared and isinstance(verdict.live, dict)):
        yield from NO_NEW_PRIVILEGES.plan(context)


CONTROLS = (
    Control(
        "docker.running", "Docker is there and answers", Severity.HIGH,
        "A daemon that does not answer starts nothing, and what holds for it cannot be told.", running,
        by_hand="install and start Docker; journalctl -u docker says why it does not start",
    ),
    Control(
        "docker.daemon-json", "The daemon's file can be read", Severity.HIGH,
        "dockerd does not start with a file that it cannot read: the next restart or boot is without containers.",
        daemon_file, by_hand="mend /etc/docker/daemon.json or move it away, then run harden again",
    ),
    *(key.row() for key in KEYS),
    Control(
        "docker.no-new-privileges", NO_NEW_PRIVILEGES.title, NO_NEW_PRIVILEGES.severity, NO_NEW_PRIVILEGES.why,
        no_new_privileges, NO_NEW_PRIVILEGES.references, Impact.RESTART,
        by_hand="whoever made these containers recreates them: Docker gives the setting to a container as it is made",
    ),
    Control(
        "docker.insecure-registries", "Images come over TLS", Severity.HIGH,
        "Whoever stands on the way to a registry without TLS decides what runs here.", insecure_registries,
        ("CIS-Docker-2.5", "NIST-800-190-4.2.1"), Impact.RESTART,
        by_hand="take these registries out of insecure-registries and restart Docker, or name them in the policy's "
        "docker.insecure_registries",
    ),
    Control(
        "docker.no-tcp", "The daemon cannot be reached without a certificate", Severity.HIGH,
        "The API has no password: whoever reaches it is root on this host.", no_tcp,
        ("CIS-Docker-2.7", "NIST-800-190-4.5.1"), Impact.RESTART,
        by_hand="take every tcp:// out of dockerd's command line and of daemon.json, then restart Docker",
    ),
    Control(
        "docker.storage-driver", "The storage driver is maintained", Severity.MEDIUM,
        "aufs and devicemapper are out of the kernel or of Docker, and get no fixes.", storage_driver,
        ("CIS-Docker-2.6",), by_hand="save the images, set storage-driver to overlay2, restart Docker, load them",
    ),
    Control(
        "docker.file-modes", "Docker's files and sockets are root's", Severity.HIGH,
        "Who can write them, or speak to the socket, is root on this host.", file_modes,
        (*(f"CIS-Docker-3.{number}" for number in range(1, 25)),),
        by_hand="give these files to root with chown, and take the bits away with chmod that are too much",
    ),
    Control(
        "docker.group-members", "Only trusted users are in group docker", Severity.HIGH,
        "Each member can start a container with the host's root folder in it.", group_members,
        ("CIS-Docker-1.1.2",),
        by_hand="take these users out of group docker (gpasswd -d USER docker), or name them in docker.trusted_users",
    ),
)  # fmt: skip

SUBJECT = Subject("docker", DockerRules, CONTROLS, plan, (Docker, Networks), (RESTART, REMOVE), undoing=remarks)
