"""Every running container, whichever engine started it, and what the kernel holds its first process to.

An engine's adapter (facts/engines/NAME/list.sh) names its containers from the files that it keeps; those of engines
that keep none are known by the process that has started them (monitors.py). No client is started and no daemon asked.
What has a process namespace of its own and is named by neither is there too, without an engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from facts import monitors, processes
from facts.core.fact import SectionFact
from facts.core.json_text import load_first
from facts.core.reading import Block, Jsonable, OfOneHost, Section, Unknown, attempt, known
from facts.filters import Filter as Filter
from facts.filters import Filters
from facts.guests import Guest, read_guests
from facts.monitors import Monitor
from facts.processes import INIT, Mount, Process
from facts.quadlets import read_quadlets
from facts.waiting import Waiting

HERE = Path(__file__).parent
ENGINES = ("docker", "podman", "lxc", "nspawn", "libvirt", "containerd", "rkt")
LISTS = (
    HERE / "containers.sh",
    *(HERE / "engines" / name / "list.sh" for name in ENGINES),
    *(HERE / f"{name}.sh" for name in ("unlisted", "words", "monitors", "lxc_files", "filters", "guests", "listed")),
)
BUNDLED = ("docker", "podman", "containerd")  # engines that start containers from OCI images and bundles

ID = "[0-9a-f]{64}"
SPACE = "[A-Za-z0-9][A-Za-z0-9_.-]*"  # containerd: an id, or the namespace that it is in
# Of control groups that are a container's: those of the engines without an adapter, and of runc and crun by hand.
CONTAINER_GROUP = re.compile(
    rf"/(lxc\.payload|machine\.slice|machine|libpod|crio|docker|cri-containerd|kubepods|nerdctl)\b|[-/]{ID}\b"
)
SERVICE_GROUP = re.compile(r"\.service(/|$)|/user\.slice/.*\.scope$|/init\.scope")
NO_BUNDLE = Unknown("its bundle was not found, and so not the seccomp filter in it")
USERS_BUNDLE = Unknown("its bundle, which is its user's own, could not be read in time, and so not the filter in it")
UNABLE = "find(1) on this host tells nothing of links, so containers that no engine's files name are not seen"
LATE = "users.late"  # the block that is there where users' containers were left off


@dataclass(frozen=True)
class Container(Jsonable):
    """A running container: who runs it, and what its first process is held to."""

    engine: str  # docker, lxc, …; "" where no engine named it
    user: int  # whose engine it is; 0 for root's own
    id: str
    name: str  # the engine's; else the first 12 characters of `id`; else the control group's
    pid: int
    filter: Filter
    process: Process | Unknown
    devices: tuple[str, ...] = ()  # of the host, as its engine was asked for them
    image: str = ""  # what it was made from, as its engine was asked for it; "" where that is not known
    pod: str = ""  # the id of the Kubernetes pod that it is of

    @property
    def bundled(self) -> bool:
        """Whether its engine makes containers from OCI images and bundles."""
        return self.engine in BUNDLED

    @property
    def nameless(self) -> bool:
        return self.name == self.id[:12]

    @property
    def shown(self) -> str:
        """Its name for people: `web` of root's Docker, `podman:web`, `podman:web (user 1000)`."""
        name = f"{self.engine}:{self.name}" if self.engine not in ("", "docker") else self.name
        return f"{name} (user {self.user})" if self.user else name


OWN: Mapping[str, Any] = {
    **dict.fromkeys(("containers", "unlisted", "mounts", "declared", "guests"), ()),
    "namespaces": {},
}


@dataclass(frozen=True)
class ContainersReading(OfOneHost, own=OWN):
    engines: tuple[str, ...]  # those whose program is there
    containers: tuple[Container, ...] | Unknown  # those that an engine named
    unlisted: tuple[Container, ...] | Unknown  # those that none named
    namespaces: dict[str, int] | Unknown  # the host's own: kind -> inode
    mounts: tuple[Mount, ...] | Unknown  # the host's own
    masked: tuple[str, ...] | Unknown  # paths of /proc that this kernel has, and that engines mask or make read-only
    declared: tuple[Waiting, ...] | Unknown = ()  # those of Podman's that systemd starts by files of root's (Quadlet)
    unseen: tuple[str, ...] = ()  # why there may be more containers than these
    guests: tuple[Guest, ...] | Unknown = ()  # virtual machines, whoever started them
    rkt: tuple[str, ...] = ()  # paths of what is left of rkt

    def shared(self, process: Process) -> tuple[str, ...]:
        """The kinds of namespaces that a process shares with the host."""
        own = known(self.namespaces)
        kinds = (*processes.NAMESPACES, processes.TIME)
        return tuple(kind for kind in kinds if kind in own and process.namespaces.get(kind) == own[kind])

    def on_host(self, mount: Mount) -> tuple[str, ...]:
        """Where on the host the mounted thing is: by every path that leads there. () where the host itself has mounted
        nothing of that device."""
        found = []
        for own in self._by_device().get(mount.device, ()):
            root = own.root.rstrip("/")
            if mount.root == own.root or mount.root.startswith(f"{root}/"):
                found.append(f"{own.point.rstrip('/')}{mount.root[len(root) :]}".rstrip("/") or "/")
        return tuple(dict.fromkeys(found))

    def _by_device(self) -> dict[str, list[Mount]]:
        def by_device() -> dict[str, list[Mount]]:
            found: dict[str, list[Mount]] = {}
            for mount in known(self.mounts):
                found.setdefault(mount.device, []).append(mount)
            return found

        return self.remember("by device", by_device)


class Containers(SectionFact[ContainersReading]):
    """Running containers of all engines, root's and users', and those that no engine names."""

    key: ClassVar[str] = "containers"
    script: ClassVar[str] = "\n".join([*(path.read_text(encoding="utf-8") for path in LISTS), processes.SCRIPT, ":"])

    @staticmethod
    def parse(section: Section) -> ContainersReading:
        engines = tuple(known(section.text("engines")).split())
        rkt = tuple(line for line in section.blocks.get("rkt.traces", Block(0, "")).text.split("\n") if line)
        if known(section.text("uid")).strip() != "0":
            why = Unknown("only root sees every container")
            return ContainersReading(engines, why, why, why, why, why, guests=why, rkt=rkt)
        rows = list(_rows(section))
        named = [row for row in rows if row.engine]
        listed = tuple(sorted(named, key=lambda row: (row.engine, row.user, row.name)))
        own, mounts = processes.read_spaces(section).get(INIT), processes.read_mounts(section, "host.mounts").get(INIT)
        unlisted = tuple(_unlisted(rows, listed, late=LATE in section.blocks))
        masked = section.blocks.get("host.masked", Block(0, ""))
        return ContainersReading(
            engines=engines,
            containers=listed,
            unlisted=Unknown(UNABLE) if "unlisted.unable" in section.blocks else unlisted,
            namespaces=own or _unread(rows, "the host's own namespaces"),
            mounts=mounts or _unread(rows, "the host's own mounts"),
            masked=tuple(word for word in masked.text.split() if word.startswith("/proc/"))
            or _unread(rows, "what of /proc is to be masked"),
            declared=attempt("Quadlet", lambda: read_quadlets(section.blocks.get("podman.quadlets", Block(0, "")))),
            unseen=tuple(_unseen(section, rows, engines)),
            guests=read_guests(section),
            rkt=rkt,
        )


def _unseen(section: Section, rows: list[Container], engines: tuple[str, ...]) -> Iterator[str]:
    if "unlisted.unable" in section.blocks and set(engines) - {*BUNDLED, "rkt"}:
        yield UNABLE
    if LATE in section.blocks:
        yield "what users' engines keep below /run/user could not be read in full"
    lines = [line for line in section.blocks.get("containers", Block(0, "")).text.split("\n") if line]
    if len(lines) > len(rows):
        yield f"{len(lines) - len(rows)} rows of the list of containers make no sense"


def _unread(rows: list[Container], what: str) -> Unknown:
    return Unknown(f"{what} were not read" if rows else "no container runs, so nothing was read for them")


def _rows(section: Section) -> Iterator[Container]:
    found, hosts = processes.read_processes(section), processes.read_spaces(section).get(INIT, {})
    starters, started, parents, kept = _starters(section), _started(section), _parents(section), Filters(section)
    noted: set[int] = set()  # what a file names truly: first processes have rows of their own too, which come later
    for row in _listed(section):
        process = found.get(row.pid) or _gone(row.pid)
        if isinstance(process, Process):
            monitor = started.get(row.pid)
            if row.engine:
                process = _process(process, hosts, row.pid, row.user, starters.get(row.pid))
                if isinstance(process, Process):
                    noted.add(row.pid)
            elif row.pid not in noted and monitor and _can_be(process, hosts, monitor.user):
                row = _named(row, process, monitor, kept.of(parents[row.pid], monitor))
        yield replace(row, process=process)


def _named(row: Container, process: Process, monitor: Monitor, own: Filter) -> Container:
    """What no file names, as of the engine whose process has started it."""
    name = monitor.names(process.cgroup) or f"process {row.pid}"
    return replace(row, engine=monitor.engine, user=monitor.user, id=monitor.id, name=name, filter=own)


def _listed(section: Section) -> Iterator[Container]:
    """The rows of the list, before anything is known of their processes."""
    names, images, pods = _names(section), _images(section), _pods(section)
    filters, of_users = _filters(section, "filters"), _filters(section, "users.filters")
    block = section.blocks.get("containers", Block(0, ""))
    form = re.compile(rf"(-|[a-z]+) ([0-9]{{1,10}}) ([0-9]{{1,10}}) (-|{ID}|{SPACE}/{SPACE}) (-|/[^ ]*)")
    for row in filter(None, map(form.fullmatch, block.text.split("\n"))):
        engine, user, pid, identity, bundle = row[1], int(row[2]), int(row[3]), row[4], row[5]
        name, own = names.get((user, identity), ("", "")) if engine == "podman" else ("", "")
        image, pod = images.get(identity, "") if engine == "podman" and not user else "", ""
        if engine == "containerd":
            name, image, pod = pods.get(bundle, (identity, "", ""))
        yield Container(
            engine="" if engine == "-" else engine,
            user=user,
            id="" if identity == "-" else identity.rpartition("/")[2],
            name=name or identity[:12],
            pid=pid,
            filter=of_users.get(own or bundle, USERS_BUNDLE) if user else filters.get(own or bundle, NO_BUNDLE),
            process=_gone(pid),
            image=image,
            pod=pod,
        )


def _gone(pid: int) -> Unknown:
    return Unknown(f"process {pid} could not be read, or is gone")


def _can_be(process: Process, hosts: dict[str, int], user: int) -> bool:
    """Whether a process can be a container's of a user's; 0: of root's."""
    return process.namespaces["mnt"] != hosts.get("mnt") and not (user and process.on_host_ids)


def _process(process: Process, hosts: dict[str, int], pid: int, user: int, starter: int | None) -> Process | Unknown:
    """What an engine's file names as a container's process, if it can be one: a file may be stale, or a user's lie."""
    if not _can_be(process, hosts, user):
        return Unknown(f"process {pid}, which is noted as its first one, is no container's")
    if user and starter != user:
        return Unknown(f"process {pid}, which is noted as its first one, was started by none of this user's")
    return process


def _starters(section: Section) -> dict[int, int | None]:
    """By process: the user whose process has started it, of those that users' engines note."""
    owners = _numbers(section, "users.parents", "Uid")
    return {pid: owners.get(parent) for pid, parent in _parents(section).items()}


def _parents(section: Section) -> dict[int, int]:
    return section.remember("parents", lambda: _numbers(section, "processes.status", "PPid"))


def _numbers(section: Section, block: str, name: str) -> dict[int, int]:
    form = re.compile(rf"{name}:\t([0-9]{{1,10}})(\t.*)?")
    rows = ((pid, form.fullmatch(text)) for pid, _, text in processes.lines_of(section, block))
    return {pid: int(row[1]) for pid, row in rows if row}


def _started(section: Section) -> dict[int, Monitor]:
    """By process: what has started it, where that is an engine that keeps no file of it."""
    known, of_nspawn = monitors.read_monitors(section), monitors.read_nspawn_names(section)
    found = {pid: known[parent] for pid, parent in _parents(section).items() if parent in known}
    return {
        pid: replace(monitor, name=of_nspawn.get(pid, monitor.name))
        if (monitor.engine, monitor.user) == ("nspawn", 0) else monitor
        for pid, monitor in found.items()
    }  # fmt: skip


def _names(section: Section) -> dict[tuple[int, str], tuple[str, str]]:
    """By user and id: name and bundle, from what Podman's monitors were started with."""
    block = section.blocks.get("podman.named", Block(0, ""))
    form = re.compile(rf"([0-9]{{1,10}}) ({ID}) ([^ ]+) ([^ ]+)")
    rows = filter(None, map(form.fullmatch, block.text.split("\n")))
    return {(int(row[1]), row[2]): (row[3], row[4]) for row in rows}


def _images(section: Section) -> dict[str, str]:
    """By id: what Podman's storage notes a container to be made from."""
    found: dict[str, str] = {}
    identity = ""
    for line in section.blocks.get("podman.images", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(rf'"id": ?"({ID})"', line):
            identity = row[1]
        elif identity and line.startswith("image-name"):
            found[identity] = line.rpartition('"')[2]
            identity = ""
    return found


def _pods(section: Section) -> dict[str, tuple[str, str, str]]:
    """By bundle: name, image and pod of those that Kubernetes has started. The name has the Kubernetes namespace where
    that is not the default one: whoever may start pods in one is not to take another's names."""
    said: dict[str, dict[str, str]] = {}
    for line in section.blocks.get("containerd.pods", Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r'(/.*?)/config\.json:"io\.kubernetes\.cri\.([a-z-]+)": ?"(.*)"', line):
            said.setdefault(row[1], {}).setdefault(row[2], row[3])
    found = {}
    for bundle, words in said.items():
        space, pod = words.get("sandbox-namespace", "default"), words.get("sandbox-id", "")
        parts = [space] * (space != "default") + [
            words.get("sandbox-name", pod[:12]),
            words.get("container-name", "POD"),
        ]
        found[bundle] = "/".join(parts), words.get("image-name", ""), pod
    return found


def _filters(section: Section, block: str) -> dict[str, Filter]:
    """By bundle. One filter serves many containers, and is one object for all of them."""
    found: dict[str, Filter] = {}
    for line in section.blocks.get(block, Block(0, "")).text.split("\n"):
        if row := re.fullmatch(r"(/.*?)/config\.json (?:(/.*)/config\.json|(.+))", line):
            found[row[1]] = found.get(row[2], NO_BUNDLE) if row[2] else _filter(row[3])
    return found


def _filter(text: str) -> Filter:
    try:
        found = load_first(text)
    except ValueError:
        return Unknown("its bundle has another form, and its seccomp filter was not read")
    return found if found is None or isinstance(found, dict) else Unknown("its seccomp filter is no JSON object")


def _unlisted(rows: list[Container], listed: tuple[Container, ...], *, late: bool) -> Iterator[Container]:
    """First processes in namespaces of their own that are containers: not a service that systemd walls in, not a
    browser's or a build's sandbox (a user's, who maps no id of the host's root), nothing within a listed container.
    Where users' containers were left off (`late`), what runs in a user's slice may be one of them."""
    # Where its first process is systemd, that has moved itself to a group of its own.
    groups = [row.process.cgroup.removesuffix("/init.scope") for row in listed if isinstance(row.process, Process)]
    pids = {row.pid for row in listed if isinstance(row.process, Process)}
    for row in rows:
        if row.engine or row.pid in pids:
            continue
        if isinstance(row.process, Unknown):
            yield replace(row, name=f"process {row.pid}")
            continue
        group = row.process.cgroup
        if late and group.startswith("/user.slice/"):
            continue
        if any(group == outer or group.startswith(f"{outer.rstrip('/')}/") for outer in groups if outer.strip("/")):
            continue
        if CONTAINER_GROUP.search(group) or (row.process.on_host_ids and not SERVICE_GROUP.search(group)):
            yield replace(row, name=group.strip("/") or f"process {row.pid}")
