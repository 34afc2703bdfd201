"""Boot parameters that a policy may name, and how they get on the next boot's command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote

from deploys.core.change import Activate, Blocked, Change, Command, Context, WriteFile
from deploys.core.control import Severity
from deploys.kernel.grub import MENU, drop_in
from facts.core.reading import Unknown, known
from facts.kernel.boot import DROP_INS, Boot
from facts.kernel.kernel import Kernel, KernelReading

HIGH, MEDIUM, LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW
DROP_IN = f"{DROP_INS}99-hullproof.cfg"


@dataclass(frozen=True)
class BootRow:
    """`values`: what a policy may give it, the strictest last; "" for a bare word. `built_in`: the kernel
    configuration that makes the first value the default. `needs`: the one without which the parameter is ignored.
    `risky`: it may keep a kernel from booting, so it lasts only once the host was found well with it. `signed`: with it
    the kernel refuses modules without a signature that it accepts."""

    name: str
    values: tuple[str, ...]
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    built_in: tuple[str, str] | None = None
    needs: str = ""
    risky: bool = False
    signed: bool = False

    def __post_init__(self) -> None:
        if not (self.name and self.values and self.title.strip() and self.why.strip() and self.references):
            raise ValueError(f"boot parameter row {self.name!r}: name, values, title, why and references are needed")

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={value}" if value else self.name for value in self.values)

    def holds(self, word: str | None, declared: str) -> bool:
        """Whether `word` is what is declared, or stricter."""
        return word in self.words and self.words.index(word or "") >= self.words.index(declared)


ROWS: tuple[BootRow, ...] = (
    BootRow("slab_nomerge", ("",), "Kernel objects of different kinds are kept apart", MEDIUM,
            "An overflow in one kind of object must not reach another.", ("KSPP",), ("SLAB_MERGE_DEFAULT", "n")),
    BootRow("init_on_alloc", ("1",), "Kernel memory is cleared when given out", MEDIUM,
            "What a kernel bug shows of fresh memory must be nothing.", ("KSPP",), ("INIT_ON_ALLOC_DEFAULT_ON", "y")),
    BootRow("init_on_free", ("1",), "Kernel memory is cleared when given back", LOW,
            "Secrets must not outlive their use; costs a few per cent.", ("KSPP", "STIG-RHEL9-212045"),
            ("INIT_ON_FREE_DEFAULT_ON", "y")),
    BootRow("page_alloc.shuffle", ("1",), "Free memory is handed out in random order", LOW,
            "An exploit must not know which page comes next.", ("KSPP",), needs="SHUFFLE_PAGE_ALLOCATOR"),
    BootRow("randomize_kstack_offset", ("on",), "The kernel stack starts at a random place per call", MEDIUM,
            "An exploit must not know where things lie on the stack.", ("KSPP",),
            ("RANDOMIZE_KSTACK_OFFSET_DEFAULT", "y"), needs="RANDOMIZE_KSTACK_OFFSET"),
    BootRow("vsyscall", ("none",), "The old fixed page of system calls is gone", MEDIUM,
            "Code at a fixed address serves exploits; images with a C library from before 2011 need it.",
            ("KSPP", "STIG-RHEL9-212035"), ("LEGACY_VSYSCALL_NONE", "y")),
    BootRow("pti", ("on",), "Kernel memory is not mapped for programs", MEDIUM,
            "Programs must not read the kernel through the processor's speculation.", ("KSPP", "STIG-RHEL9-212050")),
    BootRow("page_poison", ("1",), "Freed pages are overwritten", LOW,
            "What is used after it was freed must be seen.", ("STIG-RHEL9-212040",)),
    BootRow("lockdown", ("integrity", "confidentiality"), "Not even root alters the running kernel", HIGH,
            "Root, also one escaped from a container, must not load unsigned code or write kernel memory.",
            ("KSPP",), needs="SECURITY_LOCKDOWN_LSM", risky=True, signed=True),
    BootRow("module.sig_enforce", ("1",), "Only signed modules are loaded", HIGH,
            "A module is the kernel; modules built on the host need a key of their own.", ("KSPP",),
            ("MODULE_SIG_FORCE", "y"), needs="MODULE_SIG", risky=True, signed=True),
    BootRow("debugfs", ("no-mount", "off"), "The kernel's debugging files are off", LOW,
            "They were never meant to be safe; some tracing tools need them.", ("KSPP",)),
    BootRow("iommu", ("force",), "Devices reach only the memory given to them", MEDIUM,
            "A device must not read or write all of memory; needs hardware for it.", ("KSPP",), risky=True),
    BootRow("mitigations", ("auto", "auto,nosmt"), "The processor's known flaws are mitigated", HIGH,
            "Containers of different owners share processors.", ("KSPP",)),
)  # fmt: skip

BY_NAME = {row.name: row for row in ROWS}
WORDS = tuple(word for row in ROWS for word in row.words)


def name_of(word: str) -> str:
    """A parameter's name; the kernel takes - and _ for the same."""
    return word.partition("=")[0].replace("-", "_")


def given(words: Sequence[str], name: str) -> str | None:
    """The word that counts for `name` on a command line: the last one. None where it is not given."""
    found = [word for word in words if name_of(word) == name]
    return found[-1] if found else None


def next_words(kernel: KernelReading) -> Sequence[str]:
    """The next boot's command line; the live one where the host's command line comes from outside of it."""
    return known(kernel.cmdline if kernel.boot.loader == "none" else kernel.boot.configured)


def effective(kernel: KernelReading, row: BootRow, words: Sequence[str]) -> str | None:
    """What the kernel makes of a command line: the word given, else what it was built to do by default."""
    word = given(words, row.name)
    if word is None and row.built_in:
        option, value = row.built_in
        return row.words[0] if known(kernel.config).get(option) == value else None
    return word


def plan(context: Context, wanted: Sequence[str], stay: Sequence[str] = ()) -> Iterable[Change]:
    """Bring `wanted` on the configured command line; `stay`: those of it that are not added, and not taken off where
    our drop-in has them. Never reboots."""
    kernel = context.survey[Kernel]
    if isinstance(kernel.boot.configured, Unknown):
        return
    missing = [word for word in wanted if word not in stay and is_missing(kernel, word)]
    if not missing and not [word for word in untried(kernel) if word not in wanted]:
        return
    if kernel.boot.loader == "grub":
        yield from _grub(kernel.boot, wanted, missing)
    elif kernel.boot.loader == "bls":
        yield _grubby(kernel.boot.configured, missing)


def is_missing(kernel: KernelReading, word: str) -> bool:
    """Whether the configured command line lacks it."""
    row = BY_NAME[name_of(word)]
    return not row.holds(effective(kernel, row, known(kernel.boot.configured)), word)


def runs(kernel: KernelReading, word: str) -> bool:
    """Whether the running kernel was booted with it."""
    row = BY_NAME[name_of(word)]
    return row.holds(effective(kernel, row, known(kernel.cmdline)), word)


def untried(kernel: KernelReading) -> list[str]:
    """What is risky in our own drop-in, which is on every entry, though the host has not booted with it."""
    ours = [] if isinstance(kernel.cmdline, Unknown) else [w for w in drop_in_words(kernel.boot) if w in WORDS]
    return [word for word in ours if BY_NAME[name_of(word)].risky and not runs(kernel, word)]


def drop_in_words(boot: Boot) -> tuple[str, ...]:
    """What our own drop-in adds."""
    text = boot.defaults.get(DROP_IN)
    if not isinstance(text, str):
        return ()
    found = re.search(r'^GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX (.*)"$', text, re.MULTILINE)
    return tuple(found[1].split()) if found else ()


def _grub(boot: Boot, wanted: Sequence[str], missing: Sequence[str]) -> Iterable[Change]:
    before = boot.defaults.get(DROP_IN)
    if isinstance(before, Unknown):
        yield Blocked("kernel", f"add {' '.join(missing)} to the boot parameters", why=before.unknown)
        return
    ours = drop_in_words(boot)
    words = [word for word in wanted if word in ours or word in missing]
    taken = [word for word in ours if word not in words]
    what = f"add {' '.join(missing)} to the boot parameters (from the next reboot on)"
    if taken:
        what = f"take {' '.join(taken)} off the boot parameters of every entry{'; ' + what if missing else ''}"
    if tuple(words) != ours:
        yield WriteFile("kernel", what, path=DROP_IN, text=drop_in(" ".join(words), "GRUB_CMDLINE_LINUX"),
                        before=before, service=MENU)  # fmt: skip
        return
    configured = () if isinstance(boot.configured, Unknown) else boot.configured
    if others := [word for miss in missing if (word := given(configured, name_of(miss)))]:
        why = f"{' '.join(others)} in {_where(boot, others)} comes after ours on the command line: take it away there"
        yield Blocked("kernel", what, why=why)
    else:  # our drop-in is there and the menu was not made anew
        yield Activate("kernel", what, service=MENU)


def _where(boot: Boot, words: Sequence[str]) -> str:
    files = [path for path, text in boot.defaults.items()
             if path != DROP_IN and isinstance(text, str) and any(word in text for word in words)]  # fmt: skip
    return " and ".join(files) or "a file that is not under /etc/default/grub"


def _grubby(configured: Sequence[str], missing: Sequence[str]) -> Command:
    """grubby(8): every entry there is, and those of kernels to come."""
    args = quote(" ".join(missing))
    old = [word for miss in missing if (word := given(configured, name_of(miss)))]
    undo = f"grubby --update-kernel=ALL --remove-args={args}"
    if old:
        undo += f" && grubby --update-kernel=ALL --args={quote(' '.join(old))}"
    checks = " && ".join(f"grubby --info=DEFAULT | grep '^args=' | grep -Fqw -- {quote(word)}" for word in missing)
    return Command("kernel", f"add {' '.join(missing)} to the boot parameters (from the next reboot on)",
                   script=f"grubby --update-kernel=ALL --args={args} && {checks}", undo=undo)  # fmt: skip
