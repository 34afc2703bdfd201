"""Boot parameters that may keep a kernel from booting: the next boot has them on trial, and they become permanent if
the host passes its boot health check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from deploys.core.change import ACCEPT_RETRY, Blocked, Change, Command, Context, Obstacle
from deploys.core.control import State, Verdict, failed, some
from deploys.kernel.boot_parameters import BY_NAME, BootRow, by_hand_entry, given, is_missing, name_of, runs, untried
from deploys.kernel.rollout import gate_files, library
from deploys.kernel.rules import KernelRules
from facts.core.reading import Unknown, known
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.modules import Root

KEYS = "sign them with a key that this host accepts (mokutil --import enrols one; DKMS's own is /var/lib/dkms/mok.pub)"
AFTER = "GRUB can boot only one entry on trial, and the new kernel comes first: run harden again after that reboot"


def is_risky(word: str) -> bool:
    return BY_NAME[name_of(word)].risky


def on_trial(kernel: KernelReading, row: BootRow, declared: str, live: str | None) -> Verdict | None:
    """The verdict on a parameter that is not permanent: it is on trial, or has failed its trial; else None."""
    words, runs_it = kernel.words, row.holds(live, declared)
    if row.holds(given(words.on_trial, row.name), declared):
        if words.armed_in != known(kernel.boot_id):
            return _being_tried(declared, live, runs_it)
        if row.holds(given(kernel.boot.once_words, row.name), declared):
            reason = f"the next boot has {declared} on trial; it stays if the host passes its boot health check"
            return Verdict(State.PENDING_REBOOT, reason, declared=declared, disk=f"{declared}, once", live=live)
    if why := _not_passed(kernel, declared):
        until = f"{declared} is in force only until the next boot: it" if runs_it else declared
        return failed(f"{until} {why}", declared=declared, disk=None, live=live)
    return None


def _being_tried(declared: str, live: str | None, runs_it: bool) -> Verdict:
    if runs_it:
        reason = f"{declared} is on trial: the boot health check still runs, and keeps it if it passes"
        return Verdict(State.UNKNOWN, reason, declared=declared, disk=None, live=live)
    reason = f"{declared} was on trial for this boot, but the kernel runs without it; the host has not recorded why yet"
    return failed(f"{reason} (see: systemctl status hullproof-boot-gate)", declared=declared, disk=None, live=live)


def _not_passed(kernel: KernelReading, word: str) -> str:
    last = kernel.words.last
    if last is None or last.result == "kept" or name_of(word) not in map(name_of, last.words):
        return ""
    return f"failed its trial on {last.time[:10]} ({last.gate}: {last.why})"


def _proved(kernel: KernelReading, word: str) -> bool:
    """Whether the host has booted with it and its boot health check has not rejected it."""
    last = kernel.words.last
    refused = last is not None and last.boot == kernel.boot_id and _not_passed(kernel, word)
    return runs(kernel, word) and not refused and not kernel.words.on_trial


def plan(context: Context, wanted: Sequence[str], boots: bool = False) -> Iterable[Change]:
    """The changes for risky parameters that do not hold. `boots`: this run boots a new kernel on trial."""
    kernel = context.survey[Kernel]
    if isinstance(kernel.boot.configured, Unknown) or kernel.boot.loader not in ("grub", "bls"):
        return
    words = [word for word in wanted if is_missing(kernel, word) or word in untried(kernel)]
    if words and kernel.boot.entry_file:
        yield by_hand_entry("kernel", f"boot with {' '.join(words)}", kernel.boot)
        return
    refused = [word for word in words if BY_NAME[name_of(word)].signed]
    if refused and (why := _refusing(kernel, refused)):
        if [word for word in refused if _waits(kernel, word)]:
            yield _not_after_all(refused)
        yield Blocked("kernel", f"boot with {' '.join(refused)}", why=why)
        words = [word for word in words if word not in refused]
    if proved := [word for word in words if _proved(kernel, word)]:
        yield _keep(proved)
    left = [word for word in words if word not in proved]
    if left and kernel.boot.loader == "bls" and (boots or kernel.updates.on_trial):
        yield from _after_the_kernel(kernel, left)
    elif left:
        yield from _trial(context, left)


def _after_the_kernel(kernel: KernelReading, words: Sequence[str]) -> Iterable[Change]:
    """With Boot Loader entries, a kernel and parameters on trial each need an entry of their own, and GRUB can boot
    only one entry a single time."""
    if [word for word in words if _waits(kernel, word)]:
        yield _not_after_all(words)
    yield Blocked("kernel", f"try {' '.join(words)} at the next boot", why=AFTER)


def _not_after_all(words: Sequence[str]) -> Command:
    what = f"cancel the trial of {' '.join(words)} at the next boot"
    return Command("kernel", what, script=_forget(words), undo="")


def _refusing(kernel: KernelReading, words: Sequence[str]) -> str:
    """Why the kernel would then reject modules that this host needs; "" where it would not."""
    unsigned, root = kernel.found.unsigned, kernel.found.root
    out = f"remove {' '.join(words)} from the policy (kernel.boot_parameters)"
    if isinstance(unsigned, Unknown):
        return (
            f"it is not known which loaded modules are signed ({unsigned.unknown}), and the kernel would reject those "
            f"that are not. To avoid that, {out}"
        )
    if not unsigned:
        return ""
    needed = [] if isinstance(root, Unknown) else [name for name in unsigned if name in root.modules]
    on_root = f"; the root file system ({root.kind}) needs {some(needed)}" if isinstance(root, Root) and needed else ""
    ours = [name for name in _built(kernel) if name in unsigned]
    made = f"; DKMS built {some(ours)}" if ours else ""
    return (
        f"these modules are loaded now and have no signature that the kernel accepts, so it would reject them: "
        f"{some(unsigned)}{on_root}{made}. To go on, {KEYS}, or {out}"
    )


def _built(kernel: KernelReading) -> list[str]:
    """The names, as the kernel has them, of the modules that DKMS has built for it."""
    built = kernel.updates.built
    return [] if isinstance(built, Unknown) else [name.replace("-", "_") for name in built.get(kernel.release, ())]


def _keep(words: Sequence[str]) -> Command:
    listed = " ".join(words)
    what = f"make {listed} permanent for every boot except recovery entries (the host has booted with it)"
    return Command("kernel", what, script=f"{library()}\nkeep_words {_quoted(words)}\n", undo=_forget(words))


def _forget(words: Sequence[str]) -> str:
    return f"{library()}\nforget_words {_quoted(words)}\n"


def _quoted(words: Sequence[str]) -> str:
    return " ".join(map(quote, words))


def _trial(context: Context, words: Sequence[str]) -> Iterable[Change]:
    kernel, rules = context.survey[Kernel], context.policy[KernelRules]
    if all(_waits(kernel, word) for word in words):
        return
    listed = " ".join(words)
    what = f"try {listed} at the next boot"
    if obstacle := _obstacle(kernel, listed) or _retried(context, words):
        yield obstacle.block("kernel", what)
        return
    back = rules.reboot in ("window", "now")
    after = "the host reboots without it by itself" if back else "the boot after it is without it again"
    yield from gate_files(kernel)
    yield Command(
        "kernel",
        f"{what}: GRUB gives it to that boot only, and it becomes permanent if the boot health check passes within "
        f"{rules.deadline} s; if not, {after}. If that boot hangs, reset the host",
        interrupts=_unloaded(kernel) if any(BY_NAME[name_of(word)].signed for word in words) else "",
        script=f"{library()}\ntry_words {rules.deadline} {int(back)} {_quoted(words)}\n",
        undo=_forget(words),
    )


def _waits(kernel: KernelReading, word: str) -> bool:
    row, words = BY_NAME[name_of(word)], kernel.words
    once = row.holds(given(kernel.boot.once_words, row.name), word)
    return once and words.armed_in == kernel.boot_id and row.holds(given(words.on_trial, row.name), word)


def _retried(context: Context, words: Sequence[str]) -> Obstacle | None:
    found = [f"{word} {why}" for word in words if (why := _not_passed(context.survey[Kernel], word))]
    if not found or context.accepts(ACCEPT_RETRY):
        return None
    return Obstacle(why="; ".join(found), accepts=(ACCEPT_RETRY,))


def _obstacle(kernel: KernelReading, listed: str) -> Obstacle | None:
    """Why the host cannot try them by itself, and how the operator can; None where it can."""
    boot = kernel.boot
    readings = [boot.once, kernel.boot_id, *kernel.updates.gate.values()]
    if unknown := [reading.unknown for reading in readings if isinstance(reading, Unknown)]:
        why = f"hullproof could not read everything that the way back depends on: {unknown[0]}"
    elif boot.once:
        why = f"{boot.once}, so nothing would remove them if the host did not boot with them"
    elif kernel.release not in boot.releases:
        why = f"GRUB's menu has no entry for the running kernel {kernel.release}"
    else:
        return None
    by_hand = (
        f"boot with them once by hand: at GRUB's menu press e, add {listed} to the line that begins with linux, and "
        "press Ctrl-x. If the host then works, run harden again: it makes them permanent"
    )
    return Obstacle(why=why, by_hand=by_hand)


def _unloaded(kernel: KernelReading) -> str:
    """Modules that DKMS built and that are not loaded: the kernel does not tell whether those are signed."""
    loaded = () if isinstance(kernel.modules, Unknown) else kernel.modules
    names = [name for name in _built(kernel) if name not in loaded]
    return f"{some(names)}, built by DKMS, if it is not signed with a key that the kernel accepts" if names else ""
