"""Docker's part of the subject apparmor: the profile that its containers start with.

Docker has no setting for the profile of containers that ask for none. They get `docker-default`, which the daemon
generates and loads itself, unless (before version 25 or so) a profile of that name is loaded already. So, to be the
default, hullproof's rules are loaded under that name: at boot before Docker, and again after each start of Docker.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping

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
from deploys.core.change import Change, Context, Part, WriteFile, mending
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
from deploys.core.same_text import same_text
from deploys.engines.docker.restart import options, restart
from facts.apparmor import OURS, UNIT_DROP_IN, AppArmor, AppArmorReading
from facts.containers import Container
from facts.core.numbers import utc
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import System
from facts.denials import Denials
from facts.engines.docker.docker import Container as Asked
from facts.engines.docker.docker import Docker
from facts.seccomp import Seccomp

NAME = "apparmor"
DEFAULT = "docker-default"
LATE = 60  # seconds after its start in which a slow daemon loads its profile
PROFILE, DEFAULTED = "apparmor.docker-profile", "apparmor.container-default"
CONFINED = "containers.confined"


@on_apparmor("containers", "it in enforce mode")
def docker_profile(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not known(docker.installed):
        return not_applicable("Docker is not installed")
    if known(docker.running) is False:
        return not_applicable("Docker is not running; it loads its profile when it starts")
    mode = known(survey[AppArmor].profiles).get(DEFAULT)
    if mode == "enforce" and known(survey[AppArmor].current.get(DEFAULT, True)) is False:
        reason = f"{DEFAULT} has other rules than {OURS[DEFAULT]}, so that it may allow anything"
        return failed(reason, declared="enforce", disk="enforce", live="other")
    if mode == "enforce" and (allowed := survey[AppArmor].allowed.get(DEFAULT)):
        reason = f"{DEFAULT} lets a container write {some(allowed)}: another profile is loaded under its name"
        return failed(reason, declared="enforce", disk=None, live="other")
    if mode == "enforce" and (since := _by_another(survey)):
        return Verdict(State.UNKNOWN, since, declared="enforce", live=mode)
    if mode == "enforce":
        return passed(f"Docker's profile {DEFAULT} is loaded in enforce mode", declared="enforce", disk=None, live=mode)
    now = f"is in {mode} mode" if mode else "is not loaded"
    reason = f"Docker's profile {DEFAULT} {now}, so it confines no container"
    return until_boot(survey, failed(reason, declared="enforce", disk=None, live=mode))


def _by_another(survey: Survey) -> str:
    """Docker loads its profile when it starts, and later only after something has unloaded it."""
    loaded = survey[AppArmor].replaced
    if loaded is None or DEFAULT in survey[AppArmor].current:
        return ""
    started = survey[Seccomp].daemon_started
    if started is None or loaded < started + LATE:
        return ""
    return (
        f"{DEFAULT} was loaded at {utc(loaded):%Y-%m-%d %H:%M} UTC, after Docker had started at "
        f"{utc(started):%Y-%m-%d %H:%M} UTC, so it is not known whether its rules are Docker's: restart Docker, which "
        "loads its own (before Docker 25, reboot the host)"
    )


@on_apparmor("container_profile", "it enforced")
def container_default(survey: Survey, policy: Policy) -> Verdict:
    if policy[AppArmorRules].container_profile != "default":
        return not_applicable("the policy wants the profile only for containers that ask for it")
    if not known(survey[Docker].installed):
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


def mends(asked: Asked, container: Container, survey: Survey) -> State | None:
    """What confines a container that runs without a profile: a restart, where none could be loaded when it started."""
    if asked.privileged or options(asked, "apparmor") or "(complain)" in known(container.process).label:
        return None
    if _able(survey):
        return State.PENDING_RESTART
    if known(survey[AppArmor].enabled) is None:
        return State.FAIL
    return until_boot(survey, failed("Docker starts containers without a profile")).state


def obstacle(survey: Survey) -> str:
    """Why containers that start again would not be confined; "" where they would."""
    if known(survey[AppArmor].enabled):
        return ""
    return (
        "the kernel runs without AppArmor, so Docker would start them without a profile again: see apparmor.enabled "
        "and lsm.module"
    )


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
    waits = [id for id in context.which(CONFINED) if context.findings[id].state is State.PENDING_REBOOT]
    return {"apparmor.enabled": (*context.which(PROFILE), *waits)}


def plan(context: Context) -> Iterator[Change]:
    reading = context.survey[AppArmor]
    if context.failing(DEFAULTED) and reading.enabled is True:  # before Docker restarts, so that it finds it loaded
        yield from plan_profile(context, DEFAULTED, DEFAULT, load())
        yield from mending([DEFAULTED], _keep_after_start(reading))
    if context.failing(PROFILE) and reading.enabled is True and known(context.survey[Docker].running):
        yield from mending([PROFILE], [restart(context, NAME, "to load its AppArmor profile")])


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
    facts=(AppArmor, Denials, Seccomp, System, Docker),
    accepts=(profile.ACCEPT_PROFILE,),
    along=along,
)
