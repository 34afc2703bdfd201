"""AppArmor: profiles can be loaded and are in force. What confines containers is the part of each engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from deploys.apparmor import plan as apparmor_plan
from deploys.apparmor import profile as apparmor_profile
from deploys.apparmor.profile import CONTAINER, Observation
from deploys.core.boot_units import plan_units, standing_on
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
from deploys.kernel.boot_parameters import next_words
from deploys.lsm import controls as lsm
from facts.apparmor import FOLDER, AppArmor, AppArmorReading
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.system import AT_BOOT, System
from facts.denials import Denials
from facts.engines import present
from facts.kernel.kernel import Kernel
from facts.lsm import Lsm
from facts.selinux import SELinux


class AppArmorRules(Rules):
    """Mandatory access control by AppArmor. A host that runs SELinux is judged by the rules of that subject instead."""

    enabled: Literal[True] | None = Field(
        default=None, description="AppArmor and its parser are installed, and the kernel runs with it, now and at boot."
    )
    profiles: list[str] | None = Field(
        default=None, description="Profiles that must be loaded in enforce mode. All others stay as they are."
    )
    containers: Literal[True] | None = Field(
        default=None, description="Docker's profile, with which containers start, is loaded in enforce mode."
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
@standing_on(apparmor_plan.UNIT, so="so a boot loads no profile")
def installed(survey: Survey, policy: Policy) -> Verdict:
    reading = survey[AppArmor]
    parser = known(reading.parser)
    if parser is None:
        reason = (
            "apparmor_parser is not installed, so no profile can be loaded: container engines start containers "
            "unconfined, or not at all"
        )
        return failed(reason, declared="installed", disk=known(reading.package), live=None)
    service = known(reading.service)
    if service not in AT_BOOT:
        reason = f"apparmor.service is {service or 'not installed'}, so a boot loads no profile"
        return failed(reason, declared="installed", disk=service, live=parser)
    return passed(
        f"AppArmor is installed ({parser}), and loads its profiles at boot",
        declared="installed",
        disk=service,
        live=parser,
    )


@on_apparmor("enabled", "AppArmor enabled")
def enabled(survey: Survey, policy: Policy) -> Verdict:
    live = known(survey[AppArmor].enabled)
    if obstacle := boot_obstacle(survey):
        when = "from the next boot on" if live else "now and after the next boot"
        reason = f"{obstacle} on the kernel's command line turns AppArmor off {when}"
        return failed(reason, declared=True, disk=str(obstacle), live=live)
    if not live:
        reason = "the kernel runs without AppArmor until the next boot, which enables it"
        return Verdict(State.PENDING_REBOOT, reason, declared=True, disk=True, live=False)
    return passed("the kernel runs with AppArmor, and does after the next boot", declared=True, disk=True, live=True)


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
        return until_boot(survey, failed(reason, declared=declared, disk=declared, live=declared - len(missing)))
    return passed(
        f"the kernel has loaded all {declared} profiles in {FOLDER}", declared=declared, disk=declared, live=declared
    )


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
        return failed("; ".join(problems), declared="enforce", disk=disk, live=live)
    return passed(
        f"{len(wanted)} profile{'s are' if len(wanted) > 1 else ' is'} enforced",
        declared="enforce",
        disk=disk,
        live=live,
    )


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


@on_apparmor("container_profile", "it enforced")
def container_profile(survey: Survey, policy: Policy) -> Verdict:
    now = observation(survey, policy, CONTAINER)
    return until_boot(survey, apparmor_profile.profile_verdict(survey[AppArmor], CONTAINER, now))


def observation(survey: Survey, policy: Policy, name: str) -> Observation:
    hours, clock = policy[AppArmorRules].observe_hours, survey[System].clock
    reading = survey[AppArmor]
    since = apparmor_profile.observed_since(reading, name)
    if not hours or not since:
        return apparmor_profile.observation(reading, name, hours, clock, (), None)
    denials = survey[Denials]
    return apparmor_profile.observation(reading, name, hours, clock, denials.since(since), denials.gap(since))


def plan(context: Context) -> Iterator[Change]:
    reading = context.survey[AppArmor] if context.failing(*(control.id for control in CONTROLS)) else None
    if reading is None:
        return
    if context.failing("apparmor.installed"):
        if reading.parser is not None and reading.service in AT_BOOT:
            yield from plan_units(context, "apparmor", apparmor_plan.UNIT, controls=("apparmor.installed",))
        else:
            change = apparmor_plan.install() if reading.parser is None else apparmor_plan.load_at_boot(reading)
            yield from mending(["apparmor.installed"], [change])
    if context.failing("apparmor.enabled"):
        by_boot = context.which("lsm.module", "apparmor.enabled", "apparmor.profiles-loaded")
        enabling = apparmor_plan.enable(context.survey[Kernel].boot, boot_obstacle(context.survey))
        yield from mending(by_boot, enabling)
    if context.failing("apparmor.profiles-loaded") and reading.enabled is True:
        yield from mending(["apparmor.profiles-loaded"], [apparmor_plan.load(reading.not_loaded)])
    if context.failing("apparmor.profiles-enforced"):
        yield from mending(["apparmor.profiles-enforced"], _plan_enforced(context, reading))
    if context.failing("apparmor.container-profile"):
        yield from plan_profile(context, "apparmor.container-profile", CONTAINER, apparmor_profile.load())


def plan_profile(context: Context, control: str, name: str, load: str) -> Iterator[Change]:
    """The next step of a profile that hullproof writes, once the kernel can take it."""
    reading = context.survey[AppArmor]
    if reading.enabled is True:
        now = observation(context.survey, context.policy, name)
        yield from mending([control], apparmor_profile.plan(context, reading, name, now, load))


def _plan_enforced(context: Context, reading: AppArmorReading) -> Iterator[Change]:
    names = context.policy[AppArmorRules].profiles or []
    for name in names:
        if name not in reading.by_design:
            yield from apparmor_plan.enforce(reading, name, on_disk(reading, name))
    if any(name in reading.by_design for name in names):
        yield by_hand(context.findings["apparmor.profiles-enforced"])


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
        packages=("apparmor",),
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
        id="apparmor.container-profile",
        title="The profile hullproof-container is enforced for containers that ask for it",
        severity=Severity.LOW,
        why="Docker's own profile lets containers forge packets, trace processes, and use every capability that they "
        "were given.",
        check=container_profile,
        references=("CIS-Docker-5.2",),
        by_hand=f"{ENABLE}, then run harden again",
    ),
)

SUBJECT = Subject(
    name="apparmor",
    rules=AppArmorRules,
    controls=CONTROLS,
    plan=plan,
    facts=(AppArmor, Denials, Lsm, SELinux, Kernel, System, *present.FACTS),
    accepts=(apparmor_profile.ACCEPT_PROFILE,),
    unproved="what it does for containers is attacked as containers.confined",
)
