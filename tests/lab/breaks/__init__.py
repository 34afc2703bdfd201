"""What is broken on a hardened host, one row for each way: what drift has to say of it, and who mends it.

A batch is broken at once, on a host of its own: its rows do not touch each other. Each control is broken in some row,
or is named in ELSEWHERE with the drill that breaks it, or with the reason why none can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.lab.breaks.containers import CONTAINERS
from tests.lab.breaks.daemon import BOOT, DAEMON
from tests.lab.breaks.row import Break
from tests.lab.breaks.settings import DISK, LIVE
from tests.lab.breaks.sysctls import UBUNTU, control

BATCHES: Mapping[str, Sequence[Break]] = {
    "live": LIVE,
    "disk": DISK,
    "daemon": DAEMON,
    "boot": BOOT,
    "containers": CONTAINERS,
}

DRILLS = "tests/lab/drills"
BRIDGES = f"{DRILLS}/test_bridges.py"
UPDATES = f"{DRILLS}/test_kernel_update.py"
SELINUX = f"{DRILLS}/test_selinux.py"
A_WORD = "another word of the same row of kernel.boot, which costs an emulated host too much"
PODMAN = [f"podman.{name}" for name in (
    "settings", "user-namespace", "capabilities", "seccomp", "confined", "no-new-privileges", "private", "pids",
    "memory", "log-driver", "keyring", "read-only", "networks", "api",
)]  # fmt: skip
LIBVIRT = [f"libvirt.{name}" for name in (
    "settings", "confined", "require-confined", "unprivileged-emulators", "seccomp-sandbox", "authenticated", "tcp",
    "api-users", "host-ids", "unlabelled", "emulated-devices", "domain-capabilities", "filtered",
)] + [f"containers.{name}" for name in ("guests", "guest-devices", "own-profile")]  # fmt: skip
CONTAINERD = [f"containerd.{name}" for name in (
    "settings", "seccomp", "confined", "restrict-oom-score-adj", "systemd-cgroup", "devices", "registries", "socket",
    "tcp",
)]  # fmt: skip
ROOTLESS = [f"rootless.{name}" for name in (
    "users", "allowed", "ranges", "helpers", "linger", "api", "memory", "pids", "cpu",
)]  # fmt: skip
KUBELET = [f"kubelet.{name}" for name in (
    "settings", "anonymous", "authorization", "client-ca", "read-only-port", "streaming-timeout", "iptables-chains",
    "hostname-override", "event-qps", "server-certificate", "rotate-certificates", "rotate-server-certificate",
    "ciphers", "pod-pids", "seccomp-default", "protect-kernel-defaults", "user-namespaces", "files", "credentials",
    "pod-separation",
)]  # fmt: skip
NO_KVM = "the lab's hosts have no /dev/kvm: tests/unit/kernel breaks its reading"
KUBELETS_DRILL = ("settings", "anonymous", "authorization", "read-only-port", "event-qps", "pod-pids", "credentials",
                  "protect-kernel-defaults", "pod-separation")  # fmt: skip
NO_KUBELET = "the kubelet of the lab is old, or no cluster answers it: tests/unit/engines/kubelet breaks its readings"
LXC = [f"lxc.{name}" for name in (
    "settings", "user-namespace", "seccomp", "capabilities", "confined", "nesting", "no-new-privileges", "private",
    "pids", "memory", "slice", "usernet", "cpu-weight", "io-weight", "host-ids", "weakened",
)]  # fmt: skip
INCUS = [f"incus.{name}" for name in (
    "isolated", "pids", "memory", "privileged", "nesting", "raw", "address", "api-users",
)]  # fmt: skip
NO_CLIENT = "no client of Incus elsewhere is in the lab: tests/unit/engines/incus breaks its answers"
NSPAWN = [f"nspawn.{name}" for name in (
    "user-namespace", "settings", "capabilities", "refused-calls", "no-new-privileges", "private-network",
    "pids", "memory", "machines", "files",
)]  # fmt: skip
ELSEWHERE: Mapping[str, str] = {
    "cgroups.io": f"{DRILLS}/test_cgroups.py",
    "cgroups.version": "another boot parameter, which costs an emulated host too much: tests/facts has the forms",
    **dict.fromkeys(map(control, UBUNTU), "Debian's kernel does not have it: tests/facts has Ubuntu's recorded form"),
    **dict.fromkeys(
        [f"kernel.boot.{name}" for name in ("init_on_free", "pti", "page_poison", "iommu", "mitigations")], A_WORD
    ),
    "kernel.boot.module.sig_enforce": A_WORD,
    **dict.fromkeys(("kernel.nested-virtualisation", "kernel.kvm-users"), NO_KVM),
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
    **dict.fromkeys(PODMAN, f"{DRILLS}/test_podman.py"),
    **dict.fromkeys(CONTAINERD, f"{DRILLS}/test_containerd.py"),
    **dict.fromkeys(
        ("containerd.image-verifier", "containerd.user-namespaces"),
        "containerd 2 has it, Debian 13's has not: tests/unit/engines/containerd",
    ),
    **dict.fromkeys(LIBVIRT, f"{DRILLS}/test_libvirt.py"),
    **dict.fromkeys(ROOTLESS, f"{DRILLS}/test_rootless_users.py"),
    **dict.fromkeys(KUBELET, NO_KUBELET),
    **dict.fromkeys([f"kubelet.{name}" for name in KUBELETS_DRILL], f"{DRILLS}/test_kubelet.py"),
    **dict.fromkeys(LXC, f"{DRILLS}/test_lxc.py"),
    **dict.fromkeys(INCUS, f"{DRILLS}/test_incus.py"),
    "incus.certificates": NO_CLIENT,
    "rkt.ended": "no distribution has rkt any more: tests/unit/containers leaves its traces",
    **dict.fromkeys(NSPAWN, f"{DRILLS}/test_nspawn.py"),
    "bridges.switch": f"{DRILLS}/test_bridges_switch.py",
    "bridges.reverted": f"{DRILLS}/test_bridges_undo.py",
}


def broken() -> Iterator[str]:
    """The controls that some row breaks."""
    for batch in BATCHES.values():
        for row in batch:
            yield from row.says
