"""The rows that lean on the kernel: sysctls that the kubelet would set itself, and user namespaces for pods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploys.core.change import Context, Obstacle
from deploys.core.control import Severity, some
from deploys.engines.kubelet.settings import Key, setting
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.kubelet.kubelet import SYSCTLS, Kubelet, KubeletReading, Setup
from facts.kernel.kernel import Kernel

# What a kernel begins with, of SYSCTLS: the others have to be in a file for the kubelet to start after a boot.
AT_BOOT = frozenset(("vm.panic_on_oom", "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes"))
GATE = "featureGates.UserNamespacesSupport"
KNOWN, BY_DEFAULT, LOCKED = (1, 28), (1, 33), (1, 36)  # releases of Kubernetes (pkg/features: kube_features.go)
IDMAPPED_TMPFS = (6, 3)  # Linux; secrets and tokens of pods are on tmpfs


def _others(survey: Survey) -> Iterator[str]:
    """The sysctls with which the kubelet would not start, now or after a boot."""
    live, stored = survey[Kubelet].sysctls, survey[Kernel].sysctls
    for name, wanted in SYSCTLS.items():
        if name not in live:
            raise UnknownReading(f"{name} was not read")
        found = known(stored.stored(name))
        if live[name] != str(wanted):
            yield f"{name} is {live[name][:20]}, not {wanted}"
        elif found is None and name not in AT_BOOT:
            yield f"no file sets {name} to {wanted} at boot"
        elif found is not None and found.value is not None and found.value != str(wanted):
            yield f"{found.file} sets {name} to {found.value[:20]}, not {wanted}"


def _would_not_start(survey: Survey) -> str:
    wrong = list(_others(survey))
    return f"with protectKernelDefaults the kubelet does not start: {some(wrong, 6)}" if wrong else ""


def _unmatched(context: Context) -> Obstacle | None:
    if wrong := _would_not_start(context.survey):
        values = ", ".join(f"{name}={value}" for name, value in SYSCTLS.items())
        return Obstacle(why=wrong, by_hand=f"set {values} in a file of /etc/sysctl.d, and run sysctl --system")
    return None


def _release(text: str) -> tuple[int, int] | None:
    """1.34 of 1.34.2-1.1, 6.12 of 6.12.57+deb13-amd64."""
    row = re.match(r"(?:[0-9]{1,4}:)?v?([0-9]{1,4})\.([0-9]{1,4})", text)
    return (int(row[1]), int(row[2])) if row else None


def _supported(kubelet: KubeletReading, setup: Setup) -> Any:
    """Whether pods may have user namespaces, by the gate or by what its release does without it."""
    given, version = setting(setup, GATE).value, known(kubelet.version)
    release = _release(version) if version else None
    if release and release >= LOCKED:
        return True
    if given is not None:
        return given
    if release is None:
        raise UnknownReading("which release the kubelet is of is not known: no package of its own is installed")
    return release >= BY_DEFAULT


def _too_old(survey: Survey) -> str:
    release = survey[Kernel].release
    found = _release(release)
    if found is None:
        raise UnknownReading(f"{release[:40]} is no release of a kernel")
    return f"Linux {release} has no id-mapped tmpfs, which such pods need" if found < IDMAPPED_TMPFS else ""


def _unsupported(context: Context) -> Obstacle | None:
    version = known(context.survey[Kubelet].version)
    release = _release(version) if version else None
    if release and release < KNOWN:
        why = f"kubelet {version} does not know {GATE.partition('.')[2]}"
        return Obstacle(why=why, by_hand="update Kubernetes to 1.33 or later")
    if old := _too_old(context.survey):
        return Obstacle(why=old, by_hand="boot Linux 6.3 or later")
    return None


KEYS = (
    Key(
        name="protect-kernel-defaults",
        keys=("protectKernelDefaults",),
        title="The kubelet changes no sysctls of the host",
        severity=Severity.MEDIUM,
        why="Otherwise it sets what it likes at each start, whatever the host's own files and policy say.",
        references=("NIST-800-190-4.5.1",),
        wanted=lambda rules: rules.protect_kernel_defaults,
        default=False,
        put=lambda wanted: {"protectKernelDefaults": True},
        beside=_would_not_start,
        first=_unmatched,
    ),
    Key(
        name="user-namespaces",
        keys=(GATE,),
        title="Pods can have user namespaces",
        severity=Severity.MEDIUM,
        why="Whoever gets out of a container as root is root on the node, unless its ids are mapped to others.",
        references=("NIST-800-190-4.4.3",),
        wanted=lambda rules: rules.user_namespaces,
        default=True,
        read=_supported,
        put=lambda wanted: {GATE: True},
        beside=_too_old,
        first=_unsupported,
        by_hand="update Kubernetes to 1.33 or later, and boot Linux 6.3 or later",
    ),
)
