"""The rows of config.toml: what containerd's plugin for Kubernetes gives new containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from deploys.core.change import Blocked, Change, Context
from deploys.core.control import Severity
from deploys.core.policy import Policy
from deploys.engines.containerd.settings import RUNTIME, Row, path_of, said, setting, unused
from deploys.engines.containerd.toml import dotted
from deploys.engines.defaults import Put
from facts.core.survey import Survey
from facts.engines.containerd.containerd import Containerd, ContainerdReading

CGROUPS = "containerd-cgroups"  # accepting it: kubelet has to have the same driver
RUNC = "io.containerd.runc.v2"  # the runtime that has SystemdCgroup


def _key(name: str, default: bool | str, right: bool | str) -> tuple[Callable[..., str], Callable[..., Put]]:
    """How a key of the runtime's is judged, and what is put where it is not right."""

    def wrong(containerd: ContainerdReading, wanted: Any) -> str:
        path = path_of(containerd, RUNTIME, name)
        return "" if setting(containerd, path, default) == right else said(containerd, path, default)

    def put(containerd: ContainerdReading, wanted: Any) -> Put:
        return {dotted(path_of(containerd, RUNTIME, name)): right} if wrong(containerd, wanted) else {}

    return wrong, put


SECCOMP, PUT_SECCOMP = _key("unset_seccomp_profile", "", "runtime/default")
OOM, PUT_OOM = _key("restrict_oom_score_adj", False, True)
APPARMOR, PUT_APPARMOR = _key("disable_apparmor", False, False)
SELINUX, PUT_SELINUX = _key("enable_selinux", False, True)


def _unconfined(containerd: ContainerdReading, wanted: Any) -> str:
    return SELINUX(containerd, wanted) if containerd.selinux else APPARMOR(containerd, wanted)


def _confine(containerd: ContainerdReading, wanted: Any) -> Put:
    return PUT_SELINUX(containerd, wanted) if containerd.selinux else PUT_APPARMOR(containerd, wanted)


def _runtimes(containerd: ContainerdReading) -> dict[str, Any]:
    found = setting(containerd, path_of(containerd, RUNTIME, "containerd", "runtimes"), {})
    own = {name: table for name, table in found.items() if isinstance(table, dict)} if isinstance(found, dict) else {}
    return {"runc": {}} | own


def _each(containerd: ContainerdReading, *names: str, of: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """The runtimes for which a key is not true, and where it is."""
    for name, table in _runtimes(containerd).items():
        path = path_of(containerd, RUNTIME, "containerd", "runtimes", name, *names)
        if of in ("", table.get("runtime_type", RUNC)) and setting(containerd, path, False) is not True:
            yield name, path


def _cgroupfs(containerd: ContainerdReading, wanted: Any) -> str:
    rows = _each(containerd, "options", "SystemdCgroup", of=RUNC)
    return "; ".join(f"of runtime {name} {said(containerd, path, False)}" for name, path in rows)


def _with_devices(containerd: ContainerdReading, wanted: Any) -> str:
    rows = _each(containerd, "privileged_without_host_devices")
    return "; ".join(f"of runtime {name} {said(containerd, path, False)}" for name, path in rows)


def _by_systemd(containerd: ContainerdReading, wanted: Any) -> Put:
    rows = _each(containerd, "options", "SystemdCgroup", of=RUNC)
    return {**{dotted(path): True for _, path in rows}, **_typed(containerd)}


def _typed(containerd: ContainerdReading) -> Put:
    """A section of config.toml counts over containerd's own as a whole, and a runtime without a type is none."""
    kind = path_of(containerd, RUNTIME, "containerd", "runtimes", "runc", "runtime_type")
    return {} if setting(containerd, kind, None) else {dotted(kind): RUNC}


def _without_devices(containerd: ContainerdReading, wanted: Any) -> Put:
    rows = _each(containerd, "privileged_without_host_devices")
    return {**{dotted(path): True for _, path in rows}, **_typed(containerd)}


def _kubelet(context: Context) -> Iterator[Change]:
    if not context.accepts(CGROUPS):
        why = "kubelet starts no pod any more unless its cgroupDriver is systemd too"
        yield Blocked("containerd", "have systemd make containers' control groups", why=why, accepts=(CGROUPS,))


def _unused(survey: Survey, policy: Policy) -> str:
    return unused(survey[Containerd])


ROWS: tuple[Row, ...] = (
    Row(
        name="seccomp",
        title="Containers of Kubernetes that name no seccomp profile get containerd's own",
        severity=Severity.HIGH,
        why="Without a filter a container reaches all of the kernel's system calls.",
        references=("NIST-800-190-4.4.3",),
        against=_unused,
        wrong=SECCOMP,
        put=PUT_SECCOMP,
        by_hand="set unset_seccomp_profile to runtime/default in config.toml",
    ),
    Row(
        name="confined",
        title="containerd confines containers by the kernel's security module",
        severity=Severity.HIGH,
        why="What gets past a container's namespaces is stopped by nothing else.",
        references=("NIST-800-190-4.4.3",),
        against=_unused,
        wrong=_unconfined,
        put=_confine,
        by_hand="set disable_apparmor to false, or enable_selinux to true, in config.toml",
    ),
    Row(
        name="restrict-oom-score-adj",
        title="No container of Kubernetes is killed later than containerd when memory runs out",
        severity=Severity.LOW,
        why="A container that the kernel never kills takes the memory of all others, and of what runs them.",
        references=(),
        against=_unused,
        wrong=OOM,
        put=PUT_OOM,
        by_hand="set restrict_oom_score_adj to true in config.toml",
    ),
    Row(
        name="systemd-cgroup",
        title="Control groups of containers are made by systemd",
        severity=Severity.LOW,
        why="Two managers of one tree of control groups lose each other's limits.",
        references=(),
        against=_unused,
        wrong=_cgroupfs,
        put=_by_systemd,
        first=_kubelet,
        by_hand="set SystemdCgroup to true in the options of the runtime, and cgroupDriver to systemd for kubelet",
    ),
    Row(
        name="devices",
        title="Privileged containers of Kubernetes get no devices of the host's",
        severity=Severity.MEDIUM,
        why="A privileged container reads and writes the host's disks as devices.",
        references=("NIST-800-190-4.4.3",),
        against=_unused,
        wrong=_with_devices,
        put=_without_devices,
        by_hand="set privileged_without_host_devices to true for the runtime in config.toml",
    ),
)
