"""The names by which consequences are accepted: what each allows, and which controls' changes may wait for it, when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True)
class Accepting:
    """A name's row. `allows`: what a run may do where it is accepted; `when`: when a change waits for it; `controls`:
    ids, or patterns of them, of the controls that the change is for; none where only a rollback waits for it."""

    allows: str
    when: str
    controls: tuple[str, ...]


# What restarts Docker's daemon.
DAEMON = (
    *(f"docker.{name}" for name in (
        "userland-proxy", "log-driver", "log-opts", "log-level", "default-ulimits", "default-address-pools", "iptables",
        "ip6tables", "experimental", "no-new-privileges", "insecure-registries", "no-tcp",
    )),
    "networks.icc", "seccomp.default-profile", "apparmor.container-default", "selinux.docker-labels",
    "cgroups.docker-parent", "userns.ranges", "userns.docker-remap",
)  # fmt: skip

# That these are the names, and the controls, that the code knows is tested.
ACCEPTS = {
    "userns-remap": Accepting(
        "Images, containers and volumes that were made before are no longer visible to Docker (the plan "
        "says which, and how large they are). Undoing the change brings them back.",
        "where images, containers or volumes were made without the remapping, or containers run",
        ("userns.docker-remap", "userns.ranges"),
    ),
    "podman-userns": Accepting(
        "Containers of Podman's that are made again, users' too, have other ids, and read volumes and the "
        "host's folders only where those are mounted with `:U` or `:idmap`. Those that are there go on as they are.",
        "where Podman's volumes, or folders of the host that its containers mount, would be read with other ids",
        ("podman.user-namespace",),
    ),
    "podman-api": Accepting(
        "podman.socket is stopped, or started again as root's alone: clients of its API (docker-compose, CI "
        "runners, cockpit) lose it.",
        "where podman.socket serves somebody",
        ("podman.api",),
    ),
    "containerd-cgroups": Accepting(
        "systemd makes the control groups of Kubernetes' containers: kubelet starts no pod any more "
        "unless its cgroupDriver is systemd too.",
        "always: whether kubelet's cgroupDriver is systemd, the policy's author has to see",
        ("containerd.systemd-cgroup",),
    ),
    "libvirt-api": Accepting(
        "Users who are not root reach libvirt's API only as polkit allows, and programs on other "
        "machines, over its TCP port, no longer.",
        "where somebody who is not root, or on another machine, may speak to libvirt",
        ("libvirt.authenticated", "libvirt.tcp"),
    ),
    "libvirt-domains": Accepting(
        "Domains that the policy owns (`libvirt.owned`) get ids of their own, lose capabilities, and "
        "send from no other addresses and by no IPv6 (clean-traffic) when they start next: what is in them may need "
        "these, and files that are not given to their ids are nobody's. A rollback takes these ids from them again.",
        "where the policy owns domains (`libvirt.owned`) that are declared otherwise",
        (
            "libvirt.host-ids",
            "libvirt.domain-capabilities",
            "libvirt.filtered",
            "libvirt.unlabelled",
            "libvirt.emulated-devices",
        ),
    ),
    "rootless-ranges": Accepting(
        "A rollback takes the ids away that its run gave users who run containers without root: files "
        "in their homes may belong to nobody afterwards, or to whoever gets these ids next.",
        "a rollback that would take ranges of ids from users",
        (),
    ),
    "kubelet-api": Accepting(
        "Whoever speaks to the kubelet without credentials, or without a role for it (monitoring on ports "
        "10250 and 10255), no longer can.",
        "where the kubelet answers who gives no credentials or has no role",
        ("kubelet.anonymous", "kubelet.authorization", "kubelet.read-only-port"),
    ),
    "kubelet-node": Accepting(
        "The kubelet's files are written on a node that kubeadm did not set up: whoever manages it may "
        "write them again, or replace the node.",
        "where kubeadm did not set the node up",
        ("kubelet.*",),
    ),
    "kubelet-seccomp": Accepting(
        "Pods that name no seccomp profile get the container runtime's: what it forbids fails in their "
        "containers that are made from then on.",
        "always: what pods need the profile to allow is not known",
        ("kubelet.seccomp-default",),
    ),
    "incus-profile": Accepting(
        "Instances of Incus and LXD that have the profile `default` get what new ones get: limits at "
        "once, which may end what takes more, and ids of their own at their next start.",
        "where instances have the profile `default`",
        ("incus.isolated", "incus.pids", "incus.memory"),
    ),
    "lxc-usernet": Accepting(
        "Users whom the policy does not name lose their rows in /etc/lxc/lxc-usernet: their containers "
        "get no network device on these bridges when they start next. Those that run keep theirs.",
        "where users whom the policy does not name have rows",
        ("lxc.usernet",),
    ),
    "lxc-rows": Accepting(
        "Root gets another row in /etc/subuid and /etc/subgid, for LXC, where Incus or LXD is, or root has one "
        "of more than 65,536 ids: Incus and LXD take root's rows for their own, and their instances may not start any "
        "more.",
        "where Incus or LXD is on the host, or root has a large range already",
        ("lxc.user-namespace",),
    ),
    "nspawn-settings": Accepting(
        "From their next start on, machines of systemd-nspawn lose what their .nspawn files say against "
        "the policy. Those that run go on as they are.",
        "where machines' .nspawn files say otherwise",
        (
            "nspawn.settings",
            "nspawn.capabilities",
            "nspawn.no-new-privileges",
            "nspawn.pids",
            "nspawn.memory",
            "nspawn.private-network",
            "nspawn.refused-calls",
            "nspawn.user-namespace",
        ),
    ),
    "nspawn-ids": Accepting(
        "Machines of systemd-nspawn get ids of their own where no mount can map ids: at their next start all "
        "of their files get these as owners. A rollback has them start with the host's ids, and gives no file back.",
        "where a machine's files lie on a file system whose mounts cannot map ids",
        ("nspawn.settings", "nspawn.user-namespace"),
    ),
    "nspawn-limits": Accepting(
        "Machines of systemd-nspawn that run get the limits of tasks and memory too: what takes more is stopped.",
        "where machines run",
        ("nspawn.pids", "nspawn.memory"),
    ),
    "container-restart": Accepting(
        "Running containers are stopped and started again. Without it they go on running under live-restore.",
        "where containers run, and a restart of the engine would stop them or they have to be started again",
        (*DAEMON, "containers.confined", "containers.seccomp", "containerd.*"),
    ),
    "remove-engine": Accepting(
        "A rollback removes the container engine that its run installed, although it holds images, "
        "containers or volumes. These stay on the disk.",
        "a rollback that would remove an engine that holds data",
        (),
    ),
    "network-isolation": Accepting(
        "Running containers on a network of their own no longer reach each other.",
        "where containers, or ports on a bridge, may reach each other now",
        ("networks.icc", "bridges.*"),
    ),
    "host-services": Accepting(
        "Running containers no longer reach what the host itself serves, except what the policy names.",
        "where containers or guests may use services of the host that the policy does not name",
        ("networks.host-services", "bridges.*"),
    ),
    "forward-drop": Accepting(
        "A host that may be a router for others than containers forwards nothing else any more.",
        "where the host may forward for others",
        ("networks.forwarding",),
    ),
    "rootless-containers": Accepting(
        "What users run in user namespaces of their own (rootless Podman, a browser's sandbox) no longer starts.",
        "where users run programs in user namespaces, or the policy lets them run containers",
        ("kernel.sysctl.kernel.unprivileged_userns_clone",),
    ),
    "bridged-guests": Accepting(
        "Guests on a bridge that is not the container engine's no longer reach each other, nor the network beyond it.",
        "where frames on bridges of others would be dropped",
        ("networks.forwarding", "networks.br-netfilter", "networks.bridged-guests", *DAEMON),
    ),
    "metadata": Accepting(
        "Running containers and guests no longer get credentials from the cloud's metadata address.",
        "where containers or guests may get the instance's credentials",
        ("bridges.filter",),
    ),
    "kernel-retry": Accepting(
        "A kernel that was booted on trial and did not pass is tried once more.",
        "where a kernel, or a boot parameter, has failed its trial",
        ("kernel.reboot-needed", "kernel.update", "kernel.boot.*"),
    ),
    "selinux-denials": Accepting(
        "SELinux enforces, although permissive mode showed that something would be refused.",
        "where permissive mode has recorded denials",
        ("selinux.enforcing",),
    ),
    "reverted-selinux": Accepting(
        "Enforcing mode, which the host has reverted by itself, is tried again.",
        "where the host has gone back to permissive",
        ("selinux.enforcing",),
    ),
    "container-profile": Accepting(
        "Running containers come under the stricter AppArmor profile at once, or although it was seen "
        "to refuse what they do.",
        "where running containers would come under the profile at once, or it was seen to refuse what they do",
        ("apparmor.container-profile", "apparmor.docker-profile"),
    ),
    "reverted-network": Accepting(
        "A network change that the host has reverted by itself is tried again.",
        "where the host has reverted the change before",
        ("bridges.*",),
    ),
    "retry": Accepting(
        "What an earlier run did without effect (every step succeeded, and the finding still does not hold) is "
        "done once more.",
        "where an earlier run has done it without effect",
        ("*",),
    ),
}


def waits(control: str) -> Iterator[tuple[str, Accepting]]:
    """The names that changes for a control may wait for, each with its row."""
    for name, row in ACCEPTS.items():
        if any(fnmatch(control, pattern) for pattern in row.controls):
            yield name, row
