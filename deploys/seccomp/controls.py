"""Seccomp: no container without a filter, and none with a filter that lets everything through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field

from deploys.core.change import Blocked, Change, Context, Subject, WriteFile, by_hand, mending
from deploys.core.control import Control, Impact, Severity, State, Verdict, failed, not_applicable, passed, some
from deploys.core.policy import Policy, Rules
from deploys.engines.docker.daemon import configured, daemon_json, docker_service, given_flags
from deploys.engines.restart import options, start_anew, unknown_process
from deploys.seccomp.profile import GUARDED, HARDENED, TEXT, lint, weaknesses
from facts.core.json_text import load
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import DAEMON_JSON, Container, Docker, DockerReading
from facts.seccomp import OURS, ProfileFile, Seccomp, SeccompReading

KEY = "seccomp-profile"
BUILTIN = "builtin"
FILTERED = "seccomp.containers-filtered"
NO_FILE = ProfileFile(None, None)
NOT_READ = ProfileFile(Unknown("the profile that the daemon gives is not the one that its configuration names"), None)


class SeccompRules(Rules):
    """What containers may ask of the kernel."""

    profile: Literal["builtin", "hullproof"] | None = Field(
        default=None,
        description="The daemon's default profile: Docker's own (or one that lets no more through), or hullproof's",
    )
    containers: Literal[True] | None = Field(
        default=None, description="Every running container has a filter no weaker than the default profile"
    )


def declared_profile(policy: Policy) -> str | None:
    return policy[SeccompRules].profile


def kernel(survey: Survey, policy: Policy) -> Verdict:
    if declared_profile(policy) is None:
        return not_applicable("the policy asks for no seccomp profile")
    actions = list(known(survey[Seccomp].actions))
    if "errno" not in actions:
        return failed("the kernel was built without CONFIG_SECCOMP_FILTER: no filter can be set", True, None, False)
    return passed("the kernel can filter system calls", True, None, True)


def disk_profile(docker: DockerReading) -> str:
    """What the daemon will start with: `builtin`, `unconfined` or a path."""
    return _named(configured(docker, KEY))


def live_profile(docker: DockerReading) -> str:
    """What the running daemon says that it uses; `unconfined` where it has no seccomp at all."""
    for option in docker.security:
        fields = option.split(",profile=", 1)
        if fields[0] == "name=seccomp":
            return _named(fields[1] if len(fields) > 1 else None)
    return "unconfined"


def _named(value: Any) -> str:
    """Docker before 23.0 says `default` for its own profile."""
    return BUILTIN if value in (None, "", "default", BUILTIN) else str(value)


def complaint(reading: SeccompReading, declared: str, name: str) -> str | None:
    """Why the profile `name` (builtin, unconfined or a path) is not what the policy asks for."""
    if name == "unconfined":
        return "no filter at all"
    if name == BUILTIN:
        return None if declared == BUILTIN else "Docker's own default, not hullproof's profile"
    text = known(reading.profiles.get(name, NOT_READ).text)
    if text is None:
        return f"{name}, which is not there"
    if text == TEXT:
        return None
    if declared != BUILTIN:
        return f"{name}, which is not hullproof's profile" if name != OURS else f"{name}, which somebody changed"
    weak = _weak(reading, _profile(name, text), GUARDED)
    return f"{name}, which lets through {some(weak)}" if weak else None


def _profile(name: str, text: str) -> Any:
    try:
        return load(text)
    except ValueError as error:
        raise UnknownReading(f"{name} is not JSON ({error})") from error


def _weak(reading: SeccompReading, profile: Any, calls: Iterable[str], extra: Iterable[str] = ()) -> tuple[str, ...]:
    try:
        return weaknesses(profile, reading.machine, reading.release, calls, extra)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnknownReading(f"a seccomp profile makes no sense ({error})") from error


def default_profile(survey: Survey, policy: Policy) -> Verdict:
    declared = declared_profile(policy)
    if declared is None:
        return not_applicable("the policy asks for no seccomp profile")
    docker, reading = survey[Docker], survey[Seccomp]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    disk, live = disk_profile(docker), live_profile(docker)
    if wrong := complaint(reading, declared, disk):
        return failed(f"containers get {wrong}", declared, disk, live)
    if live != disk:
        reason = f"the daemon is set to {disk} and still gives {live} until it is restarted"
        return Verdict(State.PENDING_RESTART, reason, declared, disk, live)
    if _newer(reading, disk):
        reason = f"{disk} was written after the daemon started, which still gives what it read then"
        return Verdict(State.PENDING_RESTART, reason, declared, disk, "as read when the daemon started")
    what = "Docker's own default" if disk == BUILTIN else disk
    return passed(f"containers get {what}", declared, disk, live)


def _newer(reading: SeccompReading, name: str) -> bool:
    modified, started = reading.profiles.get(name, NO_FILE).modified, reading.daemon_started
    return modified is not None and started is not None and modified > started


def profile_lint(survey: Survey, policy: Policy) -> Verdict:
    declared = declared_profile(policy)
    if declared is None:
        return not_applicable("the policy asks for no seccomp profile")
    docker, reading = survey[Docker], survey[Seccomp]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if declared != BUILTIN and (problems := _lint(reading, TEXT)):
        return failed(f"hullproof's profile does not suit this host: {some(problems, 2)}", declared)
    name = disk_profile(docker)
    text = known(reading.profiles.get(name, NO_FILE).text)
    if text is None:
        return not_applicable(f"no profile in a file is in use (the daemon is set to {name})")
    if problems := _lint(reading, text):
        return failed(f"{name}: {some(problems, 2)}", "sound", list(problems))
    return passed(f"{name} is sound on this architecture and kernel", "sound", "sound")


def _lint(reading: SeccompReading, text: str) -> tuple[str, ...]:
    try:
        return lint(text, reading.machine, reading.release)
    except (AttributeError, TypeError, ValueError):
        return ("it has not the form of a profile",)


def containers_filtered(survey: Survey, policy: Policy) -> Verdict:
    rules = policy[SeccompRules]
    if rules.containers is None:
        return not_applicable("the policy does not speak of running containers")
    docker, reading = survey[Docker], survey[Seccomp]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    declared = rules.profile or BUILTIN
    containers = known(docker.containers)
    owners = [said for container in containers if (said := by_owner(reading, container))]
    late = [said for container in containers if (said := by_age(reading, declared, container))]
    wrong = complaint(reading, declared, disk_profile(docker))
    if owners or (late and wrong):
        return failed("; ".join(owners + late), "filtered", wrong or disk_profile(docker), owners + late)
    if late:
        reason = f"{'; '.join(late)}: a restart gives them the daemon's profile"
        return Verdict(State.PENDING_RESTART, reason, "filtered", disk_profile(docker), late)
    unknown_process(containers)
    count = len(containers)
    return passed(f"{count} running containers, each with a filter" if count else "no container runs", "filtered",
                  disk_profile(docker), "filtered")  # fmt: skip


def by_owner(reading: SeccompReading, container: Container) -> str | None:
    """What is wrong with a container's filter because of how its owner started it."""
    own = options(container, "seccomp")
    if container.privileged:
        return f"{container.name} runs privileged, which takes away the filter"
    if "unconfined" in own:
        return f"{container.name} was started with seccomp=unconfined"
    if own and (weak := _weak_filter(reading, container, GUARDED)):
        return f"{container.name} brought a profile of its own that lets through {some(weak)}"
    return None


def by_age(reading: SeccompReading, declared: str, container: Container) -> str | None:
    """What is wrong with a container's filter because the daemon's default was another when it started."""
    if container.privileged or options(container, "seccomp"):
        return None
    if not isinstance(container.process, Unknown) and container.process.seccomp != 2:
        return f"{container.name} was started without a filter"
    weak = _weak_filter(reading, container, GUARDED if declared == BUILTIN else HARDENED)
    return f"{container.name} runs with a filter that lets through {some(weak)}" if weak else None


def _weak_filter(reading: SeccompReading, container: Container, calls: Iterable[str]) -> tuple[str, ...]:
    """By the filter in the container's bundle; nothing is said where there is no bundle to read."""
    if container.id not in reading.filters:
        return ()
    own, asked = known(reading.filters[container.id]), tuple(calls)
    # One filter serves many containers, and is judged once.
    return reading.remember((id(own), asked, container.cap_add), lambda: _weak(reading, own, asked, container.cap_add))


def plan(context: Context) -> Iterator[Change]:
    default = context.which("seccomp.default-profile", "seccomp.profile-lint")
    changes = list(_plan_default(context)) if default else []
    if not context.failing(FILTERED):
        yield from mending(default, changes)
        return
    reading, declared = context.survey[Seccomp], declared_profile(context.policy) or BUILTIN
    running = known(context.survey[Docker].containers)
    late = [container for container in running if by_age(reading, declared, container)]
    blocked = any(isinstance(change, Blocked) for change in changes)
    yield from mending((*default, FILTERED) if late and blocked else default, changes)
    if late and not blocked:
        why = "some containers' filters are older than the daemon's"
        yield from mending([FILTERED], start_anew(context, "seccomp", why, FILTERED, late))
    if any(by_owner(reading, container) for container in running):
        yield by_hand(context.findings[FILTERED])


def _plan_default(context: Context) -> Iterator[Change]:
    docker, reading = context.survey[Docker], context.survey[Seccomp]
    builtin = declared_profile(context.policy) == BUILTIN
    what = "use Docker's own seccomp profile" if builtin else f"use the seccomp profile {OURS}"
    if not builtin and (problems := _lint(reading, TEXT)):
        yield Blocked("seccomp", what, why=f"{some(problems, 2)}; ask for `profile: builtin` on this host")
        return
    if flag := given_flags(docker).get(KEY):
        yield Blocked(
            "seccomp", what, why=f"Docker is started with --{KEY}={flag}: take that out of its unit or options"
        )
        return
    keys = known(docker.daemon_json.keys)
    if builtin and KEY not in keys:
        yield from start_anew(context, "seccomp", f"it is to {what}", FILTERED, daemon=True)
        return
    change = daemon_json(context, "seccomp", what, {} if builtin else {KEY: OURS}, (KEY,) if builtin else ())
    if not builtin and not isinstance(change, Blocked):
        yield from _write_ours(context, reading)
    yield change


def _write_ours(context: Context, reading: SeccompReading) -> Iterator[Change]:
    before = known(reading.profiles.get(OURS, NO_FILE).text)
    if before != TEXT:
        yield WriteFile("seccomp", f"write hullproof's seccomp profile to {OURS}", path=OURS, text=TEXT, before=before,
                        service=docker_service(context))  # fmt: skip


SUBJECT = Subject(
    name="seccomp",
    rules=SeccompRules,
    controls=(
        Control("seccomp.kernel", "The kernel can filter system calls", Severity.HIGH,
                "Without CONFIG_SECCOMP_FILTER Docker runs containers unfiltered, with a line in its log at most.",
                kernel, ("NIST-800-190-4.4.3",),
                by_hand="boot a kernel that was built with CONFIG_SECCOMP_FILTER, such as the distribution's own"),
        Control("seccomp.default-profile", "Containers get a seccomp profile that refuses what they do not need",
                Severity.HIGH, "A file that allows everything is as good as no filter, though it has a name.",
                default_profile, ("CIS-Docker-2.17", "NIST-800-190-4.4.3"), Impact.RESTART,
                by_hand=f"take {KEY} out of {DAEMON_JSON} and of dockerd's command line, and restart Docker"),
        Control("seccomp.profile-lint", "The profile in use is sound on this architecture and kernel", Severity.MEDIUM,
                "What is misspelt or made for another architecture does not do what it seems to.",
                profile_lint, ("CIS-Docker-2.17",), Impact.RESTART,
                by_hand=f"mend the profile's file, or take {KEY} out of {DAEMON_JSON}, and restart Docker"),
        Control(FILTERED, "Every running container has a filter", Severity.HIGH,
                "A filter is given when a container starts, the daemon's setting says nothing of it.",
                containers_filtered, ("CIS-Docker-5.22", "NIST-800-190-4.4.3"), Impact.RESTART,
                by_hand="whoever started the container recreates it without --privileged and without "
                "--security-opt seccomp=unconfined or a weak profile of its own"),
    ),
    plan=plan,
    facts=(Seccomp, Docker),
)  # fmt: skip
