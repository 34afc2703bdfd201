"""The kernel's settings, as a host without hardening has them, live or for the next boot."""

from __future__ import annotations

from deploys.kernel.sysctls import ROWS
from tests.lab.breaks.row import Break, fails

# What a host without hardening has there; no value that only a reboot takes back.
WEAK = {
    "kernel.dmesg_restrict": "0", "kernel.kptr_restrict": "0", "kernel.perf_event_paranoid": "1",
    "kernel.yama.ptrace_scope": "0", "kernel.randomize_va_space": "0", "kernel.sysrq": "1",
    "kernel.core_pattern": "|/bin/true", "kernel.oops_limit": "10000", "kernel.warn_limit": "0",
    "kernel.io_uring_disabled": "0", "kernel.unprivileged_userns_clone": "1", "net.core.bpf_jit_harden": "0",
    "dev.tty.ldisc_autoload": "1", "dev.tty.legacy_tiocsti": "1", "vm.unprivileged_userfaultfd": "1",
    "vm.mmap_min_addr": "4096", "fs.protected_symlinks": "0", "fs.protected_hardlinks": "0", "fs.protected_fifos": "0",
    "fs.protected_regular": "0", "fs.suid_dumpable": "1", "net.ipv4.tcp_syncookies": "0",
    "net.ipv4.icmp_echo_ignore_broadcasts": "0", "net.ipv4.icmp_ignore_bogus_error_responses": "0",
}  # fmt: skip
ONE_WAY = ("kernel.unprivileged_bpf_disabled", "kernel.kexec_load_disabled")  # live, only a reboot takes them back
UBUNTU = ("kernel.apparmor_restrict_unprivileged_unconfined", "kernel.apparmor_restrict_unprivileged_userns")
PAIRS = {
    "accept_redirects": "1", "secure_redirects": "1", "send_redirects": "1", "accept_source_route": "1",
    "log_martians": "0", "accept_ra": "1",
}  # fmt: skip
SYSCTLS = WEAK | {row.key: PAIRS[row.key.rpartition(".")[2]] for row in ROWS if row.key.rpartition(".")[2] in PAIRS}


def control(key: str) -> str:
    return f"kernel.sysctl.{key}"


LIVE_SYSCTLS = Break(
    how="the kernel's settings were changed with sysctl",
    script="\n".join(f"sysctl -qw '{key}={value}'" for key, value in SYSCTLS.items()),
    says=fails(*map(control, SYSCTLS)),
)
DISK_SYSCTLS = Break(
    how="a later file of sysctl.d has other settings for the next boot",
    script="cat >/etc/sysctl.d/zzzz-break.conf <<'CONF'\n"
    + "\n".join(f"{key} = {value}" for key, value in SYSCTLS.items() | {(key, "0") for key in ONE_WAY})
    + "\nCONF",
    says=fails(*map(control, (*SYSCTLS, *ONE_WAY))),
)
