"""Kernel updates: what is offered gets installed, what is installed gets booted, and a way back is kept."""

from __future__ import annotations

from deploys.core.control import State, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.kernel.rules import KernelRules
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.core.system import System
from facts.core.versions import version_key
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.packages import Package, flavour
from facts.kernel.updates import Offer, Trial

STALE_DAYS = 7  # package lists older than this do not tell what is offered
RETRY = "kernel-retry"  # accepted: a kernel that did not pass its trial is tried again


def alike(kernel: KernelReading) -> tuple[Package, ...]:
    """The installed kernels of the running one's flavour, oldest first."""
    return tuple(p for p in known(kernel.packages) if flavour(p.release) == flavour(kernel.release))


def newest(kernel: KernelReading) -> Package | None:
    found = alike(kernel)
    return found[-1] if found else None


def wanted(offer: Offer, declared: str | None) -> bool:
    """Whether the policy wants what is newer than installed: all of it, or security fixes."""
    return declared == "all" or (declared == "security" and offer.security)


def update(survey: Survey, policy: Policy) -> Verdict:
    declared = policy[KernelRules].update
    if declared in (None, "none"):
        return not_applicable("the policy leaves the installation of kernels to others")
    updates = survey[Kernel].updates
    offers = known(updates.offers)
    there = newest(survey[Kernel])
    disk = there.version if there else None
    live = max((offer.newest for offer in offers), key=version_key, default=None)
    if updates.half:
        return failed(f"{', '.join(updates.half)}: an installation was cut off midway", declared, disk, live)
    if not offers:
        return Verdict(State.UNKNOWN, "no installed package brings kernels like the running one", declared, disk, live)
    if due := [offer for offer in offers if offer.newer and wanted(offer, declared)]:
        held = [offer.package for offer in due if offer.held]
        what = f"{due[0].candidate} is offered{' as a security fix' if due[0].security else ''}, {disk} is installed"
        if held:
            what += f"; {', '.join(held)} is held, and left alone"
        return failed(what, declared, disk, live)
    if pinned := [offer for offer in offers if offer.pinned and wanted(offer, declared)]:
        return failed(f"{pinned[0].newest} is there, and a pin keeps it from {pinned[0].package}", declared, disk, live)
    if updates.unrefreshed:  # some lists may be new for all that, and the one that counts old
        return failed(f"the package lists could not be refreshed on {updates.unrefreshed}", declared, disk, live)
    age = (survey[System].clock - known(updates.lists)) // 86400
    if age >= STALE_DAYS:
        return failed(f"the package lists are {age} days old: what is offered now is not known", declared, disk, live)
    return passed(f"{disk} is the newest kernel that {_source(declared)}", declared, disk, live)


def _source(declared: str | None) -> str:
    return "the security archive offers" if declared == "security" else "the package lists offer"


def failed_trial(kernel: KernelReading) -> Trial | None:
    """The last trial, where the newest installed kernel is the one that did not pass."""
    last, there = kernel.updates.last, newest(kernel)
    if last and there and last.result == "returned" and kernel.release != there.release:
        return last if (last.release, last.version) == (there.release, there.version) else None
    return None


def rejected(kernel: KernelReading, package: Package) -> bool:
    return f"{package.release} {package.version}" in kernel.updates.rejected


def lacking(kernel: KernelReading) -> str:
    """What the newest kernel would be booted without, in words: modules that DKMS has built for the running one."""
    there, built = newest(kernel), known(kernel.updates.built)
    new = built.get(there.release, ()) if there else ()
    names = [name for name in built.get(kernel.release, ()) if name not in new]
    return f"{there.release} lacks what DKMS built for {kernel.release}: {', '.join(names)}" if there and names else ""


def running(survey: Survey, policy: Policy) -> Verdict:
    """Declared newest; on disk what the next boot takes; live what runs. What a reboot would not bring fails."""
    if policy[KernelRules].running is None:
        return not_applicable("the policy does not ask for the newest installed kernel")
    kernel = survey[Kernel]
    reboot = known(kernel.reboot)
    there = newest(kernel) if not isinstance(kernel.packages, Unknown) else None
    disk = f"{there.release} {there.version}" if there else None
    live = f"{kernel.release} {kernel.version}".strip()
    notes = "".join(f"; {note}" for note in _notes(kernel, reboot.needed))
    if trial := failed_trial(kernel):
        reason = (
            f"{trial.release} {trial.version} was booted on {trial.time[:10]} and did not pass ({trial.gate}: "
            f"{trial.why}); the host went back to {kernel.release} by itself"
        )
        return failed(reason + notes, "newest-installed", disk, live)
    if reboot.needed:
        return Verdict(State.PENDING_REBOOT, reboot.why + notes, "newest-installed", disk, live)
    if there and kernel.boot.release and kernel.boot.release != there.release:
        reason = f"{there.release} runs, and the next boot takes {kernel.boot.release}: that is GRUB's default"
        return failed(reason + notes, "newest-installed", kernel.boot.release, live)
    return passed(reboot.why + notes, "newest-installed", disk, live)


def _notes(kernel: KernelReading, needed: bool) -> list[str]:
    notes, there = [], newest(kernel) if not isinstance(kernel.packages, Unknown) else None
    if needed and there and kernel.boot.release not in ("", there.release):
        notes.append(f"GRUB's default is {kernel.boot.release}, which a reboot by hand would boot")
    if needed and there and not isinstance(kernel.updates.built, Unknown) and (gone := lacking(kernel)):
        notes.append(gone)
    if kernel.updates.on_trial:
        notes.append(f"{kernel.updates.on_trial} is on trial just now")
    if isinstance(kernel.livepatches, Unknown):
        notes.append(f"whether live patches are loaded is not known: {kernel.livepatches.unknown}")
    elif loaded := [name for name, enabled in kernel.livepatches.items() if enabled]:
        notes.append(f"live patches are loaded ({', '.join(loaded)}): the version alone does not tell what is fixed")
    if kernel.updates.needrestart and ("a reboot" in kernel.updates.needrestart) is not needed:
        notes.append(f"needrestart says: {kernel.updates.needrestart}")
    return notes


def surplus(kernel: KernelReading, keep: int, coming: int) -> list[str]:
    """The releases that are too many when `coming` more arrive: the oldest first, never the running one, the default
    one, the newest, or one that is held."""
    packages = alike(kernel)
    spared = {kernel.release, kernel.boot.release, *_held(kernel), *(package.release for package in packages[-1:])}
    # One that did not pass is nothing to go back to, so it goes before those that may be.
    tried = set(kernel.updates.rejected)
    ordered = sorted(packages, key=lambda package: f"{package.release} {package.version}" not in tried)
    many = len(packages) + coming - keep
    return [package.release for package in ordered if package.release not in spared][: max(0, many)]


def _held(kernel: KernelReading) -> list[str]:
    return [package.release for package in alike(kernel) if package.held]


def old_kernels(survey: Survey, policy: Policy) -> Verdict:
    keep = policy[KernelRules].keep
    if keep is None:
        return not_applicable("the policy does not say how many kernels are kept")
    kernel = survey[Kernel]
    found, held = len(alike(kernel)), _held(kernel)
    extra = surplus(kernel, keep, 0)
    left_alone = f"; held, and left alone: {', '.join(held)}" if held and found > keep else ""
    if extra:
        reason = f"{found} kernels are installed, {keep} are kept: {', '.join(extra)} can go{left_alone}"
        return failed(reason, keep, found, found)
    return passed(f"{found} kernels are installed, {keep} are kept{left_alone}", keep, found, found)
