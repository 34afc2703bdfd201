"""AppArmor: profiles can be loaded, they are in force, and every container is confined by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from deploys.apparmor import plan as apparmor_plan
from deploys.apparmor import profile as apparmor_profile
from deploys.apparmor.profile import CONTAINER, DEFAULT, Stage
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
    not_applicable,
    only_where,
    passed,
    some,
    undeclared,
)
from deploys.core.policy import Policy, Rules
from deploys.engines.restart import options, unknown_process
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

DOCKER_DEFAULT = "docker-default"
CONFINED = "apparmor.containers-confined"


class AppArmorRules(Rules):
    """Mandatory access control by AppArmor. A host that runs another such module (SELinux) is judged by that."""

    enabled: Literal[True] | None = Field(
        default=None, description="AppArmor is installed with its parser, and enabled now and at boot"
    )
    profiles: list[str] | None = Field(
        default=None, description="Profiles that must be loaded in enforce; all others are left as they are"
    )
    containers: Literal[True] | None = Field(
        default=None, description="Docker's profile is loaded, and every running container is confined by a profile"
    )
    container_profile: Literal["loaded", "default"] | None = Field(
        default=None,
        description="hullproof-container, stricter than Docker's own profile: `loaded` for containers that ask for it "
        "(--security-opt apparmor=hullproof-container), `default` for those that ask for none, too",
    )
    observe_hours: int | None = Field(
        default=None, ge=1, description="How long it only records what it would refuse, before it is enforced"
    )


def on_apparmor(key: str) -> Callable[[Check], Check]:
    """Only where the policy declares `key`, and the kernel is one that AppArmor can confine."""
    return only_where(undeclared(AppArmorRules, f"apparmor.{key}"), in_container, _another(key), _not_built)


def _another(key: str) -> Against:
    def against(survey: Survey, policy: Policy) -> str | None:
        if (other := lsm.confining(survey)) not in (None, "apparmor"):
            return f"this host confines with {other}, and a kernel runs one such module"
        if key == "enabled" and lsm.wanted(survey, policy) == "selinux":
            return "the policy wants SELinux on this host (lsm.module)"
        return None

    return against


def _not_built(survey: Survey, policy: Policy) -> str | None:
    return "this kernel was built without AppArmor" if known(survey[AppArmor].enabled) is None else None


@on_apparmor("enabled")
def installed(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[AppArmor]
    parser = known(reading.parser)
    if parser is None:
        reason = (
            "apparmor_parser is missing: no profile gets loaded; Docker runs containers unconfined, or (20.10) none"
        )
        return failed(reason, "installed", known(reading.package), None)
    service = known(reading.service)
    if service not in AT_BOOT:
        said = f"is {service}" if service else "is not there"
        return failed(f"apparmor.service {said}: no profile is loaded at boot", "installed", service, parser)
    return passed(f"{parser} loads the profiles at boot", "installed", service, parser)


@on_apparmor("enabled")
def enabled(survey: Survey, policy: Policy) -> Verdict:
    live = known(survey[AppArmor].enabled)
    if bar := barred(survey):
        when = "from the next boot on" if live else "now"
        return failed(f"{bar} on the kernel's command line turns AppArmor off {when}", True, bar, live)
    if not live:
        reason = "the next boot enables AppArmor, the kernel runs without it until then"
        return Verdict(State.PENDING_REBOOT, reason, True, True, False)
    return passed("the kernel runs with AppArmor, and the next boot does", True, True, True)


def barred(survey: Survey) -> str | None:
    """What keeps AppArmor off the next boot."""
    return lsm.barred("apparmor", next_words(survey[Kernel]), survey[System].family)


@on_apparmor("enabled")
def profiles_loaded(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[AppArmor]
    if known(reading.parser) is None:
        return not_applicable("without apparmor_parser none is loaded (apparmor.installed)")
    declared, missing = len(reading.of_others), [profile.name for profile in reading.not_loaded]
    if missing:
        reason = f"{len(missing)} of {declared} profiles in {FOLDER} are not loaded: {some(missing)}"
        return until_boot(survey, failed(reason, declared, declared, declared - len(missing)))
    return passed(f"{declared} profiles in {FOLDER}, each loaded", declared, declared, declared)


@on_apparmor("containers")
def docker_profile(survey: Survey, policy: Policy) -> Verdict:
    docker = survey[Docker]
    if not docker.installed:
        return not_applicable("Docker is not installed")
    if known(docker.running) is False:
        return not_applicable("Docker does not run; it loads its profile when it starts")
    mode = known(survey[AppArmor].profiles).get(DOCKER_DEFAULT)
    if mode == "enforce":
        return passed(f"{DOCKER_DEFAULT} is loaded in enforce", "enforce", None, mode)
    said = f"is in {mode}" if mode else "is not loaded"
    reason = f"Docker's profile {DOCKER_DEFAULT} {said}: containers that ask for nothing run unconfined"
    return until_boot(survey, failed(reason, "enforce", None, mode))


def until_boot(survey: Survey, verdict: Verdict) -> Verdict:
    """A failure that the next boot ends: the kernel runs without AppArmor, and all is ready for it to run with it."""
    reading = survey[AppArmor]
    if verdict.state is not State.FAIL or known(reading.enabled) or known(reading.parser) is None or barred(survey):
        return verdict
    reason = f"{verdict.reason}; the kernel runs without AppArmor until the next boot"
    return replace(verdict, state=State.PENDING_REBOOT, reason=reason)


@on_apparmor("profiles")
def profiles_enforced(survey: Survey, policy: Policy) -> Verdict:
    reading, wanted = survey[AppArmor], policy[AppArmorRules].profiles or []
    loaded = known(reading.profiles)
    live = {name: loaded.get(name, "not loaded") for name in wanted}
    disk = {name: on_disk(reading, name) for name in wanted}
    design = reading.by_design
    problems = [f"{name} is unconfined by design: the policy must not name it" for name in wanted if name in design]
    problems += [f"{name} is {live[name]} now and {disk[name]} on disk" for name in wanted
                 if name not in design and (live[name], disk[name]) != ("enforce", "enforce")]  # fmt: skip
    if problems:
        return failed("; ".join(problems), "enforce", disk, live)
    return passed(f"{len(wanted)} profiles are in enforce", "enforce", disk, live)


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


@on_apparmor("containers")
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
        reason = f"{', '.join(late)} started while there was no profile to load: a restart confines them"
        return Verdict(State.PENDING_RESTART, reason, "confined", DOCKER_DEFAULT, late)
    unknown_process(containers)
    count = len(containers)
    return passed(f"{count} running containers, each confined" if count else "no container runs", "confined",
                  DOCKER_DEFAULT, "confined")  # fmt: skip


@on_apparmor("container_profile")
def container_profile(survey: Survey, policy: Policy) -> Verdict:
    return until_boot(survey, apparmor_profile.judge(survey[AppArmor], CONTAINER, stage(survey, policy, CONTAINER)))


@on_apparmor("container_profile")
def container_default(survey: Survey, policy: Policy) -> Verdict:
    if policy[AppArmorRules].container_profile != "default":
        return not_applicable("the policy asks for it by name only")
    if not survey[Docker].installed:
        return not_applicable("Docker is not installed")
    verdict = apparmor_profile.judge(survey[AppArmor], DEFAULT, stage(survey, policy, DEFAULT))
    if verdict.state is State.PASS and survey[AppArmor].files.get(UNIT_DROP_IN) != apparmor_profile.drop_in():
        return failed("a start of Docker may replace it with Docker's own", "enforce", verdict.disk, verdict.live)
    return until_boot(survey, verdict)


def stage(survey: Survey, policy: Policy, name: str) -> Stage:
    hours = policy[AppArmorRules].observe_hours
    reading = survey[AppArmor]
    since = apparmor_profile.observed_since(name, apparmor_profile.text_of(reading, name))
    if not hours or not since:
        return apparmor_profile.stage(reading, name, hours, survey[System].clock, (), None)
    denials = survey[Denials]
    return apparmor_profile.stage(reading, name, hours, survey[System].clock, denials.since(since), denials.gap(since))


def _able(survey: Survey) -> bool:
    """Whether a container that starts now gets a profile."""
    reading = survey[AppArmor]
    return known(reading.parser) is not None and known(reading.profiles).get(DOCKER_DEFAULT) == "enforce"


def unconfined(container: Container) -> bool:
    process = container.process
    return not isinstance(process, Unknown) and not process.label.endswith((" (enforce)", " (kill)"))


def by_owner(container: Container) -> str | None:
    """Why a container is not confined, where that is how its owner started it."""
    if isinstance(container.process, Unknown) or not unconfined(container):
        return None
    if container.privileged:
        return f"{container.name} runs privileged, which takes away its profile"
    own = options(container, "apparmor")
    if "unconfined" in own:
        return f"{container.name} was started with apparmor=unconfined"
    if "(complain)" in container.process.label:
        return f"{container.name} runs under {container.process.label}, which only logs"
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
        enabling = apparmor_plan.enable(context.survey[Kernel].boot, barred(context.survey))
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
    """What a boot mends too: it loads every profile, and so gives those that containers start with."""
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
    """Before Docker is told to start anew, which then finds its profile loaded."""
    if reading.enabled is not True:
        return
    for name, control in ((CONTAINER, "apparmor.container-profile"), (DEFAULT, "apparmor.container-default")):
        if context.failing(control):
            now = stage(context.survey, context.policy, name)
            yield from mending([control], apparmor_profile.plan(context, reading, name, now))
    if context.failing("apparmor.container-default"):
        yield from mending(["apparmor.container-default"], apparmor_profile.keep_after_start(context, reading))


CONTROLS = (
    Control("apparmor.installed", "AppArmor's parser is installed and loads profiles at boot", Severity.HIGH,
            "Without the parser no profile gets loaded: Docker 23 and later runs containers unconfined, silently.",
            installed, ("CIS-Debian12-1.3.1.1", "STIG-UBTU-22-431010", "STIG-UBTU-24-100500"),
            by_hand="install package apparmor and enable apparmor.service"),
    Control("apparmor.enabled", "The kernel runs with AppArmor, now and after the next boot", Severity.HIGH,
            "A container that gets past its namespaces is stopped by nothing else on most Debian and Ubuntu hosts.",
            enabled, ("CIS-Debian12-1.3.1.2", "STIG-UBTU-22-431015", "STIG-UBTU-24-100510"), Impact.REBOOT,
            by_hand="put apparmor=1 last on the kernel's command line, where that is given, and reboot the host"),
    Control("apparmor.profiles-loaded", "The profiles in /etc/apparmor.d are loaded, unless disabled", Severity.MEDIUM,
            "What takes profiles away (aa-teardown, a stopped service, an upgrade) leaves the programs unconfined "
            "until the next boot, with the files and the service as they should be.",
            profiles_loaded, ("CIS-Debian12-1.3.1.3",),
            by_hand="enable AppArmor (apparmor.enabled) and reboot the host: a boot loads them"),
    Control("apparmor.docker-profile", "Docker's AppArmor profile is loaded and enforced", Severity.HIGH,
            "It is on no disk: what unloads profiles (aa-remove-unknown) takes it away until Docker loads it again.",
            docker_profile, ("CIS-Docker-5.2", "NIST-800-190-4.4.3"), Impact.RESTART,
            by_hand="enable AppArmor (apparmor.enabled) and reboot the host: Docker loads its profile when it starts"),
    Control("apparmor.profiles-enforced", "The profiles that the policy names are enforced", Severity.MEDIUM,
            "A profile in complain only logs; one that names a program and is unconfined by design must stay so.",
            profiles_enforced, ("CIS-Debian12-1.3.1.4",),
            by_hand="take from the policy's apparmor.profiles what is unconfined by design or on no disk, and mend the "
            "files of the others"),
    Control(CONFINED, "Every running container is confined by a profile", Severity.HIGH,
            "Docker's report says that the kernel has AppArmor, not that a container's process has a profile.",
            containers_confined, ("CIS-Docker-5.2", "NIST-800-190-4.4.3"), Impact.RESTART,
            by_hand="whoever started the container recreates it without --privileged and without "
            "--security-opt apparmor=unconfined or a profile that only complains"),
    Control("apparmor.container-profile", "A profile stricter than Docker's own is there for containers", Severity.LOW,
            "Docker's own profile lets containers forge packets, trace, and use every capability they are given.",
            container_profile, ("CIS-Docker-5.2",),
            by_hand="enable AppArmor (apparmor.enabled) and reboot the host, then run harden again"),
    Control("apparmor.container-default", "Containers that ask for no profile get the stricter one", Severity.MEDIUM,
            "A profile that has to be asked for confines what its owner thought of; Docker has no setting for this.",
            container_default, ("CIS-Docker-5.2", "NIST-800-190-4.4.3"),
            by_hand="enable AppArmor (apparmor.enabled) and reboot the host, then run harden again"),
)  # fmt: skip

SUBJECT = Subject(
    name="apparmor",
    rules=AppArmorRules,
    controls=CONTROLS,
    plan=plan,
    facts=(AppArmor, Denials, Lsm, SELinux, Kernel, System, Docker),
    accepts=(apparmor_profile.ACCEPT,),
)
