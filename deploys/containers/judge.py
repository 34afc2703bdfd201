"""What of a container's process is against a rule, in words; "" where nothing is. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from deploys.containers.rules import CAPABILITIES, DEFAULT_CAPABILITIES
from deploys.core.control import some
from facts.containers import Container, ContainersReading
from facts.core.reading import Unknown, known
from facts.processes import Mount, Process

# An engine's socket is root on the host, however it is mounted; so is any folder around it.
SOCKETS = (
    "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/crio/crio.sock",
    "/run/libvirt/libvirt-sock",
)  # fmt: skip
# Folders of the host's own, and what is below them, which must not be written.
HOST_FOLDERS = ("/boot", "/dev", "/etc", "/proc", "/root", "/sys", "/usr", "/var/lib/containerd", "/var/lib/containers",
                "/var/lib/docker", "/var/lib/kubelet", "/var/lib/libvirt", "/var/lib/lxc")  # fmt: skip
ANCESTORS = frozenset(str(parent) for path in HOST_FOLDERS for parent in PurePosixPath(path).parents)
# What engines themselves mount from there: a container's own files, and volumes.
VOLUMES = ("/var/lib/docker/volumes/", "/var/lib/containers/storage/volumes/")
# Of another container too, where its network is shared.
ENGINE_FILES = re.compile(
    r"/containers/[0-9a-f]{64}/(hosts|hostname|resolv\.conf|mounts/shm)|/[a-z0-9]+-containers/[0-9a-f]{64}/userdata/.+"
)
PSEUDO = ("/proc", "/sys")  # within a container, what `unmasked` looks at
PLAIN_NODES = frozenset(
    f"/dev/{name}" for name in ("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero")
)
HARMLESS = PLAIN_NODES | {"/dev/shm", "/dev/mqueue"}  # the last two come with the host's IPC namespace
# Within a container's own /proc and /sys: what must be read-only, and what must not be there to read (runtime-spec,
# config-linux.md, masked and read-only paths; moby: oci/defaults.go).
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware")
ALL = frozenset(CAPABILITIES[:38])  # those of every kernel since 3.16
SHAREABLE = ("mnt", "pid", "net", "ipc", "uts")  # what only another option of the engine shares
CONFINING = (" (enforce)", " (kill)")
SPC = ("", "spc_t", "unconfined_t", "container_runtime_t", "initrc_t")  # domains that confine nothing


@dataclass(frozen=True)
class Host:
    """What a container is judged beside."""

    reading: ContainersReading
    all: tuple[Container, ...]
    privileged: frozenset[str]  # ids, as their engines say
    module: str | Unknown | None  # apparmor or selinux: what confines processes on this host
    declared: Any  # what the policy says to the rule at hand


def process_of(container: Container) -> Process:
    return known(container.process)


def privileged(container: Container, host: Host) -> str:
    if container.id and container.id in host.privileged:
        return "is privileged"
    process = process_of(container)
    everything = capability_names(process.cap_bnd) >= ALL and process.seccomp == 0 and process.on_host_ids
    return "holds every capability and has no system call filter, as a privileged container" if everything else ""


def host_namespaces(container: Container, host: Host) -> str:
    shared = [kind for kind in host.reading.shared(process_of(container)) if kind in SHAREABLE]
    return f"shares the host's {', '.join(shared)} namespace{'s' * (len(shared) > 1)}" if shared else ""


def joined_namespaces(container: Container, host: Host) -> str:
    own, hosts = process_of(container).namespaces, known(host.reading.namespaces)
    found = []
    for other in host.all:
        if other.pid == container.pid or not isinstance(other.process, Process):
            continue
        theirs = other.process.namespaces
        kinds = [kind for kind in SHAREABLE if own[kind] == theirs[kind] != hosts.get(kind)]
        if kinds and not _one_pod(container, other, host):
            found.append(f"{', '.join(kinds)} with {other.shown}")
    return f"shares namespaces: {some(found)}" if found else ""


def _one_pod(one: Container, other: Container, host: Host) -> bool:
    """Podman's pods share what their infra container holds."""
    net = process_of(one).namespaces["net"]
    members = (each for each in host.all if isinstance(each.process, Process) and each.process.namespaces["net"] == net)
    return one.engine == other.engine == "podman" and any(each.name.endswith("-infra") for each in members)


def host_ids(container: Container, host: Host) -> str:
    return "runs as the host's own users: its root is the host's root" if process_of(container).on_host_ids else ""


def capabilities(container: Container, host: Host) -> str:
    process = process_of(container)
    held = capability_names(process.cap_eff | process.cap_bnd | process.cap_amb)
    beyond = held - DEFAULT_CAPABILITIES - set(host.declared)
    if len(beyond) > 8:
        return f"may hold {len(beyond)} capabilities beyond the allowed ones"
    return f"may hold {', '.join(sorted(beyond))}" if beyond else ""


def capability_names(mask: int) -> frozenset[str]:
    """The names of a capability mask; a bit that has no name here is its number."""
    named = dict(enumerate(CAPABILITIES))
    return frozenset(named.get(bit, str(bit)) for bit in range(mask.bit_length()) if mask >> bit & 1)


def unfiltered(container: Container, host: Host) -> str:
    if process_of(container).seccomp != 2:
        return "has no seccomp filter"
    refuses = [action for action in container.filter if not action.endswith(("_ALLOW", "_LOG"))]
    return "has a seccomp filter that refuses nothing" if container.filter and not refuses else ""


def new_privileges(container: Container, host: Host) -> str:
    return "" if process_of(container).no_new_privs else "can gain privileges by setuid programs"


def unconfined(container: Container, host: Host) -> str:
    label, module = process_of(container).label, known(host.module)
    if module == "selinux":
        domain = label.split(":")[2] if label.count(":") > 2 else ""
        return f"runs in the SELinux domain {domain or '(none)'}, which confines nothing" if domain in SPC else ""
    if module != "apparmor":
        return "is confined by nothing: the kernel runs without AppArmor and SELinux"
    return "" if label.endswith(CONFINING) else f"is not confined by an AppArmor profile ({label or 'no label'})"


def devices(container: Container, host: Host) -> str:
    beyond = [node for node in process_of(container).nodes if node not in PLAIN_NODES]
    return f"has {some(beyond)}" if beyond else ""


def mounts(container: Container, host: Host) -> str:
    found: dict[str, str] = {}
    for mount in process_of(container).mounts:
        path = host.reading.on_host(mount)
        inside = mount.point in PSEUDO or mount.point.startswith(tuple(f"{each}/" for each in PSEUDO))
        if path is None or inside or _within(mount.point, found) or _own(path):
            continue
        if said := _exposed(path, mount):
            found[mount.point] = said
    return f"has the host's {some(found.values())} mounted" if found else ""


def _exposed(path: str, mount: Mount) -> str:
    """What a mount gives away: an engine's socket in any case, the host's own files where they can be written."""
    if socket := next((each for each in SOCKETS if each == path or each.startswith(f"{path.rstrip('/')}/")), ""):
        return path if path == socket else f"{path} (with {socket} in it)"
    below = any(path == folder or path.startswith(f"{folder}/") for folder in HOST_FOLDERS)
    return f"{path} (writable)" if mount.writable and (below or path in ANCESTORS) else ""


def _within(point: str, reported: Collection[str]) -> bool:
    """Whether what is mounted around it was reported: everything below comes along."""
    return any(point.startswith(f"{outer.rstrip('/')}/") for outer in reported)


def _own(path: str) -> bool:
    """Whether it is of the engine's own making: a container's files, a volume, what each container has."""
    file = ENGINE_FILES.search(path)
    return bool(file and file.end() == len(path)) or path.startswith(VOLUMES) or path in HARMLESS


def unmasked(container: Container, host: Host) -> str:
    """Of a container whose root is the host's root; for any other the kernel itself refuses."""
    process = process_of(container)
    if not process.on_host_ids:
        return ""
    rows = {mount.point: mount for mount in process.mounts}
    if "/proc" not in rows:
        return ""
    open_ones = [path for path in READ_ONLY if path not in rows or rows[path].writable]
    open_ones += [path for path in MASKED if path not in rows and path.rpartition("/")[0].split("/")[1] != "sys"]
    if "/sys" in rows and rows["/sys"].writable:
        open_ones.append("/sys")
    return f"has no mask over {some(open_ones)}" if open_ones else ""


def limits(container: Container, host: Host) -> str:
    has = process_of(container).limits
    without = [name for name in host.declared if getattr(has, name) is None]
    return f"has no limit of {', '.join(without)}" if without else ""


def unread(containers: Collection[Container]) -> Iterator[str]:
    """The containers of which nothing is known."""
    for each in containers:
        if not isinstance(each.process, Process):
            yield f"{each.shown}: {each.process.unknown}"
