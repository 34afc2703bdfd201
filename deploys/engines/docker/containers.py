"""Controls over running containers. They belong to whoever started them: we say what is wrong and touch none."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from deploys.core.control import Control, Severity, Verdict, failed, not_applicable, passed
from deploys.core.policy import Policy
from deploys.engines.docker.rules import CAPABILITIES, DEFAULT_CAPABILITIES, DockerRules
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.docker.docker import Container, Docker, DockerReading

SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/crio/crio.sock")
HOST_FOLDERS = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sys", "/usr", "/var", "/var/lib")


@dataclass(frozen=True)
class Finder:
    """`wrong` says what of a container is against the rules, "" if nothing; it raises UnknownReading where the
    container's process could not be read. `allowed` gives the policy's list: None where it declares nothing."""

    control: str
    title: str
    severity: Severity
    why: str
    references: tuple[str, ...]
    allowed: Callable[[DockerRules], list[str] | None]
    wrong: Callable[[Container, DockerReading, list[str]], str]
    remedy: str

    def check(self, survey: Survey, policy: Policy) -> Verdict:
        docker, allowed = survey[Docker], self.allowed(policy[DockerRules])
        if not docker.installed:
            return not_applicable("Docker is not installed")
        if allowed is None:
            return not_applicable("the policy does not declare it")
        found, unread = {}, []
        for container in known(docker.containers):
            try:
                if wrong := self.wrong(container, docker, allowed):
                    found[container.name] = wrong
            except UnknownReading as error:
                unread.append(f"{container.name}: {error}")
        if found:
            return failed("; ".join(f"{name}: {wrong}" for name, wrong in found.items()), allowed, None, found)
        if unread:
            raise UnknownReading("; ".join(unread))
        return passed("no running container does", allowed, None, {})

    def row(self) -> Control:
        return Control(
            f"docker.{self.control}", self.title, self.severity, self.why, self.check, self.references,
            by_hand=self.remedy,
        )  # fmt: skip


def _privileged(container: Container, docker: DockerReading, allowed: list[str]) -> str:
    return "is privileged" if container.privileged and container.name not in allowed else ""


def _host_namespaces(container: Container, docker: DockerReading, allowed: list[str]) -> str:
    """Of the kernel's own namespaces; the user namespace counts only where the daemon would give another."""
    if container.name in allowed:
        return ""
    remapped = "name=userns" in docker.security
    counted = {"mnt", "pid", "net", "ipc", "uts"} | ({"user"} if remapped else set())
    shared = [name for name in known(container.process).host_namespaces if name in counted]
    return f"shares the host's {', '.join(shared)} namespace{'s' * (len(shared) > 1)}" if shared else ""


def _sensitive_mounts(container: Container, docker: DockerReading, allowed: list[str]) -> str:
    """An engine's socket, even read-only, is root on the host; a host folder is when it can be written."""
    if container.name in allowed:
        return ""
    root = docker.told("DockerRootDir", str) or "/var/lib/docker"
    found = []
    for mount in container.mounts:
        source = _normal(mount.source)
        if mount.type != "bind":
            continue
        if source in SOCKETS:
            found.append(f"{mount.source}")
        elif mount.rw and (source in HOST_FOLDERS or source == root):
            found.append(f"{mount.source} (writable)")
    return f"has the host's {', '.join(found)} mounted" if found else ""


def _normal(path: str) -> str:
    """Without `..` and a last slash; /var/run is /run."""
    path = posixpath.normpath(path)
    return path.removeprefix("/var") if path == "/var/run" or path.startswith("/var/run/") else path


def _capabilities(container: Container, docker: DockerReading, allowed: list[str]) -> str:
    beyond = capability_names(known(container.process).cap_eff) - DEFAULT_CAPABILITIES - set(allowed)
    if len(beyond) > 8:
        return f"holds {len(beyond)} capabilities beyond the allowed ones"
    return f"holds {', '.join(sorted(beyond))}" if beyond else ""


def capability_names(mask: int) -> frozenset[str]:
    """The names of a CapEff mask; a bit that has no name here is its number."""
    named = dict(enumerate(CAPABILITIES))
    return frozenset(named.get(bit, str(bit)) for bit in range(mask.bit_length()) if mask >> bit & 1)


AGAIN = "whoever started the container recreates it without, or the policy names it in"

FINDERS = (
    Finder(
        "privileged-containers", "No container is privileged", Severity.HIGH,
        "A privileged container is root on the host in all but name: nothing else here holds it.",
        ("CIS-Docker-5.5", "NIST-800-190-4.4.3"), lambda rules: rules.privileged_containers, _privileged,
        f"{AGAIN} docker.privileged_containers",
    ),
    Finder(
        "host-namespaces", "No container shares the host's namespaces", Severity.HIGH,
        "It sees and reaches the host's processes, network or shared memory as if it were not contained.",
        ("CIS-Docker-5.10", "CIS-Docker-5.16", "CIS-Docker-5.17", "CIS-Docker-5.21", "CIS-Docker-5.31"),
        lambda rules: rules.host_namespaces, _host_namespaces, f"{AGAIN} docker.host_namespaces",
    ),
    Finder(
        "sensitive-mounts", "No container holds the engine's socket or the host's folders", Severity.HIGH,
        "Who can speak to the engine, or write the host's own files, is root on the host.",
        ("CIS-Docker-5.6", "CIS-Docker-5.32"), lambda rules: rules.sensitive_mounts, _sensitive_mounts,
        f"{AGAIN} docker.sensitive_mounts",
    ),
    Finder(
        "capabilities", "Containers hold no more capabilities than they need", Severity.MEDIUM,
        "Each one beyond Docker's default widens what a taken-over process can do to the host.",
        ("CIS-Docker-5.4", "NIST-800-190-4.4.3"), lambda rules: rules.allowed_capabilities, _capabilities,
        "whoever started the container recreates it without them (--cap-drop), or the policy names them in "
        "docker.allowed_capabilities",
    ),
)  # fmt: skip
