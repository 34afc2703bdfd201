"""Sysctls that a policy may set: what each is for, which values satisfy it, and which values only a reboot resets.

The policy gives the values. Keys whose usual hardening would cut containers off have no row here, but controls of their
own (`RESOLVED`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploys.core.control import Severity
from facts.kernel.sysctls import as_number

HIGH, MEDIUM, LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW


@dataclass(frozen=True, kw_only=True)
class SysctlRow:
    """`at_least`, `at_most`: a greater or smaller number is stricter and satisfies, except for those that are `lax`;
    neither: the value has to be the declared one. `strictest`: it satisfies whatever is declared. `alike`: values that
    are equally good. `one_way`: live values that only a reboot resets."""

    key: str
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    at_least: bool = False
    at_most: bool = False
    lax: tuple[str, ...] = ()
    strictest: str = ""
    alike: tuple[str, ...] = ()
    one_way: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(part.strip() for part in (self.key, self.title, self.why)) or "." not in self.key:
            raise ValueError(f"sysctl row {self.key!r}: key, title and why are needed")
        if not self.references:
            raise ValueError(f"sysctl row {self.key}: no reference")

    def holds(self, value: str | None, declared: str) -> bool:
        """Whether `value` is what is declared, or stricter."""
        if value is None:
            return False
        found, least = as_number(value), as_number(declared)
        if found is None or least is None:
            return value == declared
        if found == least or str(found) == self.strictest or {declared, str(found)} <= set(self.alike):
            return True
        if str(least) in self.lax:
            return True
        stricter = (self.at_least and found > least) or (self.at_most and found < least)
        return stricter and str(found) not in self.lax


def _pair(
    name: str, *, title: str, severity: Severity, why: str, cis: str, stig: tuple[str, ...] = (), order: str = ""
) -> Iterable[SysctlRow]:
    """The same setting for all interfaces and as the default of new ones; `stig`: an id for each."""
    version, _, field = name.partition(".")
    for number, (scope, where) in enumerate((("all", "on all interfaces"), ("default", "on new interfaces"))):
        references = (f"CIS-Debian12-{cis}", *(f"STIG-RHEL9-{id_}" for id_ in stig[number : number + 1]))
        key = f"net.{version}.conf.{scope}.{field}"
        yield SysctlRow(
            key=key,
            title=f"{title} {where}",
            severity=severity,
            why=why,
            references=references,
            at_least=order == "at least",
            at_most=order == "at most",
        )


_REDIRECTED = "Whoever can send a redirect chooses the host's next hop, and so can read or alter its traffic."
_ROUTED = "With source routing the sender of a packet chooses its path, past the filters between networks."

ROWS: tuple[SysctlRow, ...] = (
    SysctlRow(
        key="kernel.dmesg_restrict",
        title="Only root can read the kernel log",
        severity=MEDIUM,
        why="Any user can read kernel addresses and device states in the log, which helps an exploit along.",
        references=("KSPP", "STIG-RHEL9-213010", "STIG-UBTU-24-600140"),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.kptr_restrict",
        title="Kernel addresses are hidden in /proc",
        severity=MEDIUM,
        why="One kernel address read from /proc tells an exploit where everything is, in spite of kernel ASLR.",
        references=("KSPP", "STIG-RHEL9-213025"),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.perf_event_paranoid",
        title="Only root can use performance events (perf_event_open)",
        severity=MEDIUM,
        why="Any user can attack perf_event_open, a large interface with many past flaws, and can measure what other "
        "users' programs do.",
        references=("KSPP", "STIG-RHEL9-213015"),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.unprivileged_bpf_disabled",
        title="Only root can load BPF programs",
        severity=HIGH,
        why="A flaw in the BPF verifier lets any user run code in the kernel.",
        references=("KSPP", "STIG-RHEL9-213075"),
        alike=("1", "2"),
        one_way=("1",),
    ),
    SysctlRow(
        key="net.core.bpf_jit_harden",
        title="The BPF JIT compiler blinds constants",
        severity=MEDIUM,
        why="An attacker can hide machine code in the constants of a BPF program, and have the kernel run it.",
        references=("KSPP", "STIG-RHEL9-251045"),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.yama.ptrace_scope",
        title="A process can trace only its own children (Yama)",
        severity=MEDIUM,
        why="One compromised program can read keys and passwords from the memory of the user's other programs.",
        references=("KSPP", "CIS-Debian12-1.5.2", "STIG-RHEL9-213080"),
        at_least=True,
        one_way=("3",),
    ),
    SysctlRow(
        key="kernel.randomize_va_space",
        title="Address-space randomization (ASLR) is on",
        severity=MEDIUM,
        why="Without ASLR an exploit knows in advance where a program's code, stack and heap are.",
        references=("KSPP", "CIS-Debian12-1.5.1", "STIG-RHEL9-213070", "STIG-UBTU-24-700310"),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.sysrq",
        title="The magic SysRq keys are off",
        severity=LOW,
        why="Whoever reaches a keyboard or serial console can kill processes, dump memory or reboot without a login.",
        references=("KSPP",),
        strictest="0",
    ),
    SysctlRow(
        key="kernel.core_pattern",
        title="Core dumps go where the policy says",
        severity=LOW,
        why="A core dump holds a program's memory with all of its secrets, and a handler behind a pipe runs as root on "
        "the host.",
        references=("STIG-RHEL9-213040",),
    ),
    SysctlRow(
        key="kernel.oops_limit",
        title="The host panics after a limited number of kernel oopses",
        severity=LOW,
        why="An exploit that may crash the kernel's code a thousand times will succeed once.",
        references=("KSPP",),
        at_most=True,
        lax=("0",),
    ),
    SysctlRow(
        key="kernel.warn_limit",
        title="The host panics after a limited number of kernel warnings",
        severity=LOW,
        why="An exploit that may trigger a kernel warning a thousand times will succeed once.",
        references=("KSPP",),
        at_most=True,
        lax=("0",),
    ),
    SysctlRow(
        key="kernel.kexec_load_disabled",
        title="No other kernel can be loaded with kexec",
        severity=MEDIUM,
        why="With kexec, root replaces the running kernel without a boot, and so gets around Secure Boot. kdump needs "
        "kexec.",
        references=("KSPP", "STIG-RHEL9-213020"),
        one_way=("1",),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.io_uring_disabled",
        title="io_uring is restricted",
        severity=MEDIUM,
        why="io_uring has had many flaws that give a user the kernel, and seccomp does not see its operations.",
        references=("KSPP",),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.unprivileged_userns_clone",
        title="Only root can create user namespaces",
        severity=LOW,
        why="In a user namespace any user can attack kernel code that is otherwise open to root only. Rootless "
        "containers need user namespaces.",
        references=("KSPP",),
        at_most=True,
    ),
    SysctlRow(
        key="kernel.apparmor_restrict_unprivileged_unconfined",
        title="A confined process cannot leave its AppArmor profile for an unconfined one",
        severity=MEDIUM,
        why="A confined user can change to a profile that is unconfined, and so gets around AppArmor.",
        references=("KSPP",),
        at_least=True,
    ),
    SysctlRow(
        key="kernel.apparmor_restrict_unprivileged_userns",
        title="A program needs an AppArmor profile to create user namespaces",
        severity=MEDIUM,
        why="In a user namespace any user can attack kernel code that is otherwise open to root only.",
        references=("KSPP",),
        at_least=True,
    ),
    SysctlRow(
        key="dev.tty.ldisc_autoload",
        title="Terminal line disciplines are not loaded on demand",
        severity=MEDIUM,
        why="Any user can load old, seldom used drivers, several of which had flaws that give a user the kernel.",
        references=("KSPP",),
        at_most=True,
    ),
    SysctlRow(
        key="dev.tty.legacy_tiocsti",
        title="A program cannot type into a terminal (TIOCSTI)",
        severity=MEDIUM,
        why="A program in a container or under su can type commands into the terminal of whoever started it.",
        references=("KSPP",),
        at_most=True,
    ),
    SysctlRow(
        key="vm.unprivileged_userfaultfd",
        title="Only root can handle page faults of the kernel (userfaultfd)",
        severity=MEDIUM,
        why="With userfaultfd an exploit stops the kernel at exactly the moment that it needs.",
        references=("KSPP",),
        at_most=True,
    ),
    SysctlRow(
        key="vm.mmap_min_addr",
        title="No program can map memory at address zero",
        severity=MEDIUM,
        why="A null pointer in the kernel then leads into memory that an attacker has filled.",
        references=("KSPP",),
        at_least=True,
    ),
    SysctlRow(
        key="fs.protected_symlinks",
        title="Symbolic links in shared directories are protected",
        severity=MEDIUM,
        why="A link planted in /tmp makes a program that runs as root write to a file of the attacker's choice.",
        references=("KSPP", "STIG-RHEL9-213030"),
        at_least=True,
    ),
    SysctlRow(
        key="fs.protected_hardlinks",
        title="A user can make hard links only to files of their own",
        severity=MEDIUM,
        why="A hard link keeps a vulnerable setuid program alive after its update, or redirects what a root program "
        "writes.",
        references=("KSPP", "STIG-RHEL9-213035"),
        at_least=True,
    ),
    SysctlRow(
        key="fs.protected_fifos",
        title="Named pipes of other users in shared directories are protected",
        severity=MEDIUM,
        why="A program that means to create a file writes into an attacker's pipe instead.",
        references=("KSPP",),
        at_least=True,
    ),
    SysctlRow(
        key="fs.protected_regular",
        title="Files of other users in shared directories are protected",
        severity=MEDIUM,
        why="A program that means to create a file writes into an attacker's file instead.",
        references=("KSPP",),
        at_least=True,
    ),
    SysctlRow(
        key="fs.suid_dumpable",
        title="Setuid programs leave no core dump",
        severity=MEDIUM,
        why="The core dump of a privileged program shows its caller what only root may read.",
        references=("KSPP", "CIS-Debian12-1.5.3"),
        strictest="0",
    ),
    SysctlRow(
        key="net.ipv4.tcp_syncookies",
        title="TCP SYN cookies are on",
        severity=MEDIUM,
        why="A flood of half-open connections fills the backlog, and the host then refuses everybody else.",
        references=("CIS-Debian12-3.3.10", "STIG-RHEL9-253010", "STIG-UBTU-24-600190"),
        at_least=True,
    ),
    SysctlRow(
        key="net.ipv4.icmp_echo_ignore_broadcasts",
        title="Broadcast pings are not answered",
        severity=LOW,
        why="An attacker can multiply traffic against a third party by way of the answers to one broadcast ping.",
        references=("CIS-Debian12-3.3.4", "STIG-RHEL9-253055"),
        at_least=True,
    ),
    SysctlRow(
        key="net.ipv4.icmp_ignore_bogus_error_responses",
        title="Malformed ICMP errors are not logged",
        severity=LOW,
        why="An attacker can fill the log with malformed ICMP errors.",
        references=("CIS-Debian12-3.3.3",),
        at_least=True,
    ),
    *_pair(
        "ipv4.accept_redirects",
        title="ICMP redirects are ignored",
        severity=MEDIUM,
        why=_REDIRECTED,
        cis="3.3.5",
        stig=("253015", "253040"),
        order="at most",
    ),
    *_pair(
        "ipv4.secure_redirects",
        title="ICMP redirects of known gateways are ignored",
        severity=LOW,
        why=_REDIRECTED,
        cis="3.3.6",
        order="at most",
    ),
    *_pair(
        "ipv4.send_redirects",
        title="No ICMP redirects are sent",
        severity=LOW,
        why="A redirect shows how the host routes, and points containers to a way around it.",
        cis="3.3.2",
        stig=("253065", "253070"),
        order="at most",
    ),
    *_pair(
        "ipv4.accept_source_route",
        title="Source-routed packets are dropped",
        severity=MEDIUM,
        why=_ROUTED,
        cis="3.3.8",
        stig=("253020", "253045"),
        order="at most",
    ),
    *_pair(
        "ipv4.log_martians",
        title="Packets with impossible source addresses are logged",
        severity=LOW,
        why="Without these records an attacker can spoof addresses unnoticed. On a busy bridge they fill the log.",
        cis="3.3.9",
        stig=("253025", "253030"),
        order="at least",
    ),
    *_pair(
        "ipv6.accept_redirects",
        title="IPv6 redirects are ignored",
        severity=MEDIUM,
        why=_REDIRECTED,
        cis="3.3.5",
        stig=("254015", "254035"),
        order="at most",
    ),
    *_pair(
        "ipv6.accept_source_route",
        title="Source-routed IPv6 packets are dropped",
        severity=MEDIUM,
        why=_ROUTED,
        cis="3.3.8",
        stig=("254020", "254040"),
        order="at most",
    ),
    *_pair(
        "ipv6.accept_ra",
        title="IPv6 router advertisements are accepted only as the policy says",
        severity=LOW,
        why="Any machine on the same network can make itself the host's router. A host that forwards and needs router "
        "advertisements wants 2.",
        cis="3.3.11",
        stig=("254010", "254030"),
    ),
)

BY_KEY = {row.key: row for row in ROWS}

# Keys that `sysctls` refuses: these values would cut containers off, so each has a policy key of its own.
RESOLVED = {
    "net.ipv4.ip_forward": "containers on bridges need forwarding: see `forwarding`",
    "user.max_user_namespaces": "containers may need user namespaces: see `user_namespaces`",
    "net.ipv4.conf.all.rp_filter": "overlay networks need loose filtering: see `rp_filter`",
    "net.ipv4.conf.default.rp_filter": "overlay networks need loose filtering: see `rp_filter`",
    "kernel.modules_disabled": "set at boot, it keeps the overlay, bridge and netfilter modules from loading",
}
