"""Boot parameters that may keep a kernel from booting: the next boot has them once, and they last if it was well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from deploys.core.change import ACCEPT_RETRY, Blocked, Change, Command, Context
from deploys.core.control import State, Verdict, failed, some
from deploys.kernel.boot_parameters import BY_NAME, BootRow, given, is_missing, name_of, runs, untried
from deploys.kernel.rollout import gate_files, library
from deploys.kernel.rules import KernelRules
from facts.core.reading import Unknown, known
from facts.kernel.kernel import Kernel, KernelReading
from facts.kernel.modules import Root

KEYS = "sign them with a key that this host accepts (mokutil --import enrols one; DKMS's own is /var/lib/dkms/mok.pub)"
AFTER = (
    "GRUB boots one entry once, and that is the new kernel's: it goes after the new kernel: run harden again after it"
)


def is_risky(word: str) -> bool:
    return BY_NAME[name_of(word)].risky


def on_trial(kernel: KernelReading, row: BootRow, declared: str, live: str | None) -> Verdict | None:
    """What is to be said of a parameter that does not last: that it is on trial, or has not passed; else None."""
    words, runs_it = kernel.words, row.holds(live, declared)
    if row.holds(given(words.on_trial, row.name), declared):
        if words.armed_in != known(kernel.boot_id):
            return _being_tried(declared, live, runs_it)
        if row.holds(given(kernel.boot.once_words, row.name), declared):
            reason = f"the next boot has {declared} once, on trial: it is kept if the host finds that boot well"
            return Verdict(State.PENDING_REBOOT, reason, declared, f"{declared}, once", live)
    if why := _not_passed(kernel, declared):
        until = f"{declared} is in force until the next boot, and does not last: it" if runs_it else declared
        return failed(f"{until} {why}", declared, None, live)
    return None


def _being_tried(declared: str, live: str | None, runs_it: bool) -> Verdict:
    if runs_it:
        reason = f"{declared} is in force on trial: the host is checking this boot, and keeps it if all is well"
        return Verdict(State.UNKNOWN, reason, declared, None, live)
    reason = f"{declared} was to be tried at this boot, and the kernel runs without it; the host has not said why yet"
    return failed(f"{reason} (systemctl status hullproof-boot-gate)", declared, None, live)


def _not_passed(kernel: KernelReading, word: str) -> str:
    last = kernel.words.last
    if last is None or last.result == "kept" or name_of(word) not in map(name_of, last.words):
        return ""
    return f"was tried on {last.time[:10]} and not kept ({last.gate}: {last.why})"


def _proved(kernel: KernelReading, word: str) -> bool:
    """Whether the host has booted with it and nothing has spoken against that."""
    last = kernel.words.last
    refused = last is not None and last.boot == kernel.boot_id and _not_passed(kernel, word)
    return runs(kernel, word) and not refused and not kernel.words.on_trial


def plan(context: Context, wanted: Sequence[str], boots: bool = False) -> Iterable[Change]:
    """What is done for risky words that do not hold. `boots`: this run boots a new kernel on trial."""
    kernel = context.survey[Kernel]
    if isinstance(kernel.boot.configured, Unknown) or kernel.boot.loader not in ("grub", "bls"):
        return
    words = [word for word in wanted if is_missing(kernel, word) or word in untried(kernel)]
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
    """With Boot Loader entries either is an entry that GRUB boots once, and GRUB has room for one."""
    if [word for word in words if _waits(kernel, word)]:
        yield _not_after_all(words)
    yield Blocked("kernel", f"try {' '.join(words)} at the next boot", why=AFTER)


def _not_after_all(words: Sequence[str]) -> Command:
    what = f"do not try {' '.join(words)} at the next boot after all"
    return Command("kernel", what, script=_forget(words), undo="")


def _refusing(kernel: KernelReading, words: Sequence[str]) -> str:
    """Why the kernel would then refuse what this host needs; "" where it would not."""
    unsigned, root = kernel.found.unsigned, kernel.found.root
    out = f"or take {' '.join(words)} out of the policy's kernel.boot_parameters"
    if isinstance(unsigned, Unknown):
        return f"which loaded modules are signed is not known ({unsigned.unknown}), and the kernel would refuse others"
    if not unsigned:
        return ""
    needed = [] if isinstance(root, Unknown) else [name for name in unsigned if name in root.modules]
    stands = f"; the root file system, {root.kind}, needs {some(needed)}" if isinstance(root, Root) and needed else ""
    ours = [name for name in _built(kernel) if name in unsigned]
    made = f"; DKMS built {some(ours)}" if ours else ""
    return (
        f"the kernel would refuse modules that it runs with now, since they have no signature that it accepts: "
        f"{some(unsigned)}{stands}{made}. To go on, {KEYS}, {out}"
    )


def _built(kernel: KernelReading) -> list[str]:
    """The names, as the kernel has them, of the modules that DKMS has built for it."""
    built = kernel.updates.built
    return [] if isinstance(built, Unknown) else [name.replace("-", "_") for name in built.get(kernel.release, ())]


def _keep(words: Sequence[str]) -> Command:
    listed = " ".join(words)
    return Command("kernel", f"have each boot have {listed}, with which the host runs now (but recovery entries)",
                   script=f"{library()}\nkeep_words {_quoted(words)}\n", undo=_forget(words))  # fmt: skip


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
    if why := _obstacle(kernel, listed) or _retried(context, words):
        yield Blocked("kernel", what, why=why)
        return
    back = rules.reboot in ("window", "now")
    after = "the host reboots by itself, without" if back else "the boot after it is without"
    yield from gate_files(kernel)
    yield Command(
        "kernel",
        f"{what}: GRUB gives it to the kernel once, and it is kept if the host finds that boot well within "
        f"{rules.deadline} s; if not, {after}. To go back from a boot that hangs, reset the host",
        interrupts=_unloaded(kernel) if any(BY_NAME[name_of(word)].signed for word in words) else "",
        script=f"{library()}\ntry_words {rules.deadline} {int(back)} {_quoted(words)}\n",
        undo=_forget(words),
    )


def _waits(kernel: KernelReading, word: str) -> bool:
    row, words = BY_NAME[name_of(word)], kernel.words
    once = row.holds(given(kernel.boot.once_words, row.name), word)
    return once and words.armed_in == kernel.boot_id and row.holds(given(words.on_trial, row.name), word)


def _retried(context: Context, words: Sequence[str]) -> str:
    found = [f"{word} {why}" for word in words if (why := _not_passed(context.survey[Kernel], word))]
    return (
        f"{'; '.join(found)}; to try it once more, accept={ACCEPT_RETRY}"
        if found and not context.accepts(ACCEPT_RETRY)
        else ""
    )


def _obstacle(kernel: KernelReading, listed: str) -> str:
    """Why the host cannot try them by itself, and how somebody can; "" where it can."""
    boot = kernel.boot
    readings = [boot.once, kernel.boot_id, *kernel.updates.gate.values()]
    if unknown := [reading.unknown for reading in readings if isinstance(reading, Unknown)]:
        why = f"not everything that a way back needs could be read: {unknown[0]}"
    elif boot.once:
        why = f"{boot.once}, so that nothing would take them off again if the host did not boot with them"
    elif kernel.release not in boot.releases:
        why = f"GRUB's menu has no entry for the running {kernel.release}"
    else:
        return ""
    return (
        f"{why}. Boot with them once by hand: at GRUB's menu press e, add {listed} to the line that begins with linux, "
        "and press Ctrl-x. If all is well, harden again: what the host runs with is kept"
    )


def _unloaded(kernel: KernelReading) -> str:
    """What DKMS built and is not loaded: whether it is signed cannot be seen."""
    loaded = () if isinstance(kernel.modules, Unknown) else kernel.modules
    names = [name for name in _built(kernel) if name not in loaded]
    return f"loads {some(names)}, which DKMS built, only if it is signed with an accepted key" if names else ""
