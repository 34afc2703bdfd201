"""What of a container's process is against a rule, in words; "" where nothing is. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from deploys.containers.rules import DEFAULT_CAPABILITIES
from deploys.core.control import some
from deploys.seccomp.profile import weaknesses
from deploys.selinux import labels
from facts.capabilities import CAPABILITIES
from facts.containers import Container, ContainersReading
from facts.core.reading import Remembering, Unknown, UnknownReading, known
from facts.engines.shapes import Waiting
from facts.processes import CONFINING, Process
from facts.seccomp import SeccompReading

PLAIN_NODES = frozenset(
    f"/dev/{name}" for name in ("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero")
)
# Within a container's own /proc and /sys: what must be read-only, and what must not be there to read (runtime-spec,
# config-linux.md, masked and read-only paths; moby: oci/defaults.go).
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list")
POD = re.compile(r"libpod_pod_([0-9a-f]{12,64})\b")  # of Podman's, in the control groups of its containers
ALL = frozenset(CAPABILITIES[:38])  # those of every kernel since 3.16
SHAREABLE = ("mnt", "pid", "net", "ipc", "uts")  # what only another option of the engine shares
# And what one container may have of another. The host's own time namespace is what every engine gives.
JOINABLE = (*SHAREABLE, "user", "cgroup", "time")
MOST = 50  # of those with whom it shares one thing: who would read more of them
# Domains that confine nothing: those for it, and those of whatever starts containers, which have them without a label.
FREE_DOMAINS = (
    "", "spc_t", "spc_user_t", "unconfined_t", "unconfined_service_t", "sysadm_t", "kernel_t", "init_t", "initrc_t",
    "container_runtime_t", "container_engine_t", "containerd_t", "crio_t", "dockerd_t", "dockerd_user_t", "podman_t",
    "podman_user_t",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Host(Remembering):
    """What a container is judged beside."""

    reading: ContainersReading
    all: tuple[Container, ...]
    privileged: frozenset[str]  # ids, as their engines say
    module: str | Unknown | None  # apparmor or selinux: what confines processes on this host
    refused: Callable[[Container], tuple[str, ...]]  # the system calls that its engine's own filter refuses to it
    seccomp: object  # the reading, or why there is none
    declared: Any  # what the policy says to the rule at hand
    sockets: tuple[str, ...] = ()  # of engines, at paths that only their readings tell

    @cached_property
    def by_namespace(self) -> dict[tuple[str, int], list[Container]]:
        """Those that share a namespace, by its kind and inode."""
        found: dict[tuple[str, int], list[Container]] = {}
        for each in self.all:
            own = each.process.namespaces if isinstance(each.process, Process) else {}
            for kind in JOINABLE:
                if kind in own:
                    found.setdefault((kind, own[kind]), []).append(each)
        return found

    @cached_property
    def by_category(self) -> dict[str, list[Container]]:
        """Those that have an SELinux category, by that."""
        found: dict[str, list[Container]] = {}
        for each in self.all:
            if isinstance(each.process, Process):
                found.setdefault(labels.categories(each.process.label), []).append(each)
        return found

    @cached_property
    def by_profile(self) -> dict[str, list[Container]]:
        """Those that an AppArmor profile confines, by its name."""
        found: dict[str, list[Container]] = {}
        for each in self.all:
            if isinstance(each.process, Process) and (confined := CONFINING.fullmatch(each.process.label)):
                found.setdefault(confined[1], []).append(each)
        return found

    @cached_property
    def one_tree(self) -> bool:
        """Whether control groups are of version 2. On version 1 engines give no container a namespace of them."""
        return any(each.type == "cgroup2" and each.point == "/sys/fs/cgroup" for each in known(self.reading.mounts))

    @cached_property
    def podman_pods(self) -> dict[int, str]:
        """By process: the pod of Podman's that its control group names."""
        groups = {each.pid: each.process.cgroup for each in self.all if isinstance(each.process, Process)}
        return {pid: found[1] for pid, group in groups.items() if (found := POD.search(group))}

    @cached_property
    def infra_pods(self) -> dict[int, frozenset[int]]:
        """By network namespace: the processes that share it with an infra container. The host's is no pod's."""
        hosts = known(self.reading.namespaces).get("net")
        return {
            inode: frozenset(each.pid for each in members)
            for (kind, inode), members in self.by_namespace.items()
            if kind == "net" and inode != hosts and any(each.name.endswith("-infra") for each in members)
        }

    def together(self, one: Container, other: Container) -> bool:
        """Whether they are of one pod: Podman's share what their infra container holds."""
        if one.pod:
            return one.pod == other.pod
        if one.engine != "podman" or not (isinstance(one.process, Process) and isinstance(other.process, Process)):
            return False
        mine, theirs = (self.podman_pods.get(each.pid) for each in (one, other))
        if mine and theirs:
            return mine == theirs
        return other.pid in self.infra_pods.get(one.process.namespaces["net"], ())

    def allows(self, own: Mapping[str, Any], calls: tuple[str, ...], caps: frozenset[str]) -> tuple[str, ...]:
        """Which of the calls a filter allows. One serves many containers, and is judged once."""
        kernel = self.seccomp
        if not isinstance(kernel, SeccompReading):
            raise UnknownReading("the kernel's architecture was not read")
        of_kernel = kernel.machine, kernel.release

        def judge() -> tuple[Mapping[str, Any], tuple[str, ...]]:
            return own, weaknesses(own, *of_kernel, calls, sorted(caps))

        try:  # with the filter itself, so that its id stays its own
            return self.reading.remember(("calls", id(own), *of_kernel, calls, caps), judge)[1]
        except (AttributeError, TypeError, ValueError) as error:
            raise UnknownReading(f"its seccomp filter has an unexpected form ({error})") from error


def process_of(container: Container) -> Process:
    return known(container.process)


def privileged(container: Container, host: Host) -> str:
    if container.id and container.id in host.privileged:
        return "is privileged"
    process = process_of(container)
    everything = capability_names(process.cap_bnd) >= ALL and process.seccomp == 0 and process.on_host_ids
    return "holds every capability and has no system call filter, as a privileged container" if everything else ""


def would(waiting: Waiting, *options: str) -> str:
    """Of a container that does not run now."""
    return f"is {waiting.status} with {some(options)} and would start so" if options else ""


def privileged_later(waiting: Waiting, host: Host) -> str:
    return would(waiting, *["--privileged"] * (waiting.privileged and waiting.user == 0))


def host_namespaces_later(waiting: Waiting, host: Host) -> str:
    return would(waiting, *(f"--{kind} host" for kind in waiting.shares))


def host_ids_later(waiting: Waiting, host: Host) -> str:
    """What the engine's default is, the engine's own rules say."""
    return would(waiting, *["--userns host"] * (waiting.user_namespace == "host" and waiting.user == 0))


def capabilities_later(waiting: Waiting, host: Host) -> str:
    allowed = DEFAULT_CAPABILITIES | set(host.declared)
    return would(waiting, *(f"--cap-add {name}" for name in waiting.capabilities if name not in allowed))


def unfiltered_later(waiting: Waiting, host: Host) -> str:
    """Which calls a profile of its own allows is seen once it runs."""
    return _secured(waiting, lambda option: option == "seccomp=unconfined")


def unconfined_later(waiting: Waiting, host: Host) -> str:
    if known(host.module) == "selinux":
        free = {f"label=type:{domain}" for domain in FREE_DOMAINS} | {"label=disable"}
        return _secured(waiting, free.__contains__)
    return _secured(waiting, lambda option: option == "apparmor=unconfined")


def unmasked_later(waiting: Waiting, host: Host) -> str:
    """Only where its root would be the host's root."""
    if waiting.user != 0 or waiting.user_namespace not in ("", "host"):
        return ""
    return _secured(waiting, lambda option: option == "systempaths=unconfined" or _unmasks(option))


def _unmasks(option: str) -> bool:
    """`unmask=ALL`, or some of what engines mask."""
    paths = option.removeprefix("unmask=").split(":") if option.startswith("unmask=") else []
    return any(path.upper() == "ALL" or "*" in path or path.startswith((*READ_ONLY, *MASKED)) for path in paths)


def _secured(waiting: Waiting, against: Callable[[str], bool]) -> str:
    return would(waiting, *(f"--security-opt {option}" for option in waiting.security if against(option)))


def devices_later(waiting: Waiting, host: Host) -> str:
    return would(waiting, *(f"--device {node}" for node in waiting.devices if node not in PLAIN_NODES))


def host_namespaces(container: Container, host: Host) -> str:
    found = host.reading.shared(process_of(container))
    shared = [kind for kind in found if kind in SHAREABLE or (kind == "cgroup" and host.one_tree)]
    return f"shares the host's {', '.join(shared)} namespace{'s' * (len(shared) > 1)}" if shared else ""


def joined_namespaces(container: Container, host: Host) -> str:
    own, hosts = process_of(container).namespaces, known(host.reading.namespaces)
    shared: dict[str, list[str]] = {}
    for kind in JOINABLE:
        apart = kind in own and own[kind] != hosts.get(kind) and not (kind == "user" and _of_the_user(container))
        others = host.by_namespace[kind, own[kind]] if apart else ()
        strangers = (each for each in others if each.pid != container.pid and not host.together(container, each))
        for other in islice(strangers, MOST):
            shared.setdefault(other.shown, []).append(kind)
    found = [f"{', '.join(kinds)} with {name}" for name, kinds in shared.items()]
    return f"shares namespaces: {some(found)}" if found else ""


def _of_the_user(container: Container) -> bool:
    """Whether it has the user namespace that a user's engine itself runs in, as all of that user's have by default."""
    return bool(container.user) and any(row[:2] == (0, container.user) for row in process_of(container).uid_map)


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
    process = process_of(container)
    if process.seccomp != 2:
        return "has no seccomp filter"
    own = known(container.filter)
    if own is None:
        return "was started without a seccomp filter of its own"
    allowed = host.allows(own, host.refused(container), capability_names(process.cap_bnd))
    return f"has a seccomp filter that allows {some(allowed)}" if allowed else ""


def new_privileges(container: Container, host: Host) -> str:
    return "" if process_of(container).no_new_privs else "can gain privileges by setuid programs"


def unconfined(container: Container, host: Host) -> str:
    process, module = process_of(container), known(host.module)
    label = process.label
    if module == "selinux":
        domain = labels.domain(label)
        return f"runs in the SELinux domain {domain or '(none)'}, which confines nothing" * (domain in FREE_DOMAINS)
    if module != "apparmor":
        return "is confined by nothing: the kernel runs without AppArmor and SELinux"
    if not (confined := CONFINING.fullmatch(label)):
        return f"is not confined by an AppArmor profile ({label or 'no label'})"
    allowed = known(process.may_write)
    return f"runs under the AppArmor profile {confined[1]}, which lets it write {some(allowed)}" if allowed else ""


def own_category(container: Container, host: Host) -> str:
    """Containers that share processes or memory share their category too, as their engines give it."""
    process = process_of(container)
    if labels.domain(process.label) in FREE_DOMAINS:
        return ""  # `unconfined` says that
    own = labels.categories(process.label)
    if not own:
        return f"has no SELinux category of its own ({process.label})"
    hosts = known(host.reading.namespaces)
    joined = [kind for kind in ("pid", "ipc") if process.namespaces[kind] != hosts.get(kind)]
    together = {each.pid for kind in joined for each in host.by_namespace[kind, process.namespaces[kind]]}
    together.add(container.pid)
    same = [each.shown for each in host.by_category[own] if each.pid not in together]
    return f"shares the SELinux category {own} with {some(same)}" if same else ""


def own_profile(container: Container, host: Host) -> str:
    """Of an engine that gives each container a profile of its own: it alone lets this one reach its files."""
    confined = CONFINING.fullmatch(process_of(container).label)
    if not confined:
        return ""  # `unconfined` says that
    same = [each.shown for each in host.by_profile[confined[1]] if each.pid != container.pid]
    return f"shares the AppArmor profile {confined[1]} with {some(same)}" if same else ""


def devices(container: Container, host: Host) -> str:
    process = process_of(container)
    terminals = {mount.point for mount in process.mounts if mount.type == "devpts"}  # as LXC mounts them
    nodes = {*known(process.nodes), *container.devices} - PLAIN_NODES - terminals
    return f"has {some(sorted(nodes))}" if nodes else ""


def unmasked(container: Container, host: Host) -> str:
    """Of a container whose root is the host's root; for any other the kernel itself refuses."""
    process = process_of(container)
    if not process.on_host_ids:
        return ""
    rows = {mount.point: mount for mount in process.mounts}
    if "/proc" not in rows:
        return ""
    there = known(host.reading.masked)
    wide = [path for path in READ_ONLY if path in there and (path not in rows or rows[path].writable)]
    wide += [path for path in MASKED if path in there and path not in rows]
    wide += ["/sys"] if "/sys" in rows and rows["/sys"].writable else []
    wide += [row.point for row in process.mounts if row.type.startswith("cgroup") and row.writable and row.root == "/"]
    return f"has no mask over {some(wide)}" if wide else ""


def limits(container: Container, host: Host) -> str:
    has = process_of(container).limits
    without = [name for name in host.declared if getattr(has, name) is None]
    return f"has no limit of {', '.join(without)}" if without else ""


def unread(containers: Collection[Container]) -> Iterator[str]:
    """The containers of which nothing is known."""
    for each in containers:
        if not isinstance(each.process, Process):
            yield f"{each.shown}: {each.process.unknown}"
