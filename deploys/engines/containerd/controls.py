"""containerd: what its plugin for Kubernetes gives new containers, where images come from, and who may speak to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploys.core.change import Change, Command, Context, Subject, by_hand, mending
from deploys.core.control import Control, Impact, Severity, Verdict, failed, only_where, passed, some, undeclared
from deploys.core.policy import Policy
from deploys.engines.containerd.defaults import CGROUPS, ROWS
from deploys.engines.containerd.rules import ContainerdRules
from deploys.engines.containerd.settings import (
    IMAGES,
    RESTART,
    SERVER,
    path_of,
    pending,
    said,
    set_later,
    setting,
    unused,
    write,
)  # fmt: skip
from deploys.engines.containerd.user_namespaces import unsupported
from deploys.engines.containerd.verifier import too_old, unasked
from deploys.engines.defaults import Defaults
from facts.containers import Containers
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.containerd.containerd import CONFIG, SOCKET, Containerd, ContainerdReading

PACKAGES = ("containerd", "containerd.io")
LOOPBACK = re.compile(r"(127\.[0-9.]+|localhost|\[::1\]|::1)(:[0-9]+)?|/.*|unix:.*")
DEFAULTS = Defaults(
    subject="containerd",
    shown="containerd",
    fact=Containerd,
    rules=ContainerdRules,
    installed=lambda containerd: containerd.installed,
    rows=ROWS,
    files=(CONFIG,),
    packages=PACKAGES,
    write=write,
    later=set_later,
    pending=pending,
    named=lambda key: key.rpartition(".")[2],
    impact=Impact.RESTART,
)


def _not_used(survey: Survey, policy: Policy) -> str | None:
    return unused(survey[Containerd]) or None


def _old(survey: Survey, policy: Policy) -> str | None:
    return too_old(survey[Containerd]) or None


@only_where(DEFAULTS.absent)
def _settings(survey: Survey, policy: Policy) -> Verdict:
    """Whatever the policy says: containerd does not start with a file that it cannot read."""
    containerd = survey[Containerd]
    if broken := containerd.broken:
        reason = f"containerd does not start again with this, and nothing that uses it either: {some(broken)}"
        return failed(reason, declared="TOML", disk=list(broken))
    known(containerd.config)
    return passed("containerd's files can be read", declared="TOML", disk=[])


@only_where(DEFAULTS.absent, undeclared(ContainerdRules, "containerd.registries"), _not_used)
def _registries(survey: Survey, policy: Policy) -> Verdict:
    containerd = survey[Containerd]
    if wrong := [*_without_tls(containerd), *known(containerd.insecure)]:
        reason = f"images are taken from whoever answers on the way: {some(wrong)}"
        return failed(f"{reason}; the policy wants tls (containerd.registries)", declared="tls", disk=wrong)
    return passed("images come over TLS alone", declared="tls", disk=[])


def _without_tls(containerd: ContainerdReading) -> Iterator[str]:
    """Mirrors and hosts in config.toml itself, where no config_path names files for them (1.x)."""
    registry = setting(containerd, path_of(containerd, IMAGES, "registry"), {})
    registry = registry if isinstance(registry, dict) else {}
    for name, mirror in _tables(registry.get("mirrors")):
        plain = [url for url in _texts(mirror.get("endpoint")) if url.startswith("http:")]
        yield from (f"{name} by {url} ({containerd.file})" for url in plain)
    for name, host in _tables(registry.get("configs")):
        tls = host.get("tls")
        if isinstance(tls, dict) and tls.get("insecure_skip_verify") is True:
            yield f"{name} with insecure_skip_verify ({containerd.file})"


def _texts(found: object) -> list[str]:
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _tables(found: object) -> Iterator[tuple[str, dict[str, object]]]:
    if isinstance(found, dict):
        yield from ((name, table) for name, table in found.items() if isinstance(table, dict))


@only_where(DEFAULTS.absent, undeclared(ContainerdRules, "containerd.image_verifier"), _not_used, _old)
def _verifier(survey: Survey, policy: Policy) -> Verdict:
    containerd = survey[Containerd]
    if wrong := unasked(containerd):
        reason = f"containerd runs any image, since no verifier is asked: {wrong}"
        return failed(f"{reason}; the policy wants one (containerd.image_verifier)", declared=True, disk=wrong)
    return passed(f"{some(known(containerd.verifiers))} decides which images may be pulled", declared=True)


@only_where(DEFAULTS.absent, undeclared(ContainerdRules, "containerd.user_namespaces"), _not_used)
def _user_namespaces(survey: Survey, policy: Policy) -> Verdict:
    if wrong := unsupported(survey[Containerd]):
        reason = f"pods cannot have user namespaces: {wrong}; the policy wants them (containerd.user_namespaces)"
        return failed(reason, declared=True, disk=wrong)
    return passed("containerd and its runtime give pods user namespaces", declared=True)


@only_where(DEFAULTS.absent, undeclared(ContainerdRules, "containerd.socket"))
def _socket(survey: Survey, policy: Policy) -> Verdict:
    containerd = survey[Containerd]
    disk = [said(containerd, ("grpc", key), 0) for key in ("uid", "gid") if setting(containerd, ("grpc", key), 0) != 0]
    live = _socket_wrong(containerd)
    if wrong := [*disk, *live]:
        reason = f"{some(wrong)}: whoever speaks to containerd is root on the host"
        return failed(f"{reason}; the policy wants root (containerd.socket)", declared="root", disk=disk, live=live)
    return passed("only root speaks to containerd", declared="root", disk=[], live=[])


def _socket_wrong(containerd: ContainerdReading) -> list[str]:
    socket = containerd.socket
    if socket is None:
        if known(containerd.running):
            raise UnknownReading(f"containerd runs, and {SOCKET} was not read")
        return []
    others = int(socket.mode, 8) & (0o007 if socket.group == "root" else 0o077)
    return [f"{SOCKET} is {socket.mode} {socket.owner}:{socket.group}"] if others or socket.owner != "root" else []


@only_where(DEFAULTS.absent, undeclared(ContainerdRules, "containerd.tcp"))
def _tcp(survey: Survey, policy: Policy) -> Verdict:
    containerd = survey[Containerd]
    paths: list[tuple[str, ...]] = [("grpc", "tcp_address"), ("metrics", "address"), ("debug", "address")]
    if not unused(containerd):
        paths.append(path_of(containerd, SERVER, "stream_server_address"))
    wrong = [f"{path[-2] if len(path) == 2 else 'CRI'}: {said(containerd, path, '')}" for path in paths
             if not LOOPBACK.fullmatch(str(setting(containerd, path, "") or "/"))]  # fmt: skip
    live = [f"it listens on {address}" for address in known(containerd.listening) if not LOOPBACK.fullmatch(address)]
    if wrong or live:
        reason = f"other machines reach what containerd serves: {some([*wrong, *live])}"
        return failed(f"{reason}; the policy wants none (containerd.tcp)", declared="none", disk=wrong, live=live)
    return passed("containerd serves nothing that other machines reach", declared="none", disk=[], live=[])


def plan(context: Context) -> Iterator[Change]:
    yield from DEFAULTS.plan(context)
    if context.failing("containerd.socket"):
        yield from mending(["containerd.socket"], _close(context))


def _close(context: Context) -> Iterator[Change]:
    """A socket that somebody has opened is closed; one that config.toml opens at each start is not."""
    containerd = context.survey[Containerd]
    socket = containerd.socket
    if context.findings["containerd.socket"].verdict.disk or socket is None:
        yield by_hand(context.findings["containerd.socket"])
        return
    undo = f"chown {socket.owner}:{socket.group} {SOCKET} && chmod {socket.mode} {SOCKET}"
    script = f"chmod 0660 {SOCKET} && chown root:root {SOCKET}"
    yield Command("containerd", f"give {SOCKET} to root alone", script=script, undo=undo,
                  interrupts="clients of containerd that are not root's")  # fmt: skip


CONTROLS = (
    Control(
        id="containerd.settings",
        title="containerd can read its files",
        severity=Severity.HIGH,
        why="containerd does not start with a broken file: no container of Kubernetes or of Docker's can be "
        "started or stopped.",
        check=_settings,
        packages=PACKAGES,
        by_hand="correct the file in the line that the finding names, and try it with containerd config dump",
    ),
    *DEFAULTS.controls(),
    Control(
        id="containerd.registries",
        title="containerd takes images over TLS alone",
        severity=Severity.HIGH,
        why="Whoever is on the way between host and registry chooses what runs on the host.",
        check=_registries,
        references=("NIST-800-190-4.2.1",),
        files=(CONFIG,),
        packages=PACKAGES,
        by_hand="give the registry a certificate, and https in the file that the finding names",
    ),
    Control(
        id="containerd.image-verifier",
        title="A program decides which images containerd may pull",
        severity=Severity.LOW,
        why="A name says where an image comes from, and not who has made it.",
        check=_verifier,
        references=("NIST-800-190-4.1.5",),
        files=(CONFIG,),
        packages=PACKAGES,
        by_hand="put a verifier into /opt/containerd/image-verifier/bin, and leave pulls to the transfer service",
    ),
    Control(
        id="containerd.user-namespaces",
        title="containerd can give pods user namespaces",
        severity=Severity.MEDIUM,
        why="Whoever gets out of a container as root is root on the node, unless its ids are mapped to others.",
        check=_user_namespaces,
        references=("NIST-800-190-4.4.3",),
        files=(CONFIG,),
        packages=(*PACKAGES, "runc", "crun"),
        by_hand="update containerd to 2.0, and runc to 1.2 or crun to 1.9",
    ),
    Control(
        id="containerd.socket",
        title="Only root speaks to containerd",
        severity=Severity.HIGH,
        why="The API has no passwords: whoever reaches it starts containers as root.",
        check=_socket,
        references=("CIS-Docker-3.23", "NIST-800-190-4.5.1"),
        files=(CONFIG,),
        packages=PACKAGES,
        by_hand="take uid and gid out of [grpc] in config.toml, and restart containerd",
    ),
    Control(
        id="containerd.tcp",
        title="containerd serves nothing that other machines reach",
        severity=Severity.HIGH,
        why="Neither its API nor its metrics, its debugger and its streams ask who speaks to them.",
        check=_tcp,
        references=("NIST-800-190-4.5.1",),
        files=(CONFIG,),
        packages=PACKAGES,
        by_hand="take the address out of config.toml, or give it one of 127.0.0.1, and restart containerd",
    ),
)

SUBJECT = Subject(
    name="containerd",
    rules=ContainerdRules,
    controls=CONTROLS,
    plan=plan,
    facts=(Containerd, Containers),
    accepts=(CGROUPS, RESTART),
    unproved="a file says what containers get that Kubernetes makes later; proofs make none as Kubernetes does",
    installed=lambda survey: survey[Containerd].installed,
)
