"""Kernel updates, judged: whether the newest kernel is installed and booted, and how many old ones are there."""

from __future__ import annotations

from deploys.core.control import State, Verdict, failed, name_key, not_applicable, passed
from deploys.core.policy import Policy
from deploys.kernel.rules import KernelRules
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.core.system import System
from facts.core.versions import version_key
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.packages import Package, flavour
from facts.kernel.updates import NeedRestart, Offer, Trial

STALE_DAYS = 7  # older package lists do not tell which kernels are on offer
ACCEPT_RETRY = "kernel-retry"  # accepts that a kernel which failed its boot health check is booted on trial once more


def alike(kernel: KernelReading) -> tuple[Package, ...]:
    """The installed kernels of the running one's flavour, oldest first."""
    return tuple(p for p in known(kernel.packages) if flavour(p.release) == flavour(kernel.release))


def newest(kernel: KernelReading) -> Package | None:
    found = alike(kernel)
    return found[-1] if found else None


def policy_wants(offer: Offer, declared: str | None) -> bool:
    """Whether the policy wants a newer kernel than the installed one: any, or one with security fixes."""
    return declared == "all" or (declared == "security" and offer.security)


def update(survey: Survey, policy: Policy) -> Verdict:
    declared = policy[KernelRules].update
    if declared in (None, "none"):
        return not_applicable("the policy does not ask for kernel updates (kernel.update)")
    wants = "all security fixes" if declared == "security" else "the newest kernel"
    return name_key(_update(survey, declared), "kernel.update", wants)


def _update(survey: Survey, declared: str | None) -> Verdict:
    updates = survey[Kernel].updates
    offers = known(updates.offers)
    there = newest(survey[Kernel])
    disk = there.version if there else None
    live = max((offer.newest for offer in offers), key=version_key, default=None)
    if updates.half:
        return failed(
            f"the installation of {', '.join(updates.half)} was interrupted", declared=declared, disk=disk, live=live
        )
    if not offers:
        reason = "no installed package brings kernels of the running one's flavour"
        return Verdict(State.UNKNOWN, reason, declared=declared, disk=disk, live=live)
    if not any(offer.sourced for offer in offers):
        reason = f"no package source of this host has {offers[0].package}, or its lists are missing: no fix arrives"
        return failed(reason, declared=declared, disk=disk, live=live)
    if due := [offer for offer in offers if offer.newer and policy_wants(offer, declared)]:
        held = [offer.package for offer in due if offer.held]
        what = f"{due[0].candidate} is on offer{' as a security fix' if due[0].security else ''}, {disk} is installed"
        if held:
            what += f"; {', '.join(held)} is held, so harden does not upgrade it"
        return failed(what, declared=declared, disk=disk, live=live)
    if pinned := [offer for offer in offers if offer.pinned and policy_wants(offer, declared)]:
        reason = f"{pinned[0].newest} is on offer, but a pin keeps {pinned[0].package} from being upgraded to it"
        return failed(reason, declared=declared, disk=disk, live=live)
    if updates.unrefreshed:  # some of the lists may have been refreshed, but not the one that counts
        return failed(
            f"the package lists could not be refreshed on {updates.unrefreshed}",
            declared=declared,
            disk=disk,
            live=live,
        )
    age = (survey[System].clock - known(updates.lists)) // 86400
    if age >= STALE_DAYS:
        reason = f"the package lists are {age} days old and do not tell which kernels are on offer now"
        return failed(reason, declared=declared, disk=disk, live=live)
    return passed(f"{disk} is the newest kernel that {_source(declared)}", declared=declared, disk=disk, live=live)


def _source(declared: str | None) -> str:
    return "the security archive offers" if declared == "security" else "the package lists offer"


def failed_trial(kernel: KernelReading) -> Trial | None:
    """The last trial, where the newest installed kernel failed it."""
    last, there = kernel.updates.last, newest(kernel)
    if last and there and last.result == "returned" and kernel.release != there.release:
        return last if (last.release, last.version) == (there.release, there.version) else None
    return None


def rejected(kernel: KernelReading, package: Package) -> bool:
    return f"{package.release} {package.version}" in kernel.updates.rejected


def lacking(kernel: KernelReading) -> str:
    """Which modules DKMS has built for the running kernel and not for the newest one, as a clause; "" for none."""
    there, built = newest(kernel), known(kernel.updates.built)
    new = built.get(there.release, ()) if there else ()
    names = [name for name in built.get(kernel.release, ()) if name not in new]
    if not there or not names:
        return ""
    return f"{there.release} lacks the modules that DKMS built for {kernel.release}: {', '.join(names)}"


def running(survey: Survey, policy: Policy) -> Verdict:
    """Pending where a reboot would bring the newest installed kernel; failed where it would not."""
    if policy[KernelRules].running is None:
        return not_applicable("the policy does not demand the newest installed kernel (kernel.running)")
    return name_key(_running(survey[Kernel]), "kernel.running", "the newest installed kernel")


def _running(kernel: KernelReading) -> Verdict:
    reboot = known(kernel.reboot)
    there = newest(kernel) if not isinstance(kernel.packages, Unknown) else None
    disk = f"{there.release} {there.version}" if there else None
    live = f"{kernel.release} {kernel.version}".strip()
    notes = "".join(f"; {note}" for note in _notes(kernel, reboot.needed))
    if trial := failed_trial(kernel):
        reason = (
            f"{trial.release} {trial.version} failed its boot health check on {trial.time[:10]} ({trial.gate}: "
            f"{trial.why}), and the host went back to {kernel.release} by itself"
        )
        return failed(reason + notes, declared="newest-installed", disk=disk, live=live)
    if reboot.needed:
        return Verdict(State.PENDING_REBOOT, reboot.why + notes, declared="newest-installed", disk=disk, live=live)
    if there and kernel.boot.release and kernel.boot.release != there.release:
        reason = f"{there.release} is running, but the next boot takes {kernel.boot.release}, GRUB's default"
        return failed(reason + notes, declared="newest-installed", disk=kernel.boot.release, live=live)
    return passed(reboot.why + notes, declared="newest-installed", disk=disk, live=live)


def _notes(kernel: KernelReading, needed: bool) -> list[str]:
    notes, there = [], newest(kernel) if not isinstance(kernel.packages, Unknown) else None
    if needed and there and kernel.boot.release not in ("", there.release):
        notes.append(f"GRUB's default is {kernel.boot.release}, so a reboot by hand boots that")
    if needed and there and not isinstance(kernel.updates.built, Unknown) and (gone := lacking(kernel)):
        notes.append(gone)
    if kernel.updates.on_trial:
        notes.append(f"{kernel.updates.on_trial} is being booted on trial")
    if isinstance(kernel.livepatches, Unknown):
        notes.append(f"it is not known whether live patches are loaded: {kernel.livepatches.unknown}")
    elif loaded := [name for name, enabled in kernel.livepatches.items() if enabled]:
        notes.append(f"live patches are loaded ({', '.join(loaded)}), so the version does not tell what is fixed")
    opinion = kernel.updates.needrestart
    if opinion is not NeedRestart.SILENT and opinion.wants_reboot is not needed:
        notes.append(f"needrestart says: {opinion}")
    return notes


def surplus(kernel: KernelReading, keep: int, coming: int) -> list[str]:
    """The releases that are too many when `coming` more are installed: the oldest first, and never the running one,
    GRUB's default, the newest, or one that is held."""
    packages = alike(kernel)
    spared = {kernel.release, kernel.boot.release, *_held(kernel), *(package.release for package in packages[-1:])}
    # A kernel that failed its trial is no way back, so it is removed before those that are.
    tried = set(kernel.updates.rejected)
    ordered = sorted(packages, key=lambda package: f"{package.release} {package.version}" not in tried)
    many = len(packages) + coming - keep
    return [package.release for package in ordered if package.release not in spared][: max(0, many)]


def _held(kernel: KernelReading) -> list[str]:
    return [package.release for package in alike(kernel) if package.held]


def old_kernels(survey: Survey, policy: Policy) -> Verdict:
    keep = policy[KernelRules].keep
    if keep is None:
        return not_applicable("the policy does not limit the number of kernels (kernel.keep)")
    kernel = survey[Kernel]
    found, held = len(alike(kernel)), _held(kernel)
    extra = surplus(kernel, keep, 0)
    held_back = f"; {', '.join(held)} is held, so harden does not remove it" if held and found > keep else ""
    if extra:
        reason = f"{found} kernels are installed, the policy keeps {keep} (kernel.keep): {', '.join(extra)} can go"
        return failed(reason + held_back, declared=keep, disk=found, live=found)
    installed = f"{found} kernel{' is' if found == 1 else 's are'} installed, the policy keeps {keep}"
    return passed(installed + held_back, declared=keep, disk=found, live=found)
