"""AppArmor: profiles can be loaded, they are in force, and every container is confined by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from deploys.apparmor import plan as apparmor_plan
from deploys.apparmor import profile as apparmor_profile
from deploys.apparmor.profile import CONTAINER, DEFAULT, Observation
from deploys.core.change import Change, Context, Subject, by_hand, mending
from deploys.core.control import (
    Against,
    Check,
    Control,
    Impact,
    Severity,
    State,
    Verdict,
    failed,
    in_container,
    naming_key,
    not_applicable,
    only_where,
    passed,
    some,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.engines.docker.restart import options, unknown_process
from deploys.kernel.boot_parameters import next_words
from deploys.lsm import controls as lsm
from facts.apparmor import FOLDER, UNIT_DROP_IN, AppArmor, AppArmorReading
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.core.system import AT_BOOT, System
from facts.denials import Denials
from facts.engines.docker.docker import Container, Docker
from facts.kernel.kernel import Kernel
from facts.lsm import Lsm
from facts.selinux import SELinux

CONFINED = "apparmor.containers-confined"


class AppArmorRules(Rules):
    """Mandatory access control by AppArmor. A host that runs SELinux is judged by the rules of that subject instead."""

    enabled: Literal[True] | None = Field(
        default=None, description="AppArmor and its parser are installed, and the kernel runs with it, now and at boot."
    )
    profiles: list[str] | None = Field(
        default=None, description="Profiles that must be loaded in enforce mode. All others stay as they are."
    )
    containers: Literal[True] | None = Field(
        default=None, description="Docker's profile is loaded, and a profile confines every running container."
    )
    container_profile: Literal["loaded", "default"] | None = Field(
        default=None,
        description="The profile hullproof-container, stricter than Docker's own: `loaded` for containers that ask for "
        "it (--security-opt apparmor=hullproof-container), `default` also for those that ask for none.",
    )
    observe_hours: int | None = Field(
        default=None,
        ge=1,
        description="How many hours that profile only records what it would deny, before it is enforced.",
    )


def on_apparmor(key: str, wanted: str) -> Callable[[Check], Check]:
    """Only where the policy declares `key`, on a host whose own kernel AppArmor can confine. `wanted`: what the key
    wants."""
    name = f"apparmor.{key}"
    where = only_where(undeclared(AppArmorRules, name), in_container, _another(key), _not_built)
    naming = naming_key(name, wanted)
    return lambda check: where(naming(check))


def _another(key: str) -> Against:
    def against(survey: Survey, policy: Policy) -> str | None:
        if (other := lsm.confining(survey)) not in (None, "apparmor"):
            return f"{other} confines this host, and a kernel runs only one such module"
        if key == "enabled" and lsm.wanted_module(survey, policy) == "selinux":
            return "the policy wants SELinux on this host (lsm.module)"
        return None

    return against


def _not_built(survey: Survey, policy: Policy) -> str | None:
    return "this kernel was built without AppArmor" if known(survey[AppArmor].enabled) is None else None


@on_apparmor("enabled", "AppArmor enabled")
def installed(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[AppArmor]
    parser = known(reading.parser)
    if parser is None:
        reason = (
            "apparmor_parser is not installed, so no profile can be loaded: Docker starts containers unconfined, or "
            "(20.10) not at all"
        )
        return failed(reason, "installed", known(reading.package), None)
    service = known(reading.service)
    if service not in AT_BOOT:
        reason = f"apparmor.service is {service or 'not installed'}, so a boot loads no profile"
        return failed(reason, "installed", service, parser)
    return passed(f"AppArmor is installed ({parser}), and loads its profiles at boot", "installed", service, parser)


@on_apparmor("enabled", "AppArmor enabled")
def enabled(survey: Survey, policy: Policy) -> Verdict:
    live = known(survey[AppArmor].enabled)
    if obstacle := boot_obstacle(survey):
        when = "from the next boot on" if live else "now and after the next boot"
        reason = f"{obstacle} on the kernel's command line turns AppArmor off {when}"
        return failed(reason, True, str(obstacle), live)
    if not live:
        reason = "the kernel runs without AppArmor until the next boot, which enables it"
        return Verdict(State.PENDING_REBOOT, reason, True, True, False)
    return passed("the kernel runs with AppArmor, and does after the next boot", True, True, True)


def boot_obstacle(survey: Survey) -> lsm.BootObstacle | None:
    """What keeps AppArmor off after the next boot."""
    return lsm.boot_obstacle("apparmor", next_words(survey[Kernel]), survey[System].family)


@on_apparmor("enabled", "each of them loaded")
def profiles_loaded(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[AppArmor]
    if known(reading.parser) is None:
        return not_applicable("apparmor_parser is not installed, so no profile can be loaded (see apparmor.installed)")
    declared, missing = len(reading.of_others), [profile.name for profile in reading.not_loaded]
    if missing:
        reason = f"{len(missing)} of {declared} profiles in {FOLDER} are not loaded: {some(missing)}"
        return until_boot(survey, failed(reason, declared, declared, declared - len(missing)))
    return passed(f"the kernel has loaded all {declared} profiles in {FOLDER}", declared, declared, declared)


@on_apparmor("containers", "it in enforce mode")
def docker_profile(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if known(docker.running) is False:
        return not_applicable("Docker is not running; it loads its profile when it starts")
    mode = known(survey[AppArmor].profiles).get(DEFAULT)
    if mode == "enforce":
        return passed(f"Docker's profile {DEFAULT} is loaded in enforce mode", "enforce", None, mode)
    now = f"is in {mode} mode" if mode else "is not loaded"
    reason = f"Docker's profile {DEFAULT} {now}, so it confines no container"
    return until_boot(survey, failed(reason, "enforce", None, mode))


def until_boot(survey: Survey, verdict: Verdict) -> Verdict:
    """A failure that the next boot mends, where the kernel runs without AppArmor only until then, is pending."""
    reading = survey[AppArmor]
    waits = not known(reading.enabled) and known(reading.parser) is not None and not boot_obstacle(survey)
    if verdict.state is not State.FAIL or not waits:
        return verdict
    reason = f"{verdict.reason}; the kernel runs without AppArmor until the next boot"
    return replace(verdict, state=State.PENDING_REBOOT, reason=reason)


@on_apparmor("profiles", "all of them enforced")
def profiles_enforced(survey: Survey, policy: Policy) -> Verdict:
    reading, wanted = survey[AppArmor], policy[AppArmorRules].profiles or []
    loaded = known(reading.profiles)
    live = {name: loaded.get(name, "not loaded") for name in wanted}
    disk = {name: on_disk(reading, name) for name in wanted}
    design = reading.by_design
    problems = [f"{name} is unconfined by design, so the policy must not name it" for name in wanted if name in design]
    lax = [name for name in wanted if name not in design and (live[name], disk[name]) != ("enforce", "enforce")]
    now, boot = ({name: _say_mode(mode) for name, mode in modes.items()} for modes in (live, disk))
    problems += [f"the profile {name} is {now[name]} now and {boot[name]} on disk" for name in lax]
    if problems:
        return failed("; ".join(problems), "enforce", disk, live)
    return passed(f"{len(wanted)} profile{'s are' if len(wanted) > 1 else ' is'} enforced", "enforce", disk, live)


def _say_mode(mode: str) -> str:
    return f"in {mode} mode" if mode in ("enforce", "complain", "kill", "prompt") else mode


def on_disk(reading: AppArmorReading, name: str) -> str:
    """The mode in which the next boot loads a profile."""
    declared = next((profile for profile in known(reading.declared) if profile.name == name), None)
    if declared is None:
        return "not declared"
    file = declared.file.rsplit("/", 1)[-1]
    if file in reading.disabled:
        return "disabled"
    if file in reading.force_complain or "complain" in declared.flags:
        return "complain"
    return "enforce"


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
        verdict = failed("; ".join(owners + left), "confined", None, owners + left)
        return verdict if owners else until_boot(survey, verdict)
    if late:
        reason = f"{', '.join(late)} started before a profile could be loaded, and a restart confines them"
        return Verdict(State.PENDING_RESTART, reason, "confined", DEFAULT, late)
    unknown_process(containers)
    count = len(containers)
    confined = f"a profile confines {'each of ' if count > 1 else ''}{count} running container{'s' * (count > 1)}"
    return passed(confined if count else "no container is running", "confined", DEFAULT, "confined")


@on_apparmor("container_profile", "it enforced")
def container_profile(survey: Survey, policy: Policy) -> Verdict:
    now = observation(survey, policy, CONTAINER)
    return until_boot(survey, apparmor_profile.profile_verdict(survey[AppArmor], CONTAINER, now))


@on_apparmor("container_profile", "it enforced")
def container_default(survey: Survey, policy: Policy) -> Verdict:
    if policy[AppArmorRules].container_profile != "default":
        return not_applicable("the policy wants the profile only for containers that ask for it")
    if not survey[Docker].installed:
        return not_applicable("Docker is not installed")
    now = observation(survey, policy, DEFAULT)
    verdict = apparmor_profile.profile_verdict(survey[AppArmor], DEFAULT, now)
    if verdict.state is State.PASS and survey[AppArmor].files.get(UNIT_DROP_IN) != apparmor_profile.drop_in():
        reason = f"Docker may replace the profile {DEFAULT} with its own when it starts"
        return failed(reason, "enforce", verdict.disk, verdict.live)
    return until_boot(survey, verdict)


def observation(survey: Survey, policy: Policy, name: str) -> Observation:
    hours, clock = policy[AppArmorRules].observe_hours, survey[System].clock
    reading = survey[AppArmor]
    since = apparmor_profile.observed_since(reading, name)
    if not hours or not since:
        return apparmor_profile.observation(reading, name, hours, clock, (), None)
    denials = survey[Denials]
    return apparmor_profile.observation(reading, name, hours, clock, denials.since(since), denials.gap(since))


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


def plan(context: Context) -> Iterator[Change]:
    reading = context.survey[AppArmor] if context.failing(*(control.id for control in CONTROLS)) else None
    if reading is None:
        return
    if context.failing("apparmor.installed"):
        change = apparmor_plan.install() if reading.parser is None else apparmor_plan.load_at_boot(reading)
        yield from mending(["apparmor.installed"], [change])
    if context.failing("apparmor.enabled"):
        enabling = apparmor_plan.enable(context.survey[Kernel].boot, boot_obstacle(context.survey))
        yield from mending(_by_boot(context), enabling)
    if context.failing("apparmor.profiles-loaded") and reading.enabled is True:
        yield from mending(["apparmor.profiles-loaded"], [apparmor_plan.load(reading.not_loaded)])
    if context.failing("apparmor.profiles-enforced"):
        yield from mending(["apparmor.profiles-enforced"], _plan_enforced(context, reading))
    yield from _plan_profiles(context, reading)
    if context.failing("apparmor.docker-profile", CONFINED) and reading.enabled is True:
        late = [container for container in known(context.survey[Docker].containers) if by_age(container)]
        confined = (CONFINED,) * bool(late and context.failing(CONFINED))
        changes = apparmor_plan.confine(context, late, _able(context.survey), CONFINED)
        yield from mending((*context.which("apparmor.docker-profile"), *confined), changes)
    if context.failing(CONFINED) and any(by_owner(c) for c in known(context.survey[Docker].containers)):
        yield by_hand(context.findings[CONFINED])


def _by_boot(context: Context) -> Iterator[str]:
    """The controls that a boot mends: it loads every profile, also the one that containers start with."""
    yield from context.which("lsm.module", "apparmor.enabled", "apparmor.profiles-loaded", "apparmor.docker-profile")
    containers = context.survey[Docker].containers
    if isinstance(containers, tuple) and not any(by_owner(container) for container in containers):
        yield from context.which(CONFINED)


def _plan_enforced(context: Context, reading: AppArmorReading) -> Iterator[Change]:
    names = context.policy[AppArmorRules].profiles or []
    for name in names:
        if name not in reading.by_design:
            yield from apparmor_plan.enforce(reading, name, on_disk(reading, name))
    if any(name in reading.by_design for name in names):
        yield by_hand(context.findings["apparmor.profiles-enforced"])


def _plan_profiles(context: Context, reading: AppArmorReading) -> Iterator[Change]:
    """Before Docker restarts, so that it finds its profile loaded."""
    if reading.enabled is not True:
        return
    for name, control in ((CONTAINER, "apparmor.container-profile"), (DEFAULT, "apparmor.container-default")):
        if context.failing(control):
            now = observation(context.survey, context.policy, name)
            yield from mending([control], apparmor_profile.plan(context, reading, name, now))
    if context.failing("apparmor.container-default"):
        yield from mending(["apparmor.container-default"], apparmor_profile.keep_after_start(context, reading))


ENABLE = "enable AppArmor (apparmor.enabled) and reboot the host"

CONTROLS = (
    Control(
        id="apparmor.installed",
        title="AppArmor is installed and loads its profiles at boot",
        severity=Severity.HIGH,
        why="Without apparmor_parser no profile can be loaded, and Docker 23 and later starts containers unconfined "
        "without a warning.",
        check=installed,
        references=("CIS-Debian12-1.3.1.1", "STIG-UBTU-22-431010", "STIG-UBTU-24-100500"),
        by_hand="install the package apparmor and enable apparmor.service",
    ),
    Control(
        id="apparmor.enabled",
        title="The kernel runs with AppArmor, now and after the next boot",
        severity=Severity.HIGH,
        why="On most Debian and Ubuntu hosts AppArmor is all that holds a process back once it escapes from its "
        "container's namespaces.",
        check=enabled,
        references=("CIS-Debian12-1.3.1.2", "STIG-UBTU-22-431015", "STIG-UBTU-24-100510"),
        impact=Impact.REBOOT,
        by_hand="put apparmor=1 last on the kernel's command line, where the boot loader takes it from, and reboot the "
        "host",
    ),
    Control(
        id="apparmor.profiles-loaded",
        title="The kernel has loaded the profiles in /etc/apparmor.d",
        severity=Severity.MEDIUM,
        why="When something unloads profiles (aa-teardown, a stopped service, an upgrade), programs run unconfined "
        "until the next boot, although their files and the service look right.",
        check=profiles_loaded,
        references=("CIS-Debian12-1.3.1.3",),
        by_hand=f"{ENABLE}: a boot loads the profiles",
    ),
    Control(
        id="apparmor.docker-profile",
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
        id="apparmor.profiles-enforced",
        title="The AppArmor profiles that the policy names are in enforce mode",
        severity=Severity.MEDIUM,
        why="A profile in complain mode only records what it would deny, and stops no attack.",
        check=profiles_enforced,
        references=("CIS-Debian12-1.3.1.4",),
        by_hand="remove from the policy (apparmor.profiles) what is unconfined by design or has no file, and correct "
        "the files of the others",
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
        id="apparmor.container-profile",
        title="The profile hullproof-container is enforced for containers that ask for it",
        severity=Severity.LOW,
        why="Docker's own profile lets containers forge packets, trace processes, and use every capability that they "
        "were given.",
        check=container_profile,
        references=("CIS-Docker-5.2",),
        by_hand=f"{ENABLE}, then run harden again",
    ),
    Control(
        id="apparmor.container-default",
        title="Containers that ask for no profile get hullproof's stricter rules",
        severity=Severity.MEDIUM,
        why="Docker's own profile, which such containers get otherwise, lets them forge packets, trace processes, and "
        "use every capability that they were given.",
        check=container_default,
        references=("CIS-Docker-5.2", "NIST-800-190-4.4.3"),
        by_hand=f"{ENABLE}, then run harden again",
    ),
)

SUBJECT = Subject(
    name="apparmor",
    rules=AppArmorRules,
    controls=CONTROLS,
    plan=plan,
    facts=(AppArmor, Denials, Lsm, SELinux, Kernel, System, Docker),
    accepts=(apparmor_profile.ACCEPT_PROFILE,),
)
