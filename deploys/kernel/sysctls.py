"""Sysctls that a policy may set: what each is for, which values satisfy it, and which settings have no way back.

Values are the policy's; here is the knowledge. Keys whose usual hardening would cut containers off are no rows: they
are resolved by controls of their own (`RESOLVED`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploys.core.control import Severity
from facts.kernel.sysctls import as_number

HIGH, MEDIUM, LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW


@dataclass(frozen=True)
class SysctlRow:
    """`at_least`: a greater number is stricter and satisfies. `alike`: values that are as good as one another.
    `one_way`: live values that only a reboot takes back."""

    key: str
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    at_least: bool = False
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
        alike = declared in self.alike and str(found) in self.alike
        return found == least or alike or (self.at_least and found > least)


def _pair(
    name: str, title: str, severity: Severity, why: str, cis: str, stig: tuple[str, ...] = ()
) -> Iterable[SysctlRow]:
    """The same setting for the interfaces there are and for those to come; `stig`: an id for each."""
    version, _, field = name.partition(".")
    for number, (scope, words) in enumerate((("all", "on every interface"), ("default", "on interfaces to come"))):
        references = (f"CIS-Debian12-{cis}", *(f"STIG-RHEL9-{id_}" for id_ in stig[number : number + 1]))
        yield SysctlRow(f"net.{version}.conf.{scope}.{field}", f"{title} {words}", severity, why, references)


_REDIRECTED = "Whoever can send a redirect chooses the host's next hop, and so reads or alters its traffic."
_ROUTED = "The sender of a packet must not choose its way, past the filters between networks."

ROWS: tuple[SysctlRow, ...] = (
    SysctlRow("kernel.dmesg_restrict", "The kernel log is for root only", MEDIUM,
              "The log holds addresses and device states that help an exploit along.",
              ("KSPP", "STIG-RHEL9-213010", "STIG-UBTU-24-600140"), at_least=True),
    SysctlRow("kernel.kptr_restrict", "Kernel addresses are not shown", MEDIUM,
              "An address read from /proc undoes the randomisation of the kernel's place in memory.",
              ("KSPP", "STIG-RHEL9-213025"), at_least=True),
    SysctlRow("kernel.perf_event_paranoid", "Performance events are for root only", MEDIUM,
              "The call perf_event_open is large, often broken, and measures other users' work.",
              ("KSPP", "STIG-RHEL9-213015"), at_least=True),
    SysctlRow("kernel.unprivileged_bpf_disabled", "Programs for the kernel's BPF machine are for root only", HIGH,
              "Flaws in the BPF verifier give any user the kernel.",
              ("KSPP", "STIG-RHEL9-213075"), alike=("1", "2"), one_way=("1",)),
    SysctlRow("net.core.bpf_jit_harden", "Compiled BPF programs are blinded", MEDIUM,
              "Constants in compiled BPF code can carry an attacker's instructions.",
              ("KSPP", "STIG-RHEL9-251045"), at_least=True),
    SysctlRow("kernel.yama.ptrace_scope", "A process traces only its children", MEDIUM,
              "One broken program must not read the memory of the user's other programs.",
              ("KSPP", "CIS-Debian12-1.5.2", "STIG-RHEL9-213080"), at_least=True, one_way=("3",)),
    SysctlRow("kernel.randomize_va_space", "Programs lie at random places in memory", MEDIUM,
              "An exploit must not know in advance where things are.",
              ("KSPP", "CIS-Debian12-1.5.1", "STIG-RHEL9-213070", "STIG-UBTU-24-700310"), at_least=True),
    SysctlRow("kernel.sysrq", "The magic SysRq keys are off", LOW,
              "Whoever reaches a keyboard or serial console could kill, dump or reboot past the login.",
              ("KSPP",)),
    SysctlRow("kernel.core_pattern", "Where core dumps go", LOW,
              "A core dump is a program's memory, secrets and all; a pipe handler runs as root on the host.",
              ("STIG-RHEL9-213040",)),
    SysctlRow("kernel.oops_limit", "Too many kernel faults stop the machine", LOW,
              "An exploit that may fail a thousand times will succeed once.",
              ("KSPP",)),
    SysctlRow("kernel.warn_limit", "Too many kernel warnings stop the machine", LOW,
              "An exploit that may fail a thousand times will succeed once.",
              ("KSPP",)),
    SysctlRow("kernel.kexec_load_disabled", "No other kernel can be started over this one", MEDIUM,
              "Kexec replaces the kernel, verified boot and all; kdump needs it.",
              ("KSPP", "STIG-RHEL9-213020"), one_way=("1",)),
    SysctlRow("kernel.io_uring_disabled", "io_uring is restricted", MEDIUM,
              "io_uring has been a frequent way into the kernel, and seccomp does not see its operations.",
              ("KSPP",), at_least=True),
    SysctlRow("kernel.unprivileged_userns_clone", "Only root makes user namespaces", LOW,
              "A new user namespace opens kernel code to every user; rootless containers need it.",
              ("KSPP",)),
    SysctlRow("kernel.apparmor_restrict_unprivileged_unconfined", "Nobody leaves an AppArmor profile unasked", MEDIUM,
              "A confined user must not step into an unconfined profile.",
              ("KSPP",)),
    SysctlRow("kernel.apparmor_restrict_unprivileged_userns", "User namespaces need an AppArmor profile", MEDIUM,
              "A new user namespace opens kernel code to every user, unless a profile allows it.",
              ("KSPP",)),
    SysctlRow("dev.tty.ldisc_autoload", "Terminal line disciplines are not loaded on demand", MEDIUM,
              "Any user could load old, seldom used and often broken drivers.",
              ("KSPP",)),
    SysctlRow("dev.tty.legacy_tiocsti", "Nobody types into another's terminal", MEDIUM,
              "TIOCSTI lets a program in a container or under su type commands for its caller.",
              ("KSPP",)),
    SysctlRow("vm.unprivileged_userfaultfd", "Page faults are not handled by users", MEDIUM,
              "Userfaultfd holds the kernel still at the moment an exploit wants.",
              ("KSPP",)),
    SysctlRow("vm.mmap_min_addr", "Nothing is mapped at address zero", MEDIUM,
              "A null pointer in the kernel must not lead into a user's memory.",
              ("KSPP",), at_least=True),
    SysctlRow("fs.protected_symlinks", "Links in shared directories are followed for their owner only", MEDIUM,
              "A link planted in /tmp makes a root program write elsewhere.",
              ("KSPP", "STIG-RHEL9-213030"), at_least=True),
    SysctlRow("fs.protected_hardlinks", "Hard links only to files of one's own", MEDIUM,
              "A hard link keeps a vulnerable setuid program alive, or redirects a root program's write.",
              ("KSPP", "STIG-RHEL9-213035"), at_least=True),
    SysctlRow("fs.protected_fifos", "Planted pipes in shared directories are refused", MEDIUM,
              "A program that means to write a new file must not be led into another's pipe.",
              ("KSPP",), at_least=True),
    SysctlRow("fs.protected_regular", "Planted files in shared directories are refused", MEDIUM,
              "A program that means to write a new file must not be led into another's.",
              ("KSPP",), at_least=True),
    SysctlRow("fs.suid_dumpable", "Setuid programs leave no core dump", MEDIUM,
              "The memory of a privileged program holds what its caller may not read.",
              ("KSPP", "CIS-Debian12-1.5.3")),
    SysctlRow("net.ipv4.tcp_syncookies", "Floods of half-open connections are withstood", MEDIUM,
              "A full backlog shuts out everybody else.",
              ("CIS-Debian12-3.3.10", "STIG-RHEL9-253010", "STIG-UBTU-24-600190"), at_least=True),
    SysctlRow("net.ipv4.icmp_echo_ignore_broadcasts", "Broadcast pings are not answered", LOW,
              "Answers to a broadcast multiply an attacker's traffic against a third party.",
              ("CIS-Debian12-3.3.4", "STIG-RHEL9-253055")),
    SysctlRow("net.ipv4.icmp_ignore_bogus_error_responses", "Malformed ICMP errors are not logged", LOW,
              "An attacker must not be able to fill the log.",
              ("CIS-Debian12-3.3.3",)),
    *_pair("ipv4.accept_redirects", "ICMP redirects are not followed", MEDIUM, _REDIRECTED,
           "3.3.5", ("253015", "253040")),
    *_pair("ipv4.secure_redirects", "Redirects are not followed from gateways either", LOW, _REDIRECTED, "3.3.6"),
    *_pair("ipv4.send_redirects", "No redirects are sent", LOW,
           "A redirect tells of the host's routing, and points containers past it.", "3.3.2", ("253065", "253070")),
    *_pair("ipv4.accept_source_route", "Source-routed packets are dropped", MEDIUM, _ROUTED,
           "3.3.8", ("253020", "253045")),
    *_pair("ipv4.log_martians", "Packets with impossible addresses are logged", LOW,
           "Spoofing shows in the log; on a busy bridge it floods it.", "3.3.9", ("253025", "253030")),
    *_pair("ipv6.accept_redirects", "IPv6 redirects are not followed", MEDIUM, _REDIRECTED,
           "3.3.5", ("254015", "254035")),
    *_pair("ipv6.accept_source_route", "Source-routed IPv6 packets are dropped", MEDIUM, _ROUTED,
           "3.3.8", ("254020", "254040")),
    *_pair("ipv6.accept_ra", "Router advertisements are taken only as declared", LOW,
           "A neighbour could give itself out as the router; a forwarding host that needs them wants 2.",
           "3.3.11", ("254010", "254030")),
)  # fmt: skip

BY_KEY = {row.key: row for row in ROWS}

# Not for `sysctls`: what is set there would cut containers off, so each has an answer of its own.
RESOLVED = {
    "net.ipv4.ip_forward": "bridged networks need it: see `forwarding`",
    "user.max_user_namespaces": "containers may need them: see `user_namespaces`",
    "net.ipv4.conf.all.rp_filter": "overlay networks need it loose: see `rp_filter`",
    "net.ipv4.conf.default.rp_filter": "overlay networks need it loose: see `rp_filter`",
    "kernel.modules_disabled": "set at boot it keeps overlay, bridge and netfilter modules from loading",
}
