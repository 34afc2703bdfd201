"""How kernels are updated: old ones are removed, the newest is installed and booted on trial, with a way back."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from deploys.core import templates
from deploys.core.change import Blocked, Change, Command, Context, Obstacle, WriteFile, install_unit, mending
from deploys.core.change import Reboot as HostReboot
from deploys.core.control import Impact, State
from deploys.core.same_text import same_text
from deploys.kernel.rules import KernelRules
from deploys.kernel.updates import ACCEPT_RETRY, alike, lacking, newest, policy_wants, rejected, surplus
from deploys.kernel.window import Window
from facts.containers import Container
from facts.core.reading import Unknown, UnknownReading, known
from facts.core.system import System
from facts.core.versions import compare_versions
from facts.engines import present
from facts.kernel.boot import KERNEL_DEFAULTS
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.packages import Reboot, release_of
from facts.kernel.updates import GATE_SCRIPT, GATE_UNIT, GATE_WANTED, Offer
from facts.networks import connection

ROOM_KB = 8192  # in /boot, besides a fifth more than the running kernel takes
# For two boots, if the new kernel fails its health check, and for stopping and starting the containers.
BOOT_SECONDS = 1200
OURS = UPDATE, RUNNING, OLD = ("kernel.update", "kernel.reboot-needed", "kernel.old-kernels")


def library(*names: str) -> str:
    texts = [templates.text(f"kernel/{name}.sh") for name in ("trial", "checks", "words", *names)]
    return "".join([*texts, templates.text("engines/kept.sh"), connection.FIND])


def plan(context: Context) -> Iterable[Change]:
    """First the way back, then room in /boot, then the new kernel; the reboot is the last step of a run."""
    if not context.failing(*OURS):
        return
    kernel = context.survey[Kernel]
    coming = list(_installation(context))
    installs = any(isinstance(change, Command) for change in coming)
    pending = isinstance(kernel.reboot, Reboot) and kernel.reboot.needed
    why_not = _obstacle(context, installs) if installs or pending else None
    boots = (installs or pending) and not why_not
    if boots:
        yield from mending(context.which(UPDATE, RUNNING), _way_back(kernel))
    yield from mending([OLD], _pruning(context))
    yield from mending([UPDATE], coming)
    if installs:
        yield from mending([OLD], _pruning_after(context))
    if boots:
        yield from mending([*context.which(UPDATE, RUNNING), *_waiting(context)], [_reboot(context)])
    elif why_not and (pending or context.policy[KernelRules].reboot in ("window", "now")):
        what, warns = "reboot the host into its newest installed kernel", _was_rejected(kernel)
        yield why_not.block("kernel", what, warns=warns, controls=(RUNNING,))
    elif context.failing(RUNNING):
        yield from mending([RUNNING], [_default(context)])


def _default(context: Context) -> Change:
    """The newest kernel runs, and GRUB's default is an older one."""
    kernel = context.survey[Kernel]
    what = f"make the running kernel {kernel.release} GRUB's default"
    if context.policy[KernelRules].reboot in (None, "never"):
        why = "the policy does not let hullproof change what boots (kernel.reboot: never): set GRUB's default by hand"
        return Blocked("kernel", what, why=why)
    if why := _no_way_back(kernel):
        return Blocked("kernel", what, why=why)
    return _keep(kernel)


# --- Installation


def _due(context: Context) -> list[Offer]:
    """The offered kernels that the policy wants (kernel.update)."""
    declared = context.policy[KernelRules].update
    return [offer for offer in _offers(context) if offer.newer and policy_wants(offer, declared)]


def _bringing(context: Context) -> set[str]:
    """The releases that the due upgrades install, or finish installing."""
    half = context.survey[Kernel].updates.half
    return {offer.release for offer in _due(context) if not offer.held} | {release_of(name) for name in half}


def _offers(context: Context) -> tuple[Offer, ...]:
    offers = context.survey[Kernel].updates.offers
    return () if isinstance(offers, Unknown) else offers


def _left_alone(context: Context) -> Iterable[Blocked]:
    """Offered kernels that the policy wants and the administrator has held or pinned."""
    declared = context.policy[KernelRules].update
    for offer in _offers(context):
        if offer.held and offer.newer and policy_wants(offer, declared):
            why = f"the package is held: run `apt-mark unhold {offer.package}`, or remove dnf's version lock"
            yield Blocked("kernel", f"upgrade {offer.package} to {offer.candidate}", why=why)
        elif offer.pinned and policy_wants(offer, declared):
            why = "a pin in /etc/apt/preferences or preferences.d prevents it: remove the pin"
            yield Blocked("kernel", f"upgrade {offer.package} to {offer.newest}", why=why)


def _installation(context: Context) -> Iterable[Change]:
    if not context.failing(UPDATE):
        return
    blocked = list(_left_alone(context))
    yield from blocked
    half, security = context.survey[Kernel].updates.half, context.policy[KernelRules].update == "security"
    names = [offer.package for offer in _due(context) if not offer.held]
    if not names and (half or not blocked):
        names = [offer.package for offer in _offers(context) if not offer.held]
    if not names:
        return
    if why := _too_little_room(context):
        yield Blocked("kernel", "install the newest kernel", why=why)
        return
    arguments = ["kernel*"] if names == ["kernel-core"] else names
    script = f"{library('packages')}\nupgrade {int(security)} {' '.join(map(quote, arguments))}\n"
    undo = f"{library()}\nprefer {quote(context.survey[Kernel].release)}\n"
    yield Command("kernel", _words(context, names), script=script, undo=undo)


def _words(context: Context, names: list[str]) -> str:
    half, due = context.survey[Kernel].updates.half, _due(context)
    in_place = f": {_in_place(context)}" if _replaces(context) else ""
    if half:
        return f"finish the installation of {', '.join(half)}, then install the newest kernel on offer{in_place}"
    if due:
        return f"refresh the package lists and install {', '.join(names)} {due[0].candidate}{in_place}"
    return f"refresh the package lists and install a newer {', '.join(names)}, if there is one"


def _replaces(context: Context) -> bool:
    """Whether a due upgrade has the running kernel's release, so that its files replace those of the running kernel."""
    return context.survey[Kernel].release in _bringing(context)


def _in_place(context: Context) -> str:
    kernel = context.survey[Kernel]
    good = [package.release for package in alike(kernel) if not rejected(kernel, package)]
    back = [release for release in good if release != kernel.release][-1:]
    way = f"the only way back is {back[0]}, in GRUB's menu" if back else "there is no other kernel to go back to"
    return (
        f"a newer build of the same release replaces the files of the running kernel {kernel.release}, and runs only "
        f"after a reboot; {way}"
    )


def _too_little_room(context: Context) -> str:
    updates = context.survey[Kernel].updates
    if isinstance(updates.free, Unknown) or isinstance(updates.needed, Unknown):
        return ""  # the host itself looks again before it installs
    need = updates.needed * 6 // 5 + ROOM_KB
    if updates.free >= need or list(_pruning(context)):
        return ""
    return f"/boot has {updates.free // 1024} MB free, and a kernel needs {need // 1024} MB: free some space there"


def _pruning(context: Context) -> Iterable[Change]:
    """Remove the kernels that are too many already, which makes room in /boot."""
    if keep := _kept(context):
        yield from _removal(keep, surplus(context.survey[Kernel], keep, 0), "")


def _pruning_after(context: Context) -> Iterable[Change]:
    """Remove the kernels that are too many once the new one is there: before, one of them may be the only way back."""
    kernel = context.survey[Kernel]
    if keep := _kept(context):
        coming = _bringing(context) - {"", *(package.release for package in alike(kernel))}
        now = surplus(kernel, keep, 0)
        yield from _removal(keep, surplus(kernel, keep, len(coming))[len(now) :], "then ")


def _kept(context: Context) -> int | None:
    """How many kernels stay; None where their number is unknown or the finding is waived."""
    found = context.findings.get("kernel.old-kernels")
    judged = found is not None and found.state in (State.PASS, State.FAIL)
    return context.policy[KernelRules].keep if judged else None


def _removal(keep: int, releases: list[str], when: str) -> Iterable[Change]:
    if releases:
        script = f"{library('packages')}\nprune {keep} {' '.join(map(quote, releases))}\n"
        what = f"{when}remove the old kernels {', '.join(releases)} ({keep} kernels stay)"
        yield Command("kernel", what, script=script, undo="")


def _restore(kernel: KernelReading) -> str:
    """The kernel that ran before becomes the default again."""
    return f"{library()}\nrestore {quote(kernel.release)}\n"


# --- The reboot


def _obstacle(context: Context, installs: bool) -> Obstacle | None:
    """Why this run does not reboot the host; None where it may."""
    if why := _not_now(context):
        return Obstacle(why=why)
    return None if installs else _not_bootable(context)


def _not_now(context: Context) -> str:
    rules, kernel = context.policy[KernelRules], context.survey[Kernel]
    if rules.reboot in (None, "never"):
        return "the policy lets no run reboot the host (kernel.reboot: never): reboot it by hand, or change the policy"
    if rules.reboot == "window" and not _window_end(context):
        return f"it is outside of the maintenance window {rules.window} UTC (kernel.window): run harden again in it"
    if kernel.updates.on_trial:
        return f"{kernel.updates.on_trial} is being booted on trial: run harden again when that has ended"
    if isinstance(running := _containers(context), Unknown):
        return f"it is not known which containers a reboot would stop: {running.unknown}"
    readings = (kernel.boot_id, kernel.updates.built, *kernel.updates.gate.values(), kernel.boot.kernel_defaults)
    if unknown := [reading.unknown for reading in readings if isinstance(reading, Unknown)]:
        return f"hullproof could not read everything that the way back depends on: {unknown[0]}"
    return _no_way_back(kernel) or _replaced(context)


def _containers(context: Context) -> tuple[Container, ...] | Unknown:
    try:
        running = present.running(context.survey)
        return Unknown(why) if (why := present.silent(context.survey)) else running
    except UnknownReading as error:
        return Unknown(str(error))


def _no_way_back(kernel: KernelReading) -> str:
    boot = kernel.boot
    by_hand = "; reboot it by hand, with a console at hand"
    if boot.loader not in ("grub", "bls"):
        return f"only GRUB can boot a kernel a single time, and this host does not boot with GRUB{by_hand}"
    if isinstance(boot.once, Unknown):
        return f"it is not known whether GRUB can boot a kernel a single time: {boot.once.unknown}{by_hand}"
    if boot.once:
        return f"{boot.once}, so it would boot the new kernel again and again{by_hand}"
    if kernel.release not in boot.releases:
        return f"GRUB's menu has no entry for the running kernel {kernel.release} to go back to{by_hand}"
    return ""


def _replaced(context: Context) -> str:
    """The running kernel is the way back, so its files on disk have to be those that were booted."""
    kernel = context.survey[Kernel]
    own = [package.version for package in alike(kernel) if package.release == kernel.release]
    was = kernel.version and any(compare_versions(version, kernel.version) > 0 for version in own)
    if was or _replaces(context):
        return f"{_in_place(context)}: reboot it by hand, with a console at hand"
    return ""


def _not_bootable(context: Context) -> Obstacle | None:
    kernel = context.survey[Kernel]
    there = newest(kernel)
    if there is None or there.release == kernel.release:
        why = "no newer kernel is installed, and something else needs the reboot: reboot the host by hand"
        return Obstacle(why=why)
    if _was_rejected(kernel) and not context.accepts(ACCEPT_RETRY):
        why = f"{there.release} {there.version} failed its boot health check"
        return Obstacle(why=why, accepts=(ACCEPT_RETRY,))
    if gone := lacking(kernel):
        return Obstacle(why=gone, by_hand=f"install its headers and run `dkms autoinstall -k {there.release}`")
    return None


def _was_rejected(kernel: KernelReading) -> bool:
    there = newest(kernel)
    return there is not None and rejected(kernel, there)


def _window_end(context: Context) -> int | None:
    window = context.policy[KernelRules].window
    return Window.parse(window).end(context.survey[System].clock) if window else None


def _keep(kernel: KernelReading) -> Command:
    what = f"make the running kernel {kernel.release} GRUB's default, and have the host reboot into it after a panic"
    return Command("kernel", what, script=f"{library()}\nkeep\n", undo=_restore(kernel))


def _way_back(kernel: KernelReading) -> Iterable[Change]:
    yield _keep(kernel)
    yield from gate_files(kernel)
    if kernel.boot.loader == "bls":
        yield from _new_kernels_are_no_default(kernel)


def gate_files(kernel: KernelReading) -> Iterable[Change]:
    """The boot health check, with which the host itself judges a boot on trial: its script and its service."""
    gate, what = kernel.updates.gate, "install the boot health check for boots on trial"
    script, before = f"{library()}\ngate\n", known(gate.get(GATE_SCRIPT))
    if not same_text(before, script):
        yield WriteFile("kernel", f"{what} ({GATE_SCRIPT})", path=GATE_SCRIPT, text=script, before=before)
    unit, before = templates.text("kernel/hullproof-boot-gate.service"), known(gate.get(GATE_UNIT))
    if not same_text(before, unit) or gate.get(GATE_WANTED) is None:
        yield install_unit("kernel", f"{what} ({GATE_UNIT})", path=GATE_UNIT, text=unit, before=before)


def _new_kernels_are_no_default(kernel: KernelReading) -> Iterable[Change]:
    before = known(kernel.boot.kernel_defaults)
    lines = (before or "").splitlines()
    kept = [line for line in lines if not line.startswith("UPDATEDEFAULT=")]
    if "UPDATEDEFAULT=no" not in lines:
        text = "\n".join([*kept, "UPDATEDEFAULT=no", ""])
        what = f"keep a newly installed kernel from becoming GRUB's default ({KERNEL_DEFAULTS})"
        yield WriteFile("kernel", what, path=KERNEL_DEFAULTS, text=text, before=before, shared="lines")


def _reboot(context: Context) -> HostReboot:
    rules, kernel = context.policy[KernelRules], context.survey[Kernel]
    before, after = (rules.drain.before, rules.drain.after) if rules.drain else (None, None)
    words = [rules.deadline, _window_end(context) or 0, int(context.accepts(ACCEPT_RETRY)), before or "", after or ""]
    return HostReboot(
        "kernel",
        f"boot the newest kernel on trial: the host goes back to {kernel.release} by itself unless the boot health "
        f"check passes within {rules.deadline} s",
        interrupts=f"the host reboots, {_because(context)}{_serves(context)}; {_stopped(context)}",
        script=f"{library('packages')}\nwith_built\narm {' '.join(quote(str(word)) for word in words)}\n",
        undo=_restore(kernel),
        settled=f"{library()}\nsettled {quote(known(kernel.boot_id))}\n",
        seconds=2 * rules.deadline + BOOT_SECONDS,
    )


def _because(context: Context) -> str:
    reboot, due = context.survey[Kernel].reboot, _due(context)
    if isinstance(reboot, Reboot) and reboot.needed:
        return f"because {reboot.why}"
    return f"because this run installs {due[0].candidate}" if due else "if there is a newer kernel"


def _waiting(context: Context) -> list[str]:
    """The controls of other subjects that the reboot mends too."""
    return [id_ for id_, found in context.findings.items() if found.state is State.PENDING_REBOOT and id_ not in OURS]


def _serves(context: Context) -> str:
    """How many other findings a reboot mends, now or when this run has written their settings."""
    waiting = (State.FAIL, State.PENDING_REBOOT)
    found = [each for id_, each in context.findings.items() if id_ not in OURS and each.state in waiting]
    others = [each for each in found if each.control.impact is Impact.REBOOT]
    return f", and for {len(others)} other finding{'s' * (len(others) > 1)}" if others else ""


def _stopped(context: Context) -> str:
    running = _containers(context)
    if isinstance(running, Unknown) or not running:
        return "no container is running"
    again = sorted(each.shown for each in running if _started_again(each))
    others = sorted(each.shown for each in running if not _started_again(each))
    said = [f"these containers stop and start again: {', '.join(again)}"] if again else []
    if others:
        said.append(f"these stop, and start again only if their engine or a unit starts them: {', '.join(others)}")
    return "; ".join(said)


def _started_again(container: Container) -> bool:
    """The boot health check starts what ran before again in the host's own Docker, and in no other engine."""
    return (container.engine, container.user) == ("docker", 0)
