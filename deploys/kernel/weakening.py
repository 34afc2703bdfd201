"""Boot parameters that switch off what protects the kernel, whoever gave them, now and at the next boot."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from deploys.core.control import State, Verdict, failed, passed
from deploys.core.policy import Policy
from deploys.kernel.boot_parameters import name_of, next_words
from deploys.kernel.rules import KernelRules
from facts.core.reading import known
from facts.core.survey import Survey
from facts.core.units import PROGRAMS
from facts.kernel.boot import Boot
from facts.kernel.kernel import Kernel

OFF = frozenset({"off", "0", "n", "no", "false"})

# Words that weaken wherever they are on the line (Documentation/admin-guide/kernel-parameters).
_BARE = """
nokaslr nosmap nosmep nopti nospectre_v1 nospectre_v2 nospectre_bhb nospec_store_bypass_disable norandmaps noexec32
slub_merge slab_merge arm64.nobti arm64.nopauth arm64.nomte
"""
BARE = frozenset(_BARE.split())

# Parameters of which the last one counts, and the values with which it weakens. Those that choose between AppArmor and
# SELinux (apparmor=, selinux=, security=, lsm=) are judged by the subjects of these.
_SWITCHES = """
mitigations pti kpti spectre_v2 spectre_v2_user spectre_bhi spec_store_bypass_disable l1tf mds tsx_async_abort
mmio_stale_data retbleed srbds gather_data_sampling spec_rstack_overflow reg_file_data_sampling
indirect_target_selection tsa vmscape kvm.nx_huge_pages rodata noexec hardened_usercopy randomize_kstack_offset
init_on_alloc module.sig_enforce apparmor.enabled audit cfi ibt stack_guard_gap
"""
VALUES = {
    **dict.fromkeys(_SWITCHES.split(), OFF),
    "ssbd": frozenset({"force_off", "force-off"}),
    "kvm.nx_huge_pages": OFF | {"never"},
    "vsyscall": frozenset({"emulate", "native"}),
    "apparmor.mode": frozenset({"complain"}),
}
FEATURES = frozenset({"smap", "smep", "umip", "pti", "nx", "ibt", "user_shstk"})  # clearcpuid= takes these away


def weakening(words: Sequence[str]) -> Iterator[str]:
    """Those words of a command line that switch a protection off."""
    last = {name_of(word): word for word in words}
    for word in dict.fromkeys(words):
        name, value = name_of(word), word.partition("=")[2].strip('"')
        counts = name in BARE or (last[name] == word and value.lower() in VALUES.get(name, ()))
        cleared = name == "clearcpuid" and bool(FEATURES & set(value.split(",")))
        masked = name in ("systemd.mask", "rd.systemd.mask") and value in PROGRAMS
        if counts or cleared or masked:
            yield word


def check(survey: Survey, policy: Policy) -> Verdict:
    accepted = policy[KernelRules].weakening_parameters or []
    kernel = survey[Kernel]
    live = _beyond(known(kernel.cmdline), accepted)
    disk = _beyond(next_words(kernel), accepted)
    later = _later(kernel.boot, accepted)
    if not live and not disk and not later:
        reason = "no word on the command line switches a protection off, now and at the next boot"
        return passed(reason, declared=accepted, disk=disk, live=live)
    coming = disk or [word for words in later.values() for word in words]
    found = " ".join(dict.fromkeys([*coming, *live]))
    if disk:
        when = "now and after the next boot" if live else "from the next boot on"
        reason = f"{found} switches protections off {when}{_where(kernel.boot, later)}"
        return failed(reason, declared=accepted, disk=coming, live=live)
    if later:
        reason = f"{found} switches protections off as soon as the boot menu is made again{_where(kernel.boot, later)}"
        return failed(reason, declared=accepted, disk=coming, live=live)
    reason = f"{found} switches protections off until the next boot, which does not have it any more"
    return Verdict(State.PENDING_REBOOT, reason, declared=accepted, disk=coming, live=live)


def _beyond(words: Sequence[str], accepted: Sequence[str]) -> list[str]:
    return [word for word in weakening(words) if word not in accepted]


def _later(boot: Boot, accepted: Sequence[str]) -> dict[str, list[str]]:
    """By file, the words that update-grub will put on the command line of every entry."""
    given = {path: _words(text) for path, text in boot.defaults.items() if isinstance(text, str)}
    weak = _beyond([word for words in given.values() for word in words], accepted)
    return {path: found for path, words in given.items() if (found := [word for word in weak if word in words])}


def _words(text: str) -> list[str]:
    """What a file of /etc/default/grub puts on the command line."""
    found: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("GRUB_CMDLINE_LINUX"):
            try:
                values = shlex.split(line.partition("=")[2], comments=True)
            except ValueError:
                values = [line.partition("=")[2]]
            found += [word for value in values for word in value.split()]
    return found


def _where(boot: Boot, later: Iterable[str]) -> str:
    files = [*([boot.entry_file] if boot.entry_file else []), *later]
    return f" ({' and '.join(files)})" if files else ""
