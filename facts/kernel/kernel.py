"""The kernel: which one runs and which are installed, its command lines, modules and sysctls, and a pending reboot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from typing_extensions import override

from facts import rootless
from facts.core.fact import SectionFact
from facts.core.reading import Block, OfOneHost, Section, Unknown, known
from facts.kernel import boot, boot_words, sysctls
from facts.kernel import modules as loaded
from facts.kernel import packages as kernel_packages
from facts.kernel import updates as kernel_updates
from facts.kernel.boot import Boot
from facts.kernel.boot_words import BootWords
from facts.kernel.modules import Modules
from facts.kernel.packages import Package, Reboot
from facts.kernel.sysctls import Sysctls
from facts.kernel.updates import Updates
from facts.networks import nftables
from facts.networks.nftables import Nftables

# Modules that containers, bridges and VLANs need; whether others are built in is not asked.
ASKED = ("overlay", "br_netfilter", "bridge", "veth", "vxlan", "8021q", "macvlan", "ipvlan", "dummy", "nf_tables",
         "nft_meta_bridge", "nft_ct", "nft_fib_inet", "nft_masq", "nf_conntrack", "nf_nat", "ip_tables",
         "xt_[A-Za-z_]*", "erofs", "fuse")  # fmt: skip

# A kernel may have built in what a boot parameter switches on.
CONFIGS = ("INIT_ON_ALLOC_DEFAULT_ON", "INIT_ON_FREE_DEFAULT_ON", "SHUFFLE_PAGE_ALLOCATOR", "SLAB_MERGE_DEFAULT",
           "RANDOMIZE_KSTACK_OFFSET", "RANDOMIZE_KSTACK_OFFSET_DEFAULT", "LEGACY_VSYSCALL_NONE",
           "LEGACY_VSYSCALL_XONLY", "SECURITY_LOCKDOWN_LSM", "MODULE_SIG", "MODULE_SIG_FORCE", "LIVEPATCH",
           "IKCONFIG_PROC", "DEVMEM", "STRICT_DEVMEM", "IO_URING", "KEXEC")  # fmt: skip

BOOT_ID = "kernel.random.boot_id"
MODPROBE_DIRECTORIES = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")

MODULES = f"""
release=$(uname -r)
run builtin grep -oE '/({"|".join(ASKED)})\\.ko' /lib/modules/$release/modules.builtin
run modprobe grep -HE '^[[:space:]]*(blacklist|install)[[:space:]]' \
 {" ".join(f"{folder}/modprobe.d/*.conf" for folder in MODPROBE_DIRECTORIES)}
run livepatch grep -H '' /sys/kernel/livepatch/*/enabled
run livepatch-tools sh -c 'for t in kpatch canonical-livepatch uptrack-uname; do command -v $t; done; :'
run config grep -E '^(# )?CONFIG_({"|".join(CONFIGS)})[= ]' /boot/config-$release
"""


@dataclass(frozen=True)
class KernelReading(OfOneHost, own={"boot_id": "", "cmdline": (), "boot": None}):  # these name disks by their ids
    release: str  # uname -r
    build: str  # uname -v: tells updates that keep the release
    machine: str
    version: str  # the package version it was built as; "" where the build does not tell
    boot_id: str | Unknown
    packages: tuple[Package, ...] | Unknown  # installed kernel images, oldest first
    images: tuple[str, ...] | Unknown  # releases with an image in /boot
    candidate: str | Unknown  # newest version that the package manager knows of, with no network use
    reboot: Reboot | Unknown
    cmdline: tuple[str, ...] | Unknown  # live
    boot: Boot
    modules: tuple[str, ...] | Unknown  # loaded
    builtin: tuple[str, ...] | Unknown  # of those in ASKED
    blocked: Mapping[str, str] | Unknown  # module: where it is kept from loading ("/etc/modprobe.d/x.conf: install")
    sysctls: Sysctls
    livepatches: Mapping[str, bool] | Unknown  # name: enabled
    livepatch_tools: tuple[str, ...]
    config: Mapping[str, str] | Unknown  # y, m, n or a value, of CONFIGS
    updates: Updates = kernel_updates.NONE
    found: Modules = loaded.NOT_ASKED  # of the loaded modules, what taints the kernel and what the root needs
    words: BootWords = boot_words.NONE  # boot parameters on trial
    rootless: Mapping[str, tuple[str, ...]] | Unknown = field(default_factory=dict)  # user -> what runs in namespaces
    nft: Nftables = nftables.NOT_ASKED

    @override
    def more_of_its_own(self) -> dict[str, Any]:
        live = {key: "" if key == BOOT_ID else value for key, value in self.sysctls.live.items()}
        return {"sysctls": replace(self.sysctls, live=live)}

    def has_module(self, name: str) -> bool | Unknown:
        """Whether the module is loaded or built in."""
        if isinstance(self.modules, Unknown):
            return self.modules
        if name in self.modules or (not isinstance(self.builtin, Unknown) and name in self.builtin):
            return True
        return self.builtin if isinstance(self.builtin, Unknown) else False


class Kernel(SectionFact[KernelReading]):
    """uname(1), dpkg/rpm, GRUB, /proc/modules, modprobe.d(5), sysctl.d(5) and /proc/sys."""

    key: ClassVar[str] = "kernel"
    timeout: ClassVar[int] = 30  # a cold package index takes seconds to read
    script: ClassVar[str] = "".join(
        [sysctls.SCRIPT, boot.SCRIPT, boot_words.SCRIPT, loaded.SCRIPT, rootless.SCRIPT, nftables.SCRIPT, MODULES,
         kernel_packages.SCRIPT, kernel_updates.SCRIPT, ":"]
    )  # fmt: skip

    @staticmethod
    def parse(section: Section) -> KernelReading:
        now = known(kernel_packages.running(section))
        packages = kernel_packages.installed(section)
        values = sysctls.parse(section)
        cmdline = section.text("/proc/cmdline")
        boot_id = values.value(BOOT_ID)
        return KernelReading(
            release=now.release,
            build=now.build,
            machine=now.machine,
            version=now.version,
            boot_id=boot_id if boot_id is not None else Unknown("the kernel does not show a boot id"),
            packages=packages,
            images=_images(section),
            candidate=kernel_packages.candidate(section, now.release),
            reboot=kernel_packages.reboot(section, now, packages),
            cmdline=cmdline if isinstance(cmdline, Unknown) else tuple(cmdline.split()),
            boot=boot.parse(section),
            modules=_names(section.text("modules")),
            builtin=_builtin(section),
            blocked=_blocked(section, cmdline if isinstance(cmdline, str) else ""),
            sysctls=values,
            livepatches=_livepatches(section),
            livepatch_tools=_tools(section.blocks.get("livepatch-tools")),
            config=_config(section),
            updates=kernel_updates.parse(section, now.release),
            found=loaded.parse(section),
            words=boot_words.parse(section),
            rootless=rootless.parse(section),
            nft=nftables.parse(section),
        )


def _names(text: str | Unknown) -> tuple[str, ...] | Unknown:
    if isinstance(text, Unknown):
        return text
    return tuple(sorted(line.split()[0] for line in text.splitlines() if line.split()))


def _images(section: Section) -> tuple[str, ...] | Unknown:
    names = section.text("images")
    if isinstance(names, Unknown):
        return names
    return tuple(sorted(found[1] for name in names.split() if (found := re.fullmatch(r"vmlinu[xz]-(.+)", name))))


def _builtin(section: Section) -> tuple[str, ...] | Unknown:
    """`grep -o` prints `/overlay.ko`; status 1 is an answer: none of them is built in."""
    block = section.block("builtin")
    if isinstance(block, Unknown):
        return block
    if block.status > 1:
        return Unknown(f"built-in modules: {block.complaint}")
    names = re.findall(r"^/(\w+)\.ko$", block.text, re.MULTILINE)
    return tuple(sorted({name.replace("-", "_") for name in names}))


def _lines(section: Section, name: str) -> list[str] | Unknown:
    """What `grep -H` over files that need not be there found; unknown where one is there and cannot be read."""
    block = section.block(name)
    if isinstance(block, Unknown):
        return block
    if block.status > 2:
        return Unknown(f"{name}: {block.complaint}")
    lines = block.text.splitlines()
    errors = [line for line in lines if re.match(r"grep: .*: (?!No such file|Is a directory)", line)]
    return Unknown(f"{name}: {errors[0]}") if errors else [line for line in lines if not line.startswith("grep: ")]


def _blocked(section: Section, cmdline: str) -> dict[str, str] | Unknown:
    """Modules with `blacklist`, or with `install` of a command that loads nothing; of files of one name the first
    directory's is read: modprobe.d(5). On the command line: modprobe.blacklist= and module_blacklist=."""
    lines = _lines(section, "modprobe")
    if isinstance(lines, Unknown):
        return lines
    blocked: dict[str, str] = {}
    first: dict[str, str] = {}
    for line in lines:
        path, _, directive = line.partition(":")
        name = path.rpartition("/")[2]
        if first.setdefault(name, path) != path:
            continue
        kind, _, rest = directive.strip().partition(" ")
        words = rest.split()
        if words and (kind == "blacklist" or (kind == "install" and _loads_nothing(words[1:]))):
            blocked.setdefault(words[0].replace("-", "_"), f"{path}: {kind}")
    for word in re.findall(r"\b(?:modprobe\.blacklist|module_blacklist)=(\S+)", cmdline):
        blocked.update({name.replace("-", "_"): "the kernel's command line" for name in word.split(",")})
    return blocked


def _loads_nothing(command: list[str]) -> bool:
    return bool(command) and command[0].rpartition("/")[2] in ("false", "true")


def _livepatches(section: Section) -> dict[str, bool] | Unknown:
    """The kernel's own, which kpatch and Canonical's service load; Ksplice's are modules, and on while loaded."""
    lines, modules = _lines(section, "livepatch"), _names(section.text("modules"))
    if isinstance(lines, Unknown):
        return lines
    if isinstance(modules, Unknown):
        return modules
    found = (re.fullmatch(r"/sys/kernel/livepatch/([^/]+)/enabled:([01])", line) for line in lines)
    ksplice = {name: True for name in modules if name.startswith("ksplice_")}
    return {match[1]: match[2] == "1" for match in found if match} | ksplice


def _tools(block: Block | None) -> tuple[str, ...]:
    return tuple(line.rpartition("/")[2] for line in block.text.split()) if block else ()


def _config(section: Section) -> dict[str, str] | Unknown:
    text = section.text("config")
    if isinstance(text, Unknown):
        return text
    on = re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE)
    off = re.findall(r"^# CONFIG_(\w+) is not set$", text, re.MULTILINE)
    return {name: value.strip('"') for name, value in on} | {name: "n" for name in off}
