"""Docker's part of the subject apparmor: its own profile, and what confines every container that it runs.

Docker has no setting for the profile of containers that ask for none. They get `docker-default`, which the daemon
generates and loads itself, unless (before version 25 or so) a profile of that name is loaded already. So, to be the
default, hullproof's rules are loaded under that name: at boot before Docker, and again after each start of Docker.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence

from deploys.apparmor import profile
from deploys.apparmor.controls import (
    ENABLE,
    AppArmorRules,
    observation,
    on_apparmor,
    plan_profile,
    until_boot,
)
from deploys.core import templates
from deploys.core.change import Change, Context, Part, WriteFile, by_hand, mending
from deploys.core.control import (
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    failed,
    not_applicable,
    passed,
)
from deploys.core.policy import Policy
from deploys.core.same_text import same_text
from deploys.engines.docker.restart import options, start_anew, unknown_process
from facts.apparmor import OURS, UNIT_DROP_IN, AppArmor, AppArmorReading
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.core.system import System
from facts.denials import Denials
from facts.engines.docker.docker import Container, Docker

NAME = "apparmor"
DEFAULT = "docker-default"
PROFILE, CONFINED = "apparmor.docker-profile", "apparmor.containers-confined"
DEFAULTED = "apparmor.container-default"


@on_apparmor("containers", "it in enforce mode")
def docker_profile(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if known(docker.running) is False:
        return not_applicable("Docker is not running; it loads its profile when it starts")
    mode = known(survey[AppArmor].profiles).get(DEFAULT)
    if mode == "enforce":
        return passed(f"Docker's profile {DEFAULT} is loaded in enforce mode", declared="enforce", disk=None, live=mode)
    now = f"is in {mode} mode" if mode else "is not loaded"
    reason = f"Docker's profile {DEFAULT} {now}, so it confines no container"
    return until_boot(survey, failed(reason, declared="enforce", disk=None, live=mode))


@on_apparmor("containers", "a profile for every container")
def containers_confined(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    containers = known(docker.containers)
    owners = [said for container in containers if (said := by_owner(container))]
    late = [container.name for container in containers if by_age(container)]
    if owners or (late and not _able(survey)):
        left = [f"{name} runs unconfined" for name in late]
        verdict = failed("; ".join(owners + left), declared="confined", disk=None, live=owners + left)
        return verdict if owners else until_boot(survey, verdict)
    if late:
        reason = f"{', '.join(late)} started before a profile could be loaded, and a restart confines them"
        return Verdict(State.PENDING_RESTART, reason, declared="confined", disk=DEFAULT, live=late)
    unknown_process(containers)
    count = len(containers)
    confined = f"a profile confines {'each of ' if count > 1 else ''}{count} running container{'s' * (count > 1)}"
    return passed(confined if count else "no container is running", declared="confined", disk=DEFAULT, live="confined")


@on_apparmor("container_profile", "it enforced")
def container_default(survey: Survey, policy: Policy) -> Verdict:
    if policy[AppArmorRules].container_profile != "default":
        return not_applicable("the policy wants the profile only for containers that ask for it")
    if not survey[Docker].installed:
        return not_applicable("Docker is not installed")
    now = observation(survey, policy, DEFAULT)
    verdict = profile.profile_verdict(survey[AppArmor], DEFAULT, now)
    if verdict.state is State.PASS and not same_text(known(survey[AppArmor].files.get(UNIT_DROP_IN)), drop_in()):
        reason = f"Docker may replace the profile {DEFAULT} with its own when it starts"
        return failed(reason, declared="enforce", disk=verdict.disk, live=verdict.live)
    return until_boot(survey, verdict)


def _able(survey: Survey) -> bool:
    """Whether a container that starts now gets a profile."""
    reading = survey[AppArmor]
    return known(reading.parser) is not None and known(reading.profiles).get(DEFAULT) == "enforce"


def unconfined(container: Container) -> bool:
    process = container.process
    return not isinstance(process, Unknown) and not process.label.endswith((" (enforce)", " (kill)"))


def by_owner(container: Container) -> str | None:
    """Why a container is not confined, where its owner started it so."""
    if isinstance(container.process, Unknown) or not unconfined(container):
        return None
    if container.privileged:
        return f"{container.name} runs privileged, and so without a profile"
    own = options(container, "apparmor")
    if "unconfined" in own:
        return f"{container.name} was started with apparmor=unconfined"
    if "(complain)" in container.process.label:
        return f"{container.name} runs under {container.process.label}, which only records denials"
    return None


def by_age(container: Container) -> bool:
    """Whether a container is unconfined because no profile could be loaded when it started."""
    return unconfined(container) and by_owner(container) is None


CONTROLS = (
    Control(
        id=PROFILE,
        title="Docker's AppArmor profile is loaded in enforce mode",
        severity=Severity.HIGH,
        why="Without docker-default containers run unconfined. It is in no file, so when something unloads it "
        "(aa-remove-unknown), it is missing until Docker starts again.",
        check=docker_profile,
        references=("CIS-Docker-5.2", "NIST-800-190-4.4.3"),
        impact=Impact.RESTART,
        by_hand=f"{ENABLE}: Docker loads its profile when it starts",
    ),
    Control(
        id=CONFINED,
        title="An AppArmor profile confines every running container",
        severity=Severity.HIGH,
        why="A process that escapes from an unconfined container meets no AppArmor rule, even though the kernel runs "
        "with AppArmor.",
        check=containers_confined,
        references=("CIS-Docker-5.2", "NIST-800-190-4.4.3"),
        impact=Impact.RESTART,
        by_hand="whoever started the container recreates it without --privileged, and without --security-opt "
        "apparmor=unconfined or a profile in complain mode",
    ),
    Control(
        id=DEFAULTED,
        title="Containers that ask for no profile get hullproof's stricter rules",
        severity=Severity.MEDIUM,
        why="Docker's own profile, which such containers get otherwise, lets them forge packets, trace processes, and "
        "use every capability that they were given.",
        check=container_default,
        references=("CIS-Docker-5.2", "NIST-800-190-4.4.3"),
        by_hand=f"{ENABLE}, then run harden again",
    ),
)


def along(context: Context) -> Mapping[str, Iterable[str]]:
    """A boot with AppArmor mends these too: it loads every profile, also the one that containers start with."""
    if not context.failing("apparmor.enabled"):
        return {}
    containers = context.survey[Docker].containers
    late = isinstance(containers, tuple) and not any(by_owner(container) for container in containers)
    return {"apparmor.enabled": context.which(PROFILE, *(CONFINED,) * late)}


def plan(context: Context) -> Iterator[Change]:
    reading, docker = context.survey[AppArmor], context.survey[Docker]
    if context.failing(DEFAULTED) and reading.enabled is True:  # before Docker restarts, so that it finds it loaded
        yield from plan_profile(context, DEFAULTED, DEFAULT, load())
        yield from mending([DEFAULTED], _keep_after_start(reading))
    if context.failing(PROFILE, CONFINED) and reading.enabled is True:
        late = [container for container in known(docker.containers) if by_age(container)]
        confined = (CONFINED,) * bool(late and context.failing(CONFINED))
        yield from mending((*context.which(PROFILE), *confined), _confine(context, late))
    if context.failing(CONFINED) and any(by_owner(container) for container in known(docker.containers)):
        yield by_hand(context.findings[CONFINED])


def _confine(context: Context, late: Sequence[Container]) -> Iterator[Change]:
    """Docker loads docker-default, and looks for the parser, only when it starts."""
    if known(context.survey[Docker].running):
        able = _able(context.survey)
        why = "to confine containers that started unconfined" if able else "to load its AppArmor profile"
        yield from start_anew(context, NAME, why, CONFINED, late, daemon=not able)


def _keep_after_start(reading: AppArmorReading) -> Iterator[Change]:
    """Newer versions of Docker load their own docker-default at every start, so ours is loaded again after that."""
    before = reading.files.get(UNIT_DROP_IN)
    if not same_text(known(before), drop_in()):
        yield WriteFile(
            NAME,
            f"have systemd load hullproof's {DEFAULT} after each start of Docker ({UNIT_DROP_IN})",
            path=UNIT_DROP_IN,
            text=drop_in(),
            before=None if before is None else known(before),
            activate="systemctl daemon-reload",
        )


def drop_in() -> str:
    return templates.render("engines/docker/apparmor/docker.service.conf.j2", name=DEFAULT, file=OURS[DEFAULT])


def load() -> str:
    """Load or replace the profile. After an undo the file is gone, and Docker's own rules take its place."""
    plain = base64.b64encode(profile.render(DEFAULT, None, extra=False).encode()).decode()
    script = templates.text("engines/docker/apparmor/load-default.sh")
    return f"{profile.given(DEFAULT)} PLAIN={plain}\n{script}"


PART = Part(
    controls=CONTROLS,
    plan=plan,
    facts=(AppArmor, Denials, System, Docker),
    accepts=(profile.ACCEPT_PROFILE,),
    along=along,
)
