"""The kubelet: whose it is, what it runs with, what it will run with, and who may change that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from facts import modes
from facts.core import yaml_text
from facts.core.fact import SectionFact
from facts.core.listening import listening
from facts.core.numbers import starts, whole_number
from facts.core.reading import Block, Jsonable, Section, Unknown, attempt
from facts.engines.kubelet.options import KEYS, Word, declared, flags, listed
from facts.engines.kubelet.options import Setting as Setting
from facts.modes import Access, read_listed

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
DROP_IN = "zz-hullproof.conf"  # in the folder of --config-dir
MICROK8S_FLAGS = "/var/snap/microk8s/current/args/kubelet"
# By what is there: whose node it is. The first one counts; k3s and RKE2 have no files of kubeadm's.
MANAGERS: Mapping[str, str] = {
    "/var/lib/rancher/rke2/agent": "rke2",
    "/var/lib/rancher/k3s/agent": "k3s",
    "/var/snap/microk8s/current": "microk8s",
    "/var/lib/k0s": "k0s",
    "/etc/machine-config-daemon": "openshift",
    "/etc/eks": "eks",
    "/etc/kubernetes/azure.json": "aks",
    "/home/kubernetes/bin": "gke",
    "/opt/kops": "kops",
    "/var/cache/nodeup": "kops",
    "/var/lib/gardener-node-agent": "gardener",
    "/etc/oke": "oke",
    "/var/lib/kubelet/kubeadm-flags.env": "kubeadm",
}
STARTED_BY_THEMSELVES = ("k3s", "rke2", "k0s")  # the manager starts it, no unit of systemd's
# What the kubelet wants of the kernel: it sets them itself, or does not start (protectKernelDefaults).
SYSCTLS: Mapping[str, int] = {
    "vm.overcommit_memory": 1,
    "vm.panic_on_oom": 0,
    "kernel.panic": 10,
    "kernel.panic_on_oops": 1,
    "kernel.keys.root_maxkeys": 1000000,
    "kernel.keys.root_maxbytes": 25000000,
}
OVERLAYS = ("cni0", "flannel*", "cilium_*", "cali*", "vxlan.calico", "weave", "kube-bridge", "antrea-gw0", "ovn-k8s-*")
# Processes that hold pods to the cluster's network policies, as /proc/PID/comm has them.
POLICING = ("calico-node", "cilium-agent", "antrea-agent", "kube-router", "weave-npc", "ovnkube", "kube-ovn-daemon",
            "azure-npm")  # fmt: skip
_GIVEN = {
    "POLICING": "|".join(name[:15] for name in POLICING),
    "MARKS": " ".join(MANAGERS),
    "OVERLAYS": " ".join(f"/sys/class/net/{name}" for name in OVERLAYS),
    "DROP_IN": DROP_IN,
    "SYSCTLS": " ".join(f"/proc/sys/{name.replace('.', '/')}" for name in SYSCTLS),
}


@dataclass(frozen=True)
class Setup(Jsonable):
    """What a command line and the files that it names make of the kubelet. `flags` beat `files`; both by key
    (`authentication.anonymous.enabled`)."""

    config: str  # of --config; "" without: then older defaults count, with which the API is open
    folder: str  # of --config-dir
    flags: Mapping[str, Setting]
    files: Mapping[str, Setting] | Unknown


@dataclass(frozen=True)
class KubeletReading(Jsonable):
    """See KubeletConfiguration (v1beta1), kubelet(1)."""

    present: bool
    manager: str  # of MANAGERS; "" where nothing says whose node it is
    version: str | Unknown | None  # of its package; None: it came without one
    running: bool
    inside: tuple[int, ...]  # kubelets in containers, by pid
    disk: Setup | Unknown
    live: Setup | Unknown | None  # None: it does not run
    stale: tuple[str, ...]  # of the files that it has read, those that have changed since
    broken: tuple[str, ...]  # "FILE: why" of those with which it does not start
    texts: Mapping[str, str | Unknown | None]  # of the files of --config, and of hullproof's own
    settings: tuple[Access, ...] | Unknown  # files that say what it does
    credentials: tuple[Access, ...] | Unknown  # kubeconfigs, with which whoever reads them is this node
    authorities: tuple[Access, ...] | Unknown  # of its clients' certificates
    listening: tuple[str, ...]  # ADDRESS:PORT of its usual ports
    sysctls: Mapping[str, str]
    overlays: tuple[str, ...]  # network devices of the pods' overlay
    plugins: tuple[str, ...] = ()  # of CNI, which make the pods' network: those of the file that counts
    policing: tuple[str, ...] = ()  # of POLICING, those that run


class Kubelet(SectionFact[KubeletReading]):
    """The kubelet of the host itself. What it runs with is its command line, and its files where they are older than
    its start; else what its API says (/configz), where that answers."""

    key: ClassVar[str] = "kubelet"
    script: ClassVar[str] = (
        modes.SCRIPT
        + "".join(f"{name}='{text}'\n" for name, text in _GIVEN.items())
        + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
    )

    @staticmethod
    def parse(section: Section) -> KubeletReading:
        there = _Host(section)
        running = "cmdline" in section.blocks
        disk = attempt("kubelet.service", there.disk)
        live = attempt("the kubelet's command line", there.live) if running or there.embedded else None
        return KubeletReading(
            present="there" in section.blocks,
            manager=there.manager,
            version=_version(section),
            running=running or there.embedded,
            inside=tuple(map(int, re.findall(r"\b[0-9]{1,10}\b", there.text("inside")))),
            disk=disk,
            live=live,
            stale=tuple(there.stale(live)) if isinstance(live, Setup) and there.answer is None else (),
            broken=tuple(there.broken(disk)) if isinstance(disk, Setup) else (),
            texts={path: section.file(path) for path in section.blocks if path.startswith("/")},
            settings=there.access(lambda path: path in there.said),
            credentials=there.access(lambda path: path not in there.said and not _authority(path)),
            authorities=there.access(_authority),
            listening=tuple(address for address, _ in listening(there.text("listening"))),
            sysctls=dict(_sysctls(there.text("sysctls"))),
            overlays=tuple(there.text("overlays").split()),
            plugins=tuple(_plugins(there.text("cni"))),
            policing=tuple(sorted(set(there.text("policing").split()))),
        )


class _Host:
    """The section's blocks, as the parts of the reading ask for them."""

    def __init__(self, section: Section) -> None:
        self.section = section
        marks = self.text("marks").split()
        k3s = ["k3s"] if "k3s" in section.blocks else []
        self.manager = next((name for path, name in MANAGERS.items() if path in marks), (k3s or [""])[0])
        self.embedded = "k3s" in section.blocks and "cmdline" not in section.blocks
        self.times = dict(_times(self.text("times")))
        paths = {line.partition(":")[0] for name in ("unit", "environment") for line in self.text(name).split("\n")}
        self.said = {*paths, *self.times}
        self.files = {path: _flat(section, path) for path in section.blocks if path.startswith("/")}
        self.dropped = _dropped(self.text("dropped"))
        self.answer = _answer(section)

    def text(self, block: str) -> str:
        return self.section.blocks.get(block, Block(0, "")).text

    def block(self, block: str) -> Block:
        return self.section.blocks.get(block, Block(0, ""))

    def disk(self) -> Setup | Unknown:
        if self.manager == "microk8s":
            return self._setup(listed(self.block("environment"), MICROK8S_FLAGS))
        words = declared(self.block("unit"), self.block("environment"))
        if words:
            return self._setup(words)
        if self.embedded or self.manager in STARTED_BY_THEMSELVES:
            return self.live()
        return Unknown("no file of systemd's says how the kubelet is started")

    def live(self) -> Setup | Unknown:
        if self.embedded:
            return Unknown(
                "k3s runs the kubelet within its own process, and no file shows all that it gives it; what is set by "
                "hand is kubelet-arg in /etc/rancher/k3s/config.yaml"
            )
        words = self.text("cmdline").strip("\0\n").split("\0")
        if "kubelite" in self.section.blocks:
            return self._setup(listed(self.block("environment"), MICROK8S_FLAGS))
        if words == [""]:
            return Unknown("no command line was read")
        setup = self._setup([(word, "") for word in words])
        return setup if self.answer is None else replace(setup, files=self.answer)

    def _setup(self, words: list[Word]) -> Setup:
        given = flags(words)
        config, folder = (str(given[key].value) if key in given else "" for key in ("config", "config-dir"))
        return Setup(config, folder.rstrip("/"), given, self._settings(config, folder.rstrip("/")))

    def _settings(self, config: str, folder: str) -> dict[str, Setting] | Unknown:
        """Files of the folder count in the order of their names, each over those before it."""
        found: dict[str, Setting] = {}
        for path, read in self._read(config, folder):
            if isinstance(read, Unknown):
                return Unknown(f"{path}: {read.unknown}")
            found |= {key: Setting(value, path) for key, value in read.items()}
        return found

    def _read(self, config: str, folder: str) -> Iterator[tuple[str, dict[str, Any] | Unknown]]:
        if config:
            yield config, self.files.get(config, Unknown("it was not read"))
        inside = [path for path in self.dropped if folder and path.startswith(f"{folder}/")]
        for path in sorted(inside, key=lambda path: path.split("/")):
            yield path, self.dropped[path]

    def broken(self, setup: Setup) -> Iterator[str]:
        for path, read in self._read(setup.config, setup.folder):
            if isinstance(read, Unknown) and read.unknown.startswith(NOT_VALID):
                yield f"{path}: {read.unknown}"

    def stale(self, live: Setup) -> Iterator[str]:
        """Of a file that is not there now it is not known when it went."""
        start = next(iter(starts(self.text("since")).values()), None)
        flags_too = [MICROK8S_FLAGS] if "kubelite" in self.section.blocks else []
        for path, time in self.times.items():
            within = live.folder and (path == live.folder or path.startswith(f"{live.folder}/"))
            if (path in (live.config, *flags_too) or within) and (start is None or time > start):
                yield path

    def access(self, wanted: Any) -> tuple[Access, ...] | Unknown:
        if "listed" not in self.section.blocks:
            return ()
        found = read_listed(self.section.blocks["listed"], self.section.blocks.get("acls"))
        return tuple(each for path, each in sorted(found.items()) if wanted(path))


NOT_VALID = "not valid"


def _answer(section: Section) -> dict[str, Setting] | None:
    """What the kubelet's API says that it runs with; None where it was not asked, or did not answer."""
    said = section.json("configz") if "configz" in section.blocks else None
    running = said.get("kubeletconfig") if isinstance(said, dict) else None
    if not isinstance(running, dict):
        return None
    values = dict(flat(running))
    return None if _misfit(values) else {key: Setting(value, "/configz") for key, value in values.items()}


def _authority(path: str) -> bool:
    return path.endswith((".crt", ".pem", ".cert"))


def _version(section: Section) -> str | None:
    row = re.match(r"ii +([^ ]+)", section.blocks.get("package", Block(1, "")).text)
    return row[1].strip() if row else None


def _flat(section: Section, path: str) -> dict[str, Any] | Unknown:
    text = section.file(path)
    if text is None:
        return Unknown(f"{NOT_VALID}: it is not there")
    return text if isinstance(text, Unknown) else _read_yaml(text)


def _read_yaml(text: str) -> dict[str, Any] | Unknown:
    try:
        found = yaml_text.load(text)
    except yaml_text.TooMuch as error:
        return Unknown(str(error))
    except ValueError as error:
        return Unknown(f"{NOT_VALID}: not YAML ({error})")
    if not isinstance(found, dict) or (found.get("apiVersion"), found.get("kind")) != (API_VERSION, KIND):
        return Unknown(f"{NOT_VALID}: no {KIND} of {API_VERSION}")
    values = dict(flat(found))
    return Unknown(f"{NOT_VALID}: {why}") if (why := _misfit(values)) else values


KINDS = {key: kind for key, kind in KEYS.values() if key != "hostnameOverride"}
_SAID = {bool: "true or false", int: "a whole number", str: "text", list: "a list"}


def _misfit(values: Mapping[str, Any]) -> str:
    """Which key has a value of another kind than the kubelet reads: it does not start with that."""
    for name, value in values.items():
        at = next((key for key in KINDS if name == key or name.startswith(f"{key}.")), "")
        if at and (name != at or type(value) is not KINDS[at]):
            return f"{at} is not {_SAID[KINDS[at]]}"
        if any(key.startswith(f"{name}.") for key in KINDS) or name == "featureGates":
            return f"{name} is not a mapping"
        if name.startswith("featureGates.") and type(value) is not bool:
            return f"{name} is not true or false"
    return ""


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """`authentication.anonymous.enabled` and its like; what is null is not set."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", value


def _dropped(text: str) -> dict[str, dict[str, Any] | Unknown]:
    """By file of the folder, what it sets; unknown where the folder has more text than can be read."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if row := re.match(r"(/[^:]{1,4000}\.conf):", line):
            found.setdefault(row[1], []).append(line[row.end() :])
    much = Unknown("the folder has too much text") if len(text) > 2 * yaml_text.LONGEST else None
    return {path: much or _read_yaml("\n".join(lines) + "\n") for path, lines in found.items()}


def _times(text: str) -> Iterator[tuple[str, int]]:
    """When a file's text changed: when it was written, or came to be at its place."""
    for line in text.split("\n"):
        if row := re.fullmatch(r"([0-9]{1,12}) ([0-9]{1,12}|-) ([0-9]{1,12}) (/.*)", line):
            born = whole_number(row[2]) or int(row[3])  # without a time of birth, any change counts
            yield row[4], max(int(row[1]), born)


def _plugins(text: str) -> Iterator[str]:
    """The first file by name is the network that the container runtime gives pods."""
    rows = [(row[1], row[2]) for row in re.finditer(r'^(/[^:]{1,4000}):.*"([^"]+)"$', text, re.MULTILINE)]
    first = min((path for path, _ in rows), default="")
    yield from dict.fromkeys(plugin for path, plugin in rows if path == first)


def _sysctls(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        path, colon, value = line.partition(":")
        if colon and path.startswith("/proc/sys/"):
            yield path.removeprefix("/proc/sys/").replace("/", "."), value.strip()
