"""Running guests: each emulator is confined apart from all others (sVirt), whoever started it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deploys.containers.judge import FREE_DOMAINS
from deploys.containers.rules import ContainersRules
from deploys.core.control import (
    Control,
    Severity,
    Verdict,
    failed,
    not_applicable,
    only_where,
    passed,
    some,
    undeclared,
)
from deploys.core.policy import Policy
from deploys.selinux import labels
from facts.containers import Containers
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.survey import Survey
from facts.guests import Guest
from facts.lsm import Lsm
from facts.processes import CONFINING

FILTERED = 2  # /proc/PID/status, Seccomp


@only_where(undeclared(ContainersRules, "containers.guests"))
def _check(survey: Survey, policy: Policy) -> Verdict:
    guests, may = known(survey[Containers].guests), policy[ContainersRules].guests or []
    if not guests:
        return not_applicable("no guest is running")
    module = known(survey[Lsm].major)
    labelled = Counter(_own(guest, module) for guest in guests)
    wrong: dict[str, str] = {}
    unread: list[str] = []
    for guest in guests:
        if _named(guest, may):
            continue
        if isinstance(guest.label, Unknown):
            unread.append(f"{guest.shown}: {guest.label.unknown}")
        elif lacks := "; ".join(_lacks(guest, module, labelled)):
            wrong[guest.shown] = lacks
    if wrong:
        more = f"; {len(unread)} guests could not be judged" if unread else ""
        said = some([f"{name}: {why}" for name, why in wrong.items()], most=8)
        wants = f"the policy allows {f'only {some(may)}' if may else 'none'} (containers.guests)"
        return failed(f"{said}{more}; {wants}", declared=may, live=wrong)
    if unread:
        raise UnknownReading(some(unread, most=8))
    count = f"{len(guests)} running guest{' was' if len(guests) == 1 else 's were'}"
    return passed(f"{count} checked", declared=may, live={})


@only_where(undeclared(ContainersRules, "containers.guest_devices"))
def _devices(survey: Survey, policy: Policy) -> Verdict:
    guests, may = known(survey[Containers].guests), policy[ContainersRules].guest_devices or []
    if not guests:
        return not_applicable("no guest is running")
    asked = [guest for guest in guests if not _named(guest, may)]
    unread = [f"{guest.shown}: {guest.devices.unknown}" for guest in asked if isinstance(guest.devices, Unknown)]
    wrong = {guest.shown: list(guest.devices) for guest in asked if isinstance(guest.devices, tuple) and guest.devices}
    if wrong:
        more = f"; {len(unread)} guests could not be judged" if unread else ""
        said = some([f"the emulator of {name} has {some(has, 6)}" for name, has in wrong.items()], most=8)
        wants = f"the policy allows {f'only {some(may)}' if may else 'none'} (containers.guest_devices)"
        return failed(f"{said}{more}; {wants}", declared=may, live=wrong)
    if unread:
        raise UnknownReading(some(unread, most=8))
    return passed("no running guest has such a device", declared=may, live={})


def _named(guest: Guest, may: list[str]) -> bool:
    return guest.name in may or f"user:{guest.uid}" in may


def _own(guest: Guest, module: str | None) -> str:
    """What of its label is to be no other guest's: AppArmor's profile, SELinux's categories; "" where it has none."""
    label = guest.label if isinstance(guest.label, str) else ""
    if module == "selinux":
        return "" if labels.domain(label) in FREE_DOMAINS else labels.categories(label)
    confined = CONFINING.fullmatch(label) if module == "apparmor" else None
    return confined[1] if confined else ""


def _lacks(guest: Guest, module: str | None, labelled: Counter[str]) -> Iterator[str]:
    own = _own(guest, module)
    if module not in ("apparmor", "selinux"):
        yield "its emulator is confined by nothing: the kernel runs without AppArmor and SELinux"
    elif not own and module == "selinux" and labels.domain(str(guest.label)) not in FREE_DOMAINS:
        yield f"its emulator has no SELinux category of its own ({guest.label})"
    elif not own:
        yield f"its emulator is not confined (its label is {guest.label or 'empty'})"
    elif labelled[own] > 1:
        yield f"another guest has its label, {own}"
    if guest.seccomp != FILTERED:
        yield "its emulator has no seccomp filter"


CONFINED = Control(
    id="containers.guests",
    title="Each running guest's emulator is confined, by a label that no other guest has",
    severity=Severity.HIGH,
    why="A guest that takes over its emulator would have the disks and the memory of all others.",
    check=_check,
    references=("NIST-800-190-4.4.3",),
    by_hand="start the guest again by libvirt, once libvirt.confined and libvirt.seccomp-sandbox hold and it has no "
    "seclabel of type none; or, without libvirt, with a profile of its own and -sandbox on; or the policy names it in "
    "containers.guests",
)

DEVICES = Control(
    id="containers.guest-devices",
    title="No running guest has emulated devices that it does not need",
    severity=Severity.LOW,
    why="A guest reaches the code of each in its emulator, as VENOM did of the floppy controller of every i440fx.",
    check=_devices,
    references=("NIST-800-190-4.4.3",),
    by_hand="start the guest again without these devices: with -nodefaults, and with a machine type (q35) that has no "
    "floppy controller; or name it in containers.guest_devices",
)
CONTROLS = (CONFINED, DEVICES)
