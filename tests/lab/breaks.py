"""What is broken on a hardened host, one row for each way: what drift has to say of it, and who mends it.

A batch is broken at once, on a host of its own: its rows do not touch each other. Each control is broken in some row,
or is named in ELSEWHERE with the drill that breaks it, or with the reason why none can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploys.kernel.sysctls import ROWS


@dataclass(frozen=True, kw_only=True)
class Break:
    """`how` completes the sentence "on the host …"; `script` (sh) does that. `says`: the state that drift gives each
    control. `undo`: sh of whoever mends it, where harden may not. `names`: what each of the findings has to name."""

    how: str
    script: str
    says: Mapping[str, str]
    undo: str = ""
    names: str = ""


def fails(*controls: str) -> dict[str, str]:
    return dict.fromkeys(controls, "fail")


# ------------------------------------------------------------------------------------------------ sysctls

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

# ------------------------------------------------------------------------------------------------ other live settings

DAEMON_JSON = "/etc/docker/daemon.json"
UNITS = "/etc/systemd/system"
REMOVE_PROFILE = "printf %s {} >/sys/kernel/security/apparmor/.remove"

LIVE = (
    LIVE_SYSCTLS,
    Break(how="packets are not forwarded", script="sysctl -qw net.ipv4.ip_forward=0", says=fails("kernel.forwarding")),
    Break(
        how="no address is checked on the way in (rp_filter)",
        script="for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done",
        says=fails("kernel.rp-filter"),
    ),
    Break(
        how="users can make no user namespace",
        script="sysctl -qw user.max_user_namespaces=0",
        says=fails("kernel.user-namespaces", "userns.limits"),
    ),
    Break(
        how="auditd was killed, and its rules were deleted",
        script="systemctl kill auditd; sleep 2; auditctl -D",
        says=fails("audit.running", "audit.engine-files"),
    ),
    Break(
        how="profiles were taken out of the kernel",
        script="\n".join(REMOVE_PROFILE.format(name) for name in ("docker-default", "hullproof-container", "lab-tool")),
        says=fails(
            "apparmor.docker-profile",
            "apparmor.container-profile",
            "apparmor.profiles-loaded",
            "apparmor.profiles-enforced",
        ),
    ),
    Break(
        how="a user was added to the group docker",
        script="usermod -aG docker mallory",
        says=fails("docker.group-members"),
    ),
    Break(
        how="everybody may write daemon.json, a file of hullproof's, and the folder with all of Docker's data",
        script=f"chmod 0666 {DAEMON_JSON} /etc/hullproof/networks.nft; chmod 0777 /var/lib/docker",
        says=fails("docker.file-modes", "files.own", "files.engines"),
    ),
    Break(
        how="a user may run docker with sudo",
        script="mkdir -p /etc/sudoers.d; echo 'mallory ALL=(root) NOPASSWD: /usr/bin/docker' >/etc/sudoers.d/break",
        says=fails("docker.sudo"),
        undo="rm /etc/sudoers.d/break",
    ),
    Break(
        how="a unit passes connections on to Docker's socket",
        script=f"""
printf '[Socket]\\nListenStream=127.0.0.1:2376\\n' >{UNITS}/break.socket
printf '[Service]\\nExecStart=/usr/lib/systemd/systemd-socket-proxyd /run/docker.sock\\n' >{UNITS}/break.service
systemctl daemon-reload; systemctl start break.socket""",
        says=fails("docker.relays"),
        undo=f"systemctl stop break.socket break.service; rm {UNITS}/break.socket {UNITS}/break.service",
    ),
    Break(
        how="hullproof's tables were deleted from the kernel",
        script="nft delete table bridge hullproof; nft delete table inet hullproof",
        says=fails("networks.icc", "networks.host-services", "networks.antispoof"),
    ),
)

# ------------------------------------------------------------------------------------------------ files

BOOT_WORDS = (
    "slab_nomerge", "init_on_alloc", "page_alloc.shuffle", "randomize_kstack_offset", "vsyscall", "lockdown", "debugfs",
)  # fmt: skip
# Of words that the kernel has on by itself, another value.
WEAK_WORDS = "apparmor=0 nokaslr init_on_alloc=0 randomize_kstack_offset=off vsyscall=emulate"
CHANGED = {
    "live-restore": "false", "userland-proxy": "true", "log-driver": '"journald"', "no-new-privileges": "false",
}  # fmt: skip
ADDED = {"log-level": '"debug"', "iptables": "false", "experimental": "true"}
ELSE = "; ".join(f"""s/"{key}": [^,]*/"{key}": {value}/""" for key, value in CHANGED.items())
MORE = ", ".join(f'"{key}": {value}' for key, value in ADDED.items())
DISK = (
    DISK_SYSCTLS,
    Break(
        how="the next boot's command line has lost hullproof's words, and others switch protections off",
        script="rm -f /etc/default/grub.d/*hullproof*\n"
        f"echo 'GRUB_CMDLINE_LINUX_DEFAULT=\"quiet {WEAK_WORDS}\"' >/etc/default/grub.d/zz-break.cfg\n"
        "update-grub 2>/dev/null",
        says=fails("apparmor.enabled", "kernel.weakening-parameters", *(f"kernel.boot.{name}" for name in BOOT_WORDS)),
        undo="rm /etc/default/grub.d/zz-break.cfg; update-grub 2>/dev/null",
    ),
    Break(
        how="daemon.json has other values",
        script=f"sed -i -e '{ELSE}' -e '0,/{{/s//{{ {MORE},/' {DAEMON_JSON}",
        says=fails(*(f"docker.{name}" for name in (*CHANGED, *ADDED))),
    ),
    Break(
        how="the file of audit rules was removed",
        script="rm -f /etc/audit/rules.d/*hullproof*; augenrules >/dev/null 2>&1",
        says=fails("audit.engine-files"),
    ),
    Break(
        how="no service loads AppArmor's profiles at boot",
        script="systemctl -q disable apparmor.service",
        says=fails("apparmor.installed"),
    ),
    Break(
        how="the module overlay may not be loaded",
        script="echo 'install overlay /bin/false' >/etc/modprobe.d/break.conf",
        says=fails("kernel.overlay"),
        undo="rm /etc/modprobe.d/break.conf",
    ),
    Break(
        how="two owners have the same subordinate ids",
        script="grep dockremap /etc/subuid | sed 's/dockremap/mallory/' >>/etc/subuid",
        says=fails("userns.ranges"),
        undo="sed -i /mallory/d /etc/subuid",
    ),
    Break(
        how="the unit and the file that load hullproof's tables at boot were removed",
        script="systemctl -q disable hullproof-networks.service; rm -f /etc/hullproof/networks.nft",
        says=fails("networks.host-services", "networks.antispoof"),
    ),
)

# ------------------------------------------------------------------------------------------------ the daemon

DAEMON_KEYS = ("log-opts", "default-ulimits", "default-address-pools", "insecure-registries", "no-tcp", "live-restore")
WRONG_DAEMON_JSON = """{
  "hosts": ["fd://", "tcp://127.0.0.1:2375"],
  "insecure-registries": ["registry.corp.example:5000"],
  "seccomp-profile": "unconfined",
  "log-driver": "local",
  "log-opts": {"max-size": "1g"}
}"""
DAEMON = (
    Break(
        how="Docker runs with another daemon.json, on another port too",
        script=f"""
mkdir -p /etc/systemd/system/docker.service.d
printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd\\n' >/etc/systemd/system/docker.service.d/break.conf
cat >{DAEMON_JSON} <<'CONF'
{WRONG_DAEMON_JSON}
CONF
systemctl daemon-reload
systemctl restart docker""",
        says=fails(
            *(f"docker.{name}" for name in DAEMON_KEYS),
            *("seccomp.default-profile", "userns.docker-remap", "networks.icc"),
        ),
    ),
)
STOPPED = (
    Break(
        how="Docker was stopped, and daemon.json is no JSON",
        script=f"systemctl stop docker.socket docker; cp -p {DAEMON_JSON} /root/kept; echo '{{' >>{DAEMON_JSON}",
        says=fails("docker.running", "docker.daemon-json"),
        undo=f"cat /root/kept >{DAEMON_JSON}",
    ),
)

# ------------------------------------------------------------------------------------------------ containers

PRIVILEGED = ("privileged", "user-namespace", "capabilities", "seccomp", "confined", "devices", "masks")
IMAGE = "lab/busybox:1 sleep 1000000"
BUNDLE = "mkdir -p /srv/bundle/rootfs && cd /srv/bundle && tar -xf /var/lib/lab/busybox.tar -C rootfs"
LIMITED = "docker run -d --memory 32m --pids-limit 50"
ALLOW_ALL = '{"defaultAction": "SCMP_ACT_ALLOW"}'
WIDE = (
    "profile break-wide flags=(attach_disconnected,mediate_deleted) "
    "{ file, capability, network, mount, umount, pivot_root, ptrace, signal, unix, }"
)


def started(name: str, how: str, options: str, *controls: str) -> Break:
    """A container with these options, which only its owner removes; `how` completes "a container …"."""
    return Break(
        how=f"a container {how}",
        script=f"{LIMITED} --name {name} {options} {IMAGE}",
        says=fails(*(f"containers.{control}" for control in controls)),
        undo=f"docker rm -f {name}",
        names=name,
    )


CONTAINERS = (
    Break(
        how="the FORWARD policy is ACCEPT",
        script="iptables -P FORWARD ACCEPT",
        says=fails("networks.forwarding"),
    ),
    Break(
        how="a network of a Docker that does not filter IPv6 has IPv6",
        script="docker network create --ipv6 --subnet fd00:6::/64 six",
        says=fails("docker.ip6tables"),
        undo="docker network rm six",
    ),
    started("priv", "is privileged", "--privileged --userns host", *PRIVILEGED),
    started("host", "shares the host's network", "--network host --userns host", "host-namespaces"),
    started("one", "is what the next one joins", ""),
    started("two", "shares another one's processes", "--pid container:one", "joined-namespaces"),
    started("loose", "may gain privileges", "--security-opt no-new-privileges=false", "no-new-privileges"),
    started("etc", "has a folder of the host's", "-v /etc:/hostetc", "mounts"),
    started("cron", "may write what the host's cron runs", "-v /etc/cron.d:/c", "mounts"),
    started("sock", "reaches Docker's socket through a folder that it may only read", "-v /run:/r:ro", "mounts"),
    started("root", "has all of the host's files to read, sockets too", "-v /:/h:ro", "mounts"),
    started(
        "whole",
        "has a volume that is the host's root",
        "-v $(docker volume create --opt type=none --opt o=bind --opt device=/ whole):/h",
        "mounts",
    ),
    started("disk", "has the host's disk", "--device /dev/vda", "devices"),
    started("user", "runs as a user who may get capabilities back", "--user 1000 --cap-add SYS_ADMIN", "capabilities"),
    started(
        "open",
        "has a filter of its own that refuses nothing",
        f"--security-opt seccomp=$(echo '{ALLOW_ALL}' >/root/open.json; echo /root/open.json)",
        "seccomp",
    ),
    started(
        "wide",
        "has an AppArmor profile of its own, in enforce mode, that allows all",
        f"--security-opt apparmor=$(echo '{WIDE}' | apparmor_parser -r && echo break-wide)",
        "confined",
    ),
    Break(
        how="a container has no limit of memory",
        script=f"docker run -d --name free {IMAGE}",
        says=fails("containers.limits"),
        undo="docker rm -f free",
        names="free",
    ),
    Break(
        how="root runs a second dockerd",
        script="cd / && setsid dockerd -H unix:///run/break.sock --data-root /srv/break --exec-root /run/break "
        "--pidfile /run/break.pid --config-file /dev/null --bridge none --iptables=false --ip6tables=false "
        ">/dev/null 2>&1 </dev/null & sleep 20",
        says=fails("docker.other-daemons"),
        undo="kill $(cat /run/break.pid); sleep 5",
    ),
    Break(
        how="runc runs a container that no engine knows",
        script=f"""
{BUNDLE} && runc spec
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000000"/' config.json
runc run -d stray </dev/null >/dev/null 2>&1""",
        says=fails("containers.unlisted"),
        undo="runc delete -f stray",
        names="stray",
    ),
    Break(
        how="containerd runs a privileged container in a namespace that is not Docker's",
        script=f"""
{BUNDLE}
ctr -n other run -d --privileged --rootfs /srv/bundle/rootfs aside sleep 1000000""",
        says=fails("containers.unlisted"),
        undo="ctr -n other tasks kill -s KILL aside; sleep 2; ctr -n other containers rm aside",
        names="aside",
    ),
)
BATCHES: Mapping[str, Sequence[Break]] = {
    "live": LIVE,
    "disk": DISK,
    "daemon": DAEMON,
    "stopped": STOPPED,
    "containers": CONTAINERS,
}

# --------------------------------------------------------------------------------------------- broken elsewhere

DRILLS = "tests/lab/drills"
BRIDGES = f"{DRILLS}/test_bridges.py"
UPDATES = f"{DRILLS}/test_kernel_update.py"
SELINUX = f"{DRILLS}/test_selinux.py"
A_WORD = "another word of the same row of kernel.boot, which costs an emulated host too much"
ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(map(control, UBUNTU), "Debian's kernel does not have it: tests/facts has Ubuntu's recorded form"),
    **dict.fromkeys(
        [f"kernel.boot.{name}" for name in ("init_on_free", "pti", "page_poison", "iommu", "mitigations")], A_WORD
    ),
    "kernel.boot.module.sig_enforce": A_WORD,
    **dict.fromkeys(("kernel.reboot-needed", "kernel.update", "kernel.old-kernels"), UPDATES),
    **dict.fromkeys(("audit.immutable", "audit.denials"), f"{DRILLS}/test_audit.py"),
    **dict.fromkeys(("selinux.enforcing", "selinux.docker-labels", "containers.own-category", "lsm.module"), SELINUX),
    "apparmor.container-default": f"{DRILLS}/test_apparmor_life.py",
    "seccomp.kernel": "a kernel is built with it or without it: tests/facts has the recorded form of one without",
    "seccomp.profile-lint": "tests/unit/seccomp: a profile with errors, on an architecture that the lab does not have",
    "docker.storage-driver": "another driver needs another Docker: tests/unit/engines/docker has its answer",
    **dict.fromkeys(("networks.bridged-guests", "networks.br-netfilter"), f"{DRILLS}/test_guests.py"),
    **dict.fromkeys(
        [f"bridges.{name}" for name in ("declared", "filter", "forwarding", "meeting", "undeclared")], BRIDGES
    ),
    "bridges.switch": f"{DRILLS}/test_bridges_switch.py",
    "bridges.reverted": f"{DRILLS}/test_bridges_undo.py",
}


def broken() -> Iterator[str]:
    """The controls that some row breaks."""
    for batch in BATCHES.values():
        for row in batch:
            yield from row.says
