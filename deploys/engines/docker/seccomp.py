"""Docker's part of the subject seccomp: the profile that its containers start with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploys.core.change import Blocked, Change, Context, Part, WriteFile, mending
from deploys.core.control import (
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    failed,
    not_applicable,
    passed,
    some,
)
from deploys.core.policy import Policy
from deploys.engines.docker.daemon import configured, daemon_json, docker_service, given_flags
from deploys.engines.docker.restart import options, restart
from deploys.seccomp.controls import SeccompRules, on_seccomp
from deploys.seccomp.profile import GUARDED, HARDENED, TEXT, lint, weaknesses
from facts.core.json_text import load
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import DAEMON_JSON, Container, Docker, DockerReading
from facts.seccomp import OURS, ProfileFile, Seccomp, SeccompReading

DEFAULT, LINT = "seccomp.default-profile", "seccomp.profile-lint"
DAEMON_KEY = "seccomp-profile"
BUILTIN = "builtin"
NO_FILE = ProfileFile(None, None)
NOT_READ = ProfileFile(Unknown("the daemon uses a profile that its configuration does not name"), None)


def declared_profile(policy: Policy) -> str:
    return policy[SeccompRules].profile or BUILTIN


def disk_profile(docker: DockerReading) -> str:
    """The profile that a restarted daemon would use: `builtin`, `unconfined` or a path."""
    return _named(configured(docker, DAEMON_KEY))


def live_profile(docker: DockerReading) -> str:
    """The profile that the running daemon reports; `unconfined` where it reports no seccomp at all."""
    for option in docker.security:
        fields = option.split(",profile=", 1)
        if fields[0] == "name=seccomp":
            return _named(fields[1] if len(fields) > 1 else None)
    return "unconfined"


def _named(value: Any) -> str:
    """Docker before 23.0 says `default` for its own profile."""
    return BUILTIN if value in (None, "", "default", BUILTIN) else str(value)


def complaint(reading: SeccompReading, declared: str, name: str) -> str | None:
    """Which profile `name` (builtin, unconfined or a path) gives containers in place of the declared one, as in
    "containers get …"; None where it satisfies."""
    if name == "unconfined":
        return "no filter"
    if name == BUILTIN:
        return None if declared == BUILTIN else "Docker's own profile instead of hullproof's"
    text = known(reading.profiles.get(name, NOT_READ).text)
    if text is None:
        return f"the profile {name}, which does not exist"
    if text == TEXT:
        return None
    if declared != BUILTIN:
        return (
            f"the profile {name}, which was changed"
            if name == OURS
            else f"the profile {name}, which is not hullproof's"
        )
    weak = _weak(reading, _profile(name, text))
    return f"the profile {name}, which allows {some(weak)}" if weak else None


def _profile(name: str, text: str) -> Any:
    try:
        return load(text)
    except ValueError as error:
        raise UnknownReading(f"{name} is not JSON ({error})") from error


def _weak(reading: SeccompReading, profile: Any) -> tuple[str, ...]:
    try:
        return weaknesses(profile, reading.machine, reading.release)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnknownReading(f"a seccomp profile has an unexpected form ({error})") from error


@on_seccomp("profile")
def default_profile(survey: Survey, policy: Policy) -> Verdict:
    declared = declared_profile(policy)
    docker, reading = survey[Docker], survey[Seccomp]
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    disk, live = disk_profile(docker), live_profile(docker)
    if wrong := complaint(reading, declared, disk):
        return failed(f"containers get {wrong}", declared=declared, disk=disk, live=live)
    if live != disk:
        reason = f"{DAEMON_KEY} is {disk} on disk, and the running daemon uses {live} until it is restarted"
        return Verdict(State.PENDING_RESTART, reason, declared=declared, disk=disk, live=live)
    if _newer(reading, disk):
        reason = f"{disk} was changed after the daemon started, which uses the earlier version until it is restarted"
        return Verdict(
            State.PENDING_RESTART, reason, declared=declared, disk=disk, live="as read when the daemon started"
        )
    what = "Docker's own profile" if disk == BUILTIN else f"the profile {disk}"
    return passed(f"containers get {what}", declared=declared, disk=disk, live=live)


def _newer(reading: SeccompReading, name: str) -> bool:
    changed, started = reading.profiles.get(name, NO_FILE).changed, reading.daemon_started
    return changed is not None and started is not None and changed > started


@on_seccomp("profile", "a profile that works on this host")
def profile_lint(survey: Survey, policy: Policy) -> Verdict:
    declared = declared_profile(policy)
    docker, reading = survey[Docker], survey[Seccomp]
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    if declared != BUILTIN and (problems := _lint(reading, TEXT)):
        return failed(f"hullproof's profile does not fit this host: {some(problems, 2)}", declared=declared)
    name = disk_profile(docker)
    text = known(reading.profiles.get(name, NO_FILE).text)
    if text is None:
        return not_applicable(f"Docker uses no profile from a file ({DAEMON_KEY} is {name})")
    if problems := _lint(reading, text):
        return failed(f"the profile {name} has errors: {some(problems, 2)}", declared="sound", disk=list(problems))
    return passed(f"the profile {name} has no errors for this architecture and kernel", declared="sound", disk="sound")


def _lint(reading: SeccompReading, text: str) -> tuple[str, ...]:
    try:
        return lint(text, reading.machine, reading.release)
    except (AttributeError, TypeError, ValueError):
        return ("it does not have the form of a seccomp profile",)


def mends(container: Container, survey: Survey, policy: Policy) -> State | None:
    """What gives a container, whose filter is too weak, a better one: a restart, where the daemon's default is as
    declared by now."""
    if container.privileged or options(container, "seccomp"):
        return None
    wrong = complaint(survey[Seccomp], declared_profile(policy), disk_profile(survey[Docker]))
    return State.FAIL if wrong else State.PENDING_RESTART


def refused_calls(container: Container | None, policy: Policy) -> tuple[str, ...]:
    """A container with a profile of its own is not asked for more than Docker's."""
    own = container is None or options(container, "seccomp")
    return GUARDED if own or declared_profile(policy) == BUILTIN else HARDENED


def obstacle(context: Context) -> str:
    """Why containers that start again would get no better filter; "" where they would."""
    first = f"Docker's default seccomp profile has to be mended first ({DEFAULT})"
    try:
        return first if any(isinstance(each, Blocked) for each in plan(context)) else ""
    except UnknownReading as error:  # which is in nobody else's way
        return f"{first}, and cannot be: {error}"


def plan(context: Context) -> Iterator[Change]:
    if default := context.which(DEFAULT, LINT):
        yield from mending(default, _plan_default(context))


def _plan_default(context: Context) -> Iterator[Change]:
    docker, reading = context.survey[Docker], context.survey[Seccomp]
    builtin = declared_profile(context.policy) == BUILTIN
    what = "use Docker's own seccomp profile" if builtin else f"use the seccomp profile {OURS}"
    if not builtin and (problems := _lint(reading, TEXT)):
        why = f"it does not fit this host: {some(problems, 2)}. Set seccomp.profile to builtin for this host"
        yield Blocked("seccomp", what, why=why)
        return
    if flag := given_flags(docker).get(DAEMON_KEY):
        why = f"Docker is started with --{DAEMON_KEY}={flag}: remove that from its unit or options"
        yield Blocked("seccomp", what, why=why)
        return
    keys = known(docker.daemon_json.keys)
    if builtin and DAEMON_KEY not in keys:
        yield restart(context, "seccomp", f"to {what}")
        return
    put, drop = ({}, (DAEMON_KEY,)) if builtin else ({DAEMON_KEY: OURS}, ())
    change = daemon_json(context, "seccomp", what, put=put, drop=drop)
    if not builtin and not isinstance(change, Blocked):
        yield from _write_ours(context, reading)
    yield change


def _write_ours(context: Context, reading: SeccompReading) -> Iterator[Change]:
    before = known(reading.profiles.get(OURS, NO_FILE).text)
    if before != TEXT:
        what = f"write hullproof's seccomp profile to {OURS}"
        yield WriteFile("seccomp", what, path=OURS, text=TEXT, before=before, service=docker_service(context))


CONTROLS = (
    Control(
        id=DEFAULT,
        title="Docker's default seccomp profile denies system calls that containers do not need",
        severity=Severity.HIGH,
        why="A profile that allows everything leaves the whole kernel open to attack, in spite of being a filter.",
        check=default_profile,
        references=("CIS-Docker-2.17", "NIST-800-190-4.4.3"),
        impact=Impact.RESTART,
        by_hand=f"remove {DAEMON_KEY} from {DAEMON_JSON} and from dockerd's command line, and restart Docker",
        files=(DAEMON_JSON,),
    ),
    Control(
        id=LINT,
        title="Docker's seccomp profile has no errors for this architecture and kernel",
        severity=Severity.MEDIUM,
        why="A misspelt rule, or a profile made for another architecture, does not deny what it seems to deny.",
        check=profile_lint,
        references=("CIS-Docker-2.17",),
        impact=Impact.RESTART,
        by_hand=f"correct the profile's file, or remove {DAEMON_KEY} from {DAEMON_JSON}, and restart Docker",
        files=(DAEMON_JSON,),
    ),
)


PART = Part(controls=CONTROLS, plan=plan, facts=(Seccomp, Docker))
