"""Boot parameters that a policy may name, and how they get onto the next boot's command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote

from deploys.core.change import Activate, Blocked, Change, Command, Context, WriteFile
from deploys.core.control import Severity
from deploys.kernel.grub import MENU, drop_in
from facts.core.reading import Unknown, known
from facts.kernel.boot import DROP_IN, Boot
from facts.kernel.kernel import Kernel, KernelReading

HIGH, MEDIUM, LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW


@dataclass(frozen=True, kw_only=True)
class BootRow:
    """`values`: those that a policy may give, the strictest last; "" for a bare word. `built_in`: the kernel
    configuration that makes the first value the default. `needs`: the kernel option without which the parameter is
    ignored. `risky`: it may keep a kernel from booting, so it becomes permanent only after a boot on trial. `signed`:
    with it the kernel refuses modules without an accepted signature."""

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
    BootRow(
        name="slab_nomerge",
        values=("",),
        title="The kernel does not merge slab caches",
        severity=MEDIUM,
        why="In merged caches an overflow in one kind of kernel object reaches objects of another kind.",
        references=("KSPP",),
        built_in=("SLAB_MERGE_DEFAULT", "n"),
    ),
    BootRow(
        name="init_on_alloc",
        values=("1",),
        title="The kernel zeroes memory when it allocates it",
        severity=MEDIUM,
        why="A kernel bug that shows uninitialized memory shows an attacker what was there before.",
        references=("KSPP",),
        built_in=("INIT_ON_ALLOC_DEFAULT_ON", "y"),
    ),
    BootRow(
        name="init_on_free",
        values=("1",),
        title="The kernel zeroes memory when it frees it",
        severity=LOW,
        why="Secrets stay in freed memory, where a kernel bug can show them. It costs a few per cent of speed.",
        references=("KSPP", "STIG-RHEL9-212045"),
        built_in=("INIT_ON_FREE_DEFAULT_ON", "y"),
    ),
    BootRow(
        name="page_alloc.shuffle",
        values=("1",),
        title="The page allocator hands out free pages in random order",
        severity=LOW,
        why="An exploit that knows which page comes next can place its own data beside the kernel's.",
        references=("KSPP",),
        needs="SHUFFLE_PAGE_ALLOCATOR",
    ),
    BootRow(
        name="randomize_kstack_offset",
        values=("on",),
        title="The kernel stack offset is random for each system call",
        severity=MEDIUM,
        why="Without a random offset an exploit knows where data lies on the kernel stack.",
        references=("KSPP",),
        built_in=("RANDOMIZE_KSTACK_OFFSET_DEFAULT", "y"),
        needs="RANDOMIZE_KSTACK_OFFSET",
    ),
    BootRow(
        name="vsyscall",
        values=("none",),
        title="The vsyscall page is off",
        severity=MEDIUM,
        why="An exploit can use the code of the vsyscall page, which is at the same address in every process. Images "
        "with a C library from before 2011 need it.",
        references=("KSPP", "STIG-RHEL9-212035"),
        built_in=("LEGACY_VSYSCALL_NONE", "y"),
    ),
    BootRow(
        name="pti",
        values=("on",),
        title="Page-table isolation (PTI) is on",
        severity=MEDIUM,
        why="Without PTI a program can read kernel memory through the processor's speculation (Meltdown).",
        references=("KSPP", "STIG-RHEL9-212050"),
    ),
    BootRow(
        name="page_poison",
        values=("1",),
        title="The kernel overwrites freed pages (page poisoning)",
        severity=LOW,
        why="Without poisoning, a flaw that lets the kernel use a page after it was freed stays unnoticed.",
        references=("STIG-RHEL9-212040",),
    ),
    BootRow(
        name="lockdown",
        values=("integrity", "confidentiality"),
        title="Kernel lockdown is on",
        severity=HIGH,
        why="Without lockdown root, and so also whoever escapes from a container as root, can load unsigned code and "
        "write kernel memory.",
        references=("KSPP",),
        needs="SECURITY_LOCKDOWN_LSM",
        risky=True,
        signed=True,
    ),
    BootRow(
        name="module.sig_enforce",
        values=("1",),
        title="The kernel loads only signed modules",
        severity=HIGH,
        why="Root can load a module of an attacker's, which then runs with all rights of the kernel. Modules that are "
        "built on the host need a key of their own.",
        references=("KSPP",),
        built_in=("MODULE_SIG_FORCE", "y"),
        needs="MODULE_SIG",
        risky=True,
        signed=True,
    ),
    BootRow(
        name="debugfs",
        values=("no-mount", "off"),
        title="debugfs is off",
        severity=LOW,
        why="The files of debugfs show and change the kernel's inner state, and were never made to be safe. Some "
        "tracing tools need them.",
        references=("KSPP",),
    ),
    BootRow(
        name="iommu",
        values=("force",),
        title="The IOMMU restricts every device",
        severity=MEDIUM,
        why="A malicious or faulty device can read and write all memory (DMA). The hardware must have an IOMMU.",
        references=("KSPP",),
        risky=True,
    ),
    BootRow(
        name="mitigations",
        values=("auto", "auto,nosmt"),
        title="Mitigations for processor flaws are on",
        severity=HIGH,
        why="A container can read what other containers and the host compute on the same processor (Spectre and its "
        "like).",
        references=("KSPP",),
    ),
)

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
    """The parameter that is in force with a command line: the one given, else the kernel's built-in default."""
    word = given(words, row.name)
    if word is None and row.built_in:
        option, value = row.built_in
        return row.words[0] if known(kernel.config).get(option) == value else None
    return word


def plan(context: Context, wanted: Sequence[str], stay: Sequence[str] = ()) -> Iterable[Change]:
    """Put `wanted` on the configured command line. `stay`: those of `wanted` that stay in our drop-in where they are in
    it already, and are not added. Never reboots."""
    kernel = context.survey[Kernel]
    if isinstance(kernel.boot.configured, Unknown):
        return
    missing = [word for word in wanted if word not in stay and is_missing(kernel, word)]
    if not missing and not [word for word in untried(kernel) if word not in wanted]:
        return
    if kernel.boot.entry_file:
        yield by_hand_entry("kernel", f"add {' '.join(missing)} to the boot parameters", kernel.boot)
    elif kernel.boot.loader == "grub":
        yield from _grub(kernel.boot, wanted, missing)
    elif kernel.boot.loader == "bls":
        yield _grubby(kernel.boot.configured, missing)


def by_hand_entry(subject: str, what: str, boot: Boot) -> Blocked:
    """update-grub copies such an entry as it is."""
    why = f"the next boot takes the entry {boot.entry!r} of {boot.entry_file}, which update-grub gives no parameters"
    return Blocked(subject, what, why=why, by_hand="remove it there, or what makes it the default, and run update-grub")


def is_missing(kernel: KernelReading, word: str) -> bool:
    """Whether the configured command line lacks it."""
    row = BY_NAME[name_of(word)]
    return not row.holds(effective(kernel, row, known(kernel.boot.configured)), word)


def runs(kernel: KernelReading, word: str) -> bool:
    """Whether the running kernel was booted with it."""
    row = BY_NAME[name_of(word)]
    return row.holds(effective(kernel, row, known(kernel.cmdline)), word)


def untried(kernel: KernelReading) -> list[str]:
    """The risky parameters in our drop-in, which every menu entry has, that the host has not booted with yet."""
    ours = [] if isinstance(kernel.cmdline, Unknown) else [w for w in kernel.boot.own_parameters if w in WORDS]
    return [word for word in ours if BY_NAME[name_of(word)].risky and not runs(kernel, word)]


def _grub(boot: Boot, wanted: Sequence[str], missing: Sequence[str]) -> Iterable[Change]:
    before = boot.defaults.get(DROP_IN)
    if isinstance(before, Unknown):
        yield Blocked("kernel", f"add {' '.join(missing)} to the boot parameters", why=before.unknown)
        return
    ours = boot.own_parameters
    words = [word for word in wanted if word in ours or word in missing]
    taken = [word for word in ours if word not in words]
    what = f"add {' '.join(missing)} to the boot parameters (in force after the next reboot)"
    if taken:
        what = f"remove {' '.join(taken)} from the boot parameters of every entry{'; ' + what if missing else ''}"
    if tuple(words) != ours:
        text = drop_in(" ".join(words), "GRUB_CMDLINE_LINUX")
        yield WriteFile("kernel", what, path=DROP_IN, text=text, before=before, service=MENU)
        return
    configured = () if isinstance(boot.configured, Unknown) else boot.configured
    if others := [word for miss in missing if (word := given(configured, name_of(miss)))]:
        why = f"{' '.join(others)} in {_where(boot, others)} comes later on the command line and wins: remove it there"
        yield Blocked("kernel", what, why=why)
    else:  # our drop-in is there and update-grub has not run since
        yield Activate("kernel", what, service=MENU)


def _where(boot: Boot, words: Sequence[str]) -> str:
    texts = ((path, text) for path, text in boot.defaults.items() if path != DROP_IN and isinstance(text, str))
    files = [path for path, text in texts if any(word in text for word in words)]
    return " and ".join(files) or "a file outside of /etc/default/grub and /etc/default/grub.d"


def _grubby(configured: Sequence[str], missing: Sequence[str]) -> Command:
    """grubby(8) changes every entry, and the entries of kernels that are installed later."""
    args = quote(" ".join(missing))
    old = [word for miss in missing if (word := given(configured, name_of(miss)))]
    undo = f"grubby --update-kernel=ALL --remove-args={args}"
    if old:
        undo += f" && grubby --update-kernel=ALL --args={quote(' '.join(old))}"
    checks = " && ".join(f"grubby --info=DEFAULT | grep '^args=' | grep -Fqw -- {quote(word)}" for word in missing)
    what = f"add {' '.join(missing)} to the boot parameters (in force after the next reboot)"
    return Command("kernel", what, script=f"grubby --update-kernel=ALL --args={args} && {checks}", undo=undo)
