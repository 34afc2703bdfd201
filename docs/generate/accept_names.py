"""The page of the names by which consequences are accepted."""

from __future__ import annotations

from docs.generate.markdown import GENERATED, table, text

HEAD = f"""\
# Names to accept

A change that would cost something waits until its consequence is accepted by name: in the policy (`accept: [NAME]`), or
for one run (`--data accept=NAME,NAME`). The plan says which name a change waits for, under *Blocked, and how to allow
it*.

{GENERATED}
"""

# What each name lets a run do. That these are the names that the code knows is tested.
ALLOWS = {
    "userns-remap": "Images, containers and volumes that were made before are no longer visible to Docker (the plan "
    "says which, and how large they are). Undoing the change brings them back.",
    "podman-userns": "Containers of Podman's that are made again, users' too, have other ids, and read volumes and the "
    "host's folders only where those are mounted with `:U` or `:idmap`. Those that are there go on as they are.",
    "podman-api": "podman.socket is stopped, or started again as root's alone: clients of its API (docker-compose, CI "
    "runners, cockpit) lose it.",
    "containerd-cgroups": "systemd makes the control groups of Kubernetes' containers: kubelet starts no pod any more "
    "unless its cgroupDriver is systemd too.",
    "libvirt-api": "Users who are not root reach libvirt's API only as polkit allows, and programs on other "
    "machines, over its TCP port, no longer.",
    "libvirt-domains": "Domains that the policy owns (`libvirt.owned`) get ids of their own, lose capabilities, and "
    "send from no other addresses and by no IPv6 (clean-traffic) when they start next: what is in them may need these, "
    "and files that are not given to their ids are nobody's. A rollback takes these ids from them again.",
    "rootless-ranges": "A rollback takes the ids away that its run gave users who run containers without root: files "
    "in their homes may belong to nobody afterwards, or to whoever gets these ids next.",
    "userns-shift": "Users who run containers without root, and whose subordinate ids another owner has too, get other "
    "ids, and so does what their engines have stored (the plan says how much, and where). Meanwhile no process of "
    "theirs may run. Files of the old ids anywhere else are no longer theirs. A rollback shifts them back.",
    "kubelet-api": "Whoever speaks to the kubelet without credentials, or without a role for it (monitoring on ports "
    "10250 and 10255), no longer can.",
    "kubelet-node": "The kubelet's files are written on a node that kubeadm did not set up: whoever manages it may "
    "write them again, or replace the node.",
    "kubelet-seccomp": "Pods that name no seccomp profile get the container runtime's: what it forbids fails in their "
    "containers that are made from then on.",
    "incus-profile": "Instances of Incus and LXD that have the profile `default` get what new ones get: limits at "
    "once, which may end what takes more, and ids of their own at their next start.",
    "lxc-usernet": "Users whom the policy does not name lose their rows in /etc/lxc/lxc-usernet: their containers "
    "get no network device on these bridges when they start next. Those that run keep theirs.",
    "lxc-rows": "Root gets another row in /etc/subuid and /etc/subgid, for LXC, where Incus or LXD is, or root has one "
    "of more than 65,536 ids: Incus and LXD take root's rows for their own, and their instances may not start any "
    "more.",
    "nspawn-settings": "From their next start on, machines of systemd-nspawn lose what their .nspawn files say against "
    "the policy. Those that run go on as they are.",
    "nspawn-ids": "Machines of systemd-nspawn get ids of their own where no mount can map ids: at their next start all "
    "of their files get these as owners. A rollback has them start with the host's ids, and gives no file back.",
    "nspawn-limits": "Machines of systemd-nspawn that run get the limits of tasks and memory too: what takes more is "
    "stopped.",
    "container-restart": "Running containers are stopped and started again. Without it they go on running under "
    "live-restore.",
    "remove-engine": "A rollback removes the container engine that its run installed, although it holds images, "
    "containers or volumes. These stay on the disk.",
    "network-isolation": "Running containers on a network of their own no longer reach each other.",
    "host-services": "Running containers no longer reach what the host itself serves, except what the policy names.",
    "forward-drop": "A host that may be a router for others than containers forwards nothing else any more.",
    "rootless-containers": "What users run in user namespaces of their own (rootless Podman, a browser's sandbox) no "
    "longer starts.",
    "bridged-guests": "Guests on a bridge that is not the container engine's no longer reach each other, "
    "nor the network beyond it.",
    "metadata": "Running containers and guests no longer get credentials from the cloud's metadata address.",
    "kernel-retry": "A kernel that was booted on trial and did not pass is tried once more.",
    "selinux-denials": "SELinux enforces, although permissive mode showed that something would be refused.",
    "reverted-selinux": "Enforcing mode, which the host has reverted by itself, is tried again.",
    "container-profile": "Running containers come under the stricter AppArmor profile at once, or although it was seen "
    "to refuse what they do.",
    "reverted-network": "A network change that the host has reverted by itself is tried again.",
    "retry": "What an earlier run did without effect (every step succeeded, and the finding still does not hold) is "
    "done once more.",
}


def accept_names_page() -> str:
    rows = ((f"`{name}`", text(allowed)) for name, allowed in ALLOWS.items())
    return "\n".join([HEAD, *table(("Name", "What is accepted"), rows)])
