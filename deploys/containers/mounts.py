"""What a container reaches of the host's files, and of another container's, in words; "" where nothing. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath

from deploys.containers.judge import MOST, PLAIN_NODES, Host, process_of, would
from deploys.core.control import some
from facts.containers import Container
from facts.engines.shapes import Waiting
from facts.processes import Mount, Process

# An engine's socket is root on the host, however it is mounted; so is any folder around it.
SOCKETS = (
    "/run/docker.sock", "/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock",
    "/run/podman/podman.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock", "/run/buildkit/buildkitd.sock",
    "/run/k3s/containerd/containerd.sock", "/run/k0s/containerd.sock", "/var/snap/microk8s/common/run/containerd.sock",
    "/run/libvirt/libvirt-sock", "/run/libvirt/virtlxcd-sock", "/run/libvirt/virtqemud-sock",
    "/run/libvirt/virtproxyd-sock", "/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket",
    "/var/lib/incus/unix.socket",
)  # fmt: skip
USER_SOCKETS = re.compile(
    r"/run/user(/[0-9]+(/(podman|libvirt|buildkit)|/podman/podman\.sock|/libvirt/\w+-sock|/buildkit/buildkitd\.sock"
    r"|/docker\.sock)?)?"
)
# Folders of the host's own, and what is below them, which must not be written.
HOST_FOLDERS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/sbin", "/sys", "/usr", "/var/lib/containerd",
    "/var/lib/containers", "/var/lib/docker", "/var/lib/kubelet", "/var/lib/libvirt", "/var/lib/lxc", "/var/spool/cron",
)  # fmt: skip
ANCESTORS = frozenset(str(parent) for path in HOST_FOLDERS for parent in PurePosixPath(path).parents)
# What engines themselves mount: volumes, also with userns-remap, and files of a container, of another one too where its
# network is shared.
VOLUMES = re.compile(
    r"(/var/lib/docker(/[0-9]+\.[0-9]+)?|/var/lib/containers/storage)/volumes/.+"
    r"|/var/lib/kubelet/pods/[^/]+/(etc-hosts|containers/.+|volumes?(-subpaths)?/.+)"
    r"|/var/lib/kubelet/plugins/kubernetes\.io/.+"
)
FILES = re.compile(
    r"/.*/containers/[0-9a-f]{64}/(hosts|hostname|resolv\.conf|mounts/shm)"
    r"|/.*/[a-z0-9]+-containers/[0-9a-f]{64}/userdata/.+"
    r"|/var/(lib/(incus|lxd)|snap/lxd/common/lxd)/(guestapi|devlxd)"
    r"|/.*/sandboxes/[0-9a-f]{64}/(hostname|hosts|resolv\.conf|shm)"
)
PSEUDO = re.compile(r"/(proc|sys)(/.*)?")  # within a container, what `unmasked` looks at, if it is of these types
PSEUDO_TYPES = ("proc", "sysfs", "cgroup", "cgroup2", "tmpfs")
HARMLESS = PLAIN_NODES | {"/dev/shm", "/dev/mqueue"}  # the last two come with the host's IPC namespace
LXCFS = "fuse.lxcfs"  # what LXC shows each container of itself in /proc


def mounts_later(waiting: Waiting, host: Host) -> str:
    """As far as the paths that it was asked for with are no links."""
    sockets = (*SOCKETS, *host.sockets)
    found = (_exposed(path, Mount("", "", path, writable, ""), sockets) for path, writable in waiting.mounts)
    said = [each for each in found if each]
    return would(waiting, f"the host's {some(said)} mounted") if said else ""


def mounts(container: Container, host: Host) -> str:
    found: dict[str, str] = {}
    for mount in _given(container):
        if _within(mount.point, found):
            continue
        said = (_exposed(path, mount, (*SOCKETS, *host.sockets)) for path in host.reading.on_host(mount))
        if first := next(filter(None, said), ""):
            found[mount.point] = first
    said = (f"{what} at {point}" for point, what in found.items())
    return f"has the host's {some(said)}" if found else ""


def _given(container: Container) -> Iterator[Mount]:
    """What is mounted into it, but its /proc and /sys. The kernel's own file systems refuse what is not the host's
    root; what is a device is told by `devices`."""
    process = process_of(container)
    nodes = process.nodes if isinstance(process.nodes, tuple) else ()
    for mount in process.mounts:
        inside = PSEUDO.fullmatch(mount.point) and (mount.type in PSEUDO_TYPES or not process.on_host_ids)
        if not (inside or mount.point in nodes):
            yield mount


def _exposed(path: str, mount: Mount, sockets: Collection[str]) -> str:
    """What a mount gives away: an engine's socket in any case, the host's own files where they can be written."""
    if mount.point == "/" and path != "/":  # its own root, where that is no overlay
        return ""
    if socket := next((each for each in sockets if each == path or each.startswith(f"{path.rstrip('/')}/")), ""):
        return path if path == socket else f"{path} (with {socket} in it)"
    if USER_SOCKETS.fullmatch(path):
        return f"{path} (where users' engines have their sockets)"
    if path in HARMLESS or VOLUMES.fullmatch(path) or FILES.fullmatch(path):
        return ""
    below = any(path == folder or path.startswith(f"{folder}/") for folder in HOST_FOLDERS)
    return f"{path} (writable)" if mount.writable and (below or path in ANCESTORS) else ""


def _within(point: str, reported: Collection[str]) -> bool:
    """Whether what is mounted around it was reported: everything below comes along."""
    return any(outer != "/" and point.startswith(f"{outer}/") for outer in reported)


Place = tuple[str, str]  # a device, and a path of its own tree
Holder = tuple[Container, Mount]


@dataclass(frozen=True)
class Places:
    """Who has which place, and who has one below it."""

    at: dict[Place, list[Holder]] = field(default_factory=dict)
    below: dict[Place, list[Holder]] = field(default_factory=dict)

    def add(self, container: Container, mount: Mount) -> None:
        self.at.setdefault((mount.device, mount.root), []).append((container, mount))
        for parent in PurePosixPath(mount.root).parents:
            self.below.setdefault((mount.device, str(parent)), []).append((container, mount))

    def meeting(self, mount: Mount) -> Iterator[Holder]:
        """Who has the same place, one around it or one below it."""
        for path in (mount.root, *map(str, PurePosixPath(mount.root).parents)):
            yield from self.at.get((mount.device, path), ())
        yield from self.below.get((mount.device, mount.root), ())


def shared(container: Container, host: Host) -> str:
    """Volumes and paths of the host's that it and another one have, where one of the two may write: by them, and by
    the sockets in them, one reaches the other. What `mounts` tells of is not told again."""
    everybody, writers = host.remember("places", lambda: _places(host))
    found: dict[str, dict[str, None]] = {}
    for mount, path in _sharable(container, host):
        meeting = (everybody if mount.writable else writers).meeting(mount)
        strangers = (each for each in meeting if each[0].pid != container.pid and not host.together(container, each[0]))
        for other, theirs in islice(strangers, MOST):
            said = f"{path}{' (writable)' * mount.writable}"
            found.setdefault(said, {})[f"{other.shown}{' (writable)' * theirs.writable}"] = None
    return "shares the host's " + some(f"{what} with {some(names)}" for what, names in found.items()) if found else ""


def _places(host: Host) -> tuple[Places, Places]:
    """Everybody's, and of those those that may be written."""
    everybody, writers = Places(), Places()
    for container in host.all:
        for mount, _ in _sharable(container, host) if isinstance(container.process, Process) else ():
            everybody.add(container, mount)
            if mount.writable:
                writers.add(container, mount)
    return everybody, writers


def _sharable(container: Container, host: Host) -> Iterator[tuple[Mount, str]]:
    """Its mounts of what the host has mounted as well, with where that is on the host."""
    for mount in _given(container):
        paths = host.reading.on_host(mount) if mount.type != LXCFS else ()
        if not paths or any(path in HARMLESS or FILES.fullmatch(path) for path in paths):
            continue
        if not any(_exposed(path, mount, (*SOCKETS, *host.sockets)) for path in paths):
            yield mount, paths[0]
