"""The rows of containers.conf (containers.conf(5)): what Podman gives the containers that root makes from now on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploys.core.control import Severity, some
from deploys.core.policy import Policy
from deploys.engines.defaults import Put
from deploys.engines.podman.settings import Row, said, setting
from facts.cgroups import Cgroups
from facts.core.reading import UnknownReading, known
from facts.core.survey import Survey
from facts.engines.podman.podman import Podman, PodmanReading
from facts.lsm import Lsm

# What Podman gives where no file says anything (common/pkg/config: default.go).
SHIPPED = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip
PIDS = 2048
NAMESPACES = {"netns": "bridge", "pidns": "private", "ipcns": "private", "utsns": "private", "cgroupns": "private"}
GIVEN = ("devices", "volumes", "mounts")
# What is put for what frees. A profile whose name begins so is Podman's own, which it loads itself.
CONFINED = {"containers.apparmor_profile": "containers-default-hullproof", "containers.label": True}
MEMORY, SWAP = "memory.max", "memory.swap.max"


# ------------------------------------------------------------------------------------------------ readings


def _beyond(podman: PodmanReading, wanted: list[str]) -> str:
    given = setting(podman, "containers.default_capabilities", list(SHIPPED))
    names = [str(name).upper().removeprefix("CAP_") for name in given]
    beyond = sorted(set(names) - set(wanted))
    return f"containers get {some(beyond, 12)} without a word" if beyond else ""


def _free(podman: PodmanReading, wanted: Any) -> str:
    return some(said(podman, key) for key in _freeing(podman))


def _freeing(podman: PodmanReading) -> Iterator[str]:
    """An empty name is no profile."""
    if setting(podman, "containers.apparmor_profile") in ("unconfined", ""):
        yield "containers.apparmor_profile"
    if setting(podman, "containers.label", True) is False:
        yield "containers.label"


def _confine(podman: PodmanReading, wanted: Any) -> Put:
    return {key: CONFINED[key] for key in _freeing(podman)}


def _unenforced(survey: Survey) -> str:
    """What Podman asks for without a word where it could not be had (common/pkg/apparmor: IsEnabled)."""
    module = known(survey[Lsm].major)
    if module == "selinux" or (module == "apparmor" and survey[Podman].parser):
        return ""
    if module == "apparmor":
        return "apparmor_parser is not installed, with which Podman loads its profile"
    return "the kernel runs neither AppArmor nor SELinux: nothing confines containers"


def _shared(podman: PodmanReading, wanted: Any) -> str:
    return some(said(podman, key) for key in _sharing(podman))


def _sharing(podman: PodmanReading) -> Iterator[str]:
    if setting(podman, "containers.privileged", False) is not False:
        yield "containers.privileged"
    yield from (f"containers.{key}" for key in NAMESPACES if setting(podman, f"containers.{key}") == "host")
    yield from (f"containers.{key}" for key in GIVEN if setting(podman, f"containers.{key}"))


def _private(podman: PodmanReading, wanted: Any) -> Put:
    values: dict[str, Any] = {"privileged": False, **NAMESPACES, **{key: [] for key in GIVEN}}
    return {key: values[key.partition(".")[2]] for key in _sharing(podman)}


def _pids(podman: PodmanReading, wanted: int) -> str:
    limit = setting(podman, "containers.pids_limit", PIDS)
    within = isinstance(limit, int) and 0 < limit <= wanted
    return "" if within else said(podman, "containers.pids_limit", PIDS)


def _groups(podman: PodmanReading) -> dict[str, str]:
    given = setting(podman, "containers.cgroup_conf", [])
    rows = (str(row).partition("=") for row in given) if isinstance(given, list) else ()
    return {name.strip(): value.strip() for name, _, value in rows}


def _deaf(podman: PodmanReading) -> str:
    """Podman reads cgroup_conf since 4.5 (podman#17878), and passes over it before without a word."""
    found = re.match(r"(?:[0-9]+:)?([0-9]{1,4})\.([0-9]{1,4})", known(podman.version) or "")
    if not found:
        raise UnknownReading("Podman's version is not known, and before 4.5 it does not read cgroup_conf")
    here = f"Podman {found[1]}.{found[2]} does not read cgroup_conf, as 4.5 does"
    return (
        f"{here}: containers get no limit of memory without a word" if (int(found[1]), int(found[2])) < (4, 5) else ""
    )


def _memory(podman: PodmanReading, wanted: int) -> str:
    if deaf := _deaf(podman):
        return deaf
    limit = _groups(podman).get(MEMORY, "")
    if re.fullmatch("[0-9]{1,18}", limit) and int(limit) <= wanted and _groups(podman).get(SWAP) == "0":
        return ""
    return f"containers get {limit} bytes of memory" if limit else "containers get no limit of memory without a word"


def _with_memory(podman: PodmanReading, wanted: int) -> Put:
    if _deaf(podman):
        return {}
    rows = _groups(podman) | {MEMORY: str(wanted), SWAP: "0"}
    return {"containers.cgroup_conf": [f"{name}={value}" for name, value in rows.items()]}


def _unified(survey: Survey, policy: Policy) -> str:
    """Runtimes start no container that has files of version 2 to write where there are none."""
    version = survey[Cgroups].version
    return "" if version == "v2" else f"the host runs version {version} of control groups, which cgroup_conf is not for"


# ------------------------------------------------------------------------------------------------ rows


def _plain(key: str, default: Any) -> Any:
    """What is wrong where a key simply is what the policy says."""

    def wrong(podman: PodmanReading, wanted: Any) -> str:
        return "" if setting(podman, key, default) == wanted else said(podman, key, default)

    return wrong


ROWS = (
    Row(
        name="capabilities",
        title="Podman's containers get no more capabilities than the policy names",
        severity=Severity.MEDIUM,
        why="Each one widens what a taken-over process can do to the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_beyond,
        put=lambda podman, wanted: {"containers.default_capabilities": sorted(wanted)},
        by_hand="set default_capabilities in /etc/containers/containers.conf",
    ),
    Row(
        name="confined",
        title="Podman's containers are confined by AppArmor or SELinux",
        severity=Severity.HIGH,
        why="What gets past a container's namespaces is stopped by nothing else.",
        references=("NIST-800-190-4.4.3",),
        wrong=_free,
        beside=_unenforced,
        put=_confine,
        by_hand="boot with AppArmor or SELinux, and where that is AppArmor, install its apparmor_parser (apparmor)",
    ),
    Row(
        name="private",
        title="No default of Podman's gives containers what is the host's",
        severity=Severity.HIGH,
        why="What a file gives every container nobody sees who starts one.",
        references=("NIST-800-190-4.4.3",),
        wrong=_shared,
        put=_private,
        by_hand="remove these keys from the file that the finding names",
    ),
    Row(
        name="pids",
        title="Podman's containers have a limit of processes",
        severity=Severity.MEDIUM,
        why="A fork bomb in one container would take the processes of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_pids,
        put=lambda podman, wanted: {"containers.pids_limit": wanted},
        by_hand="set pids_limit in /etc/containers/containers.conf",
    ),
    Row(
        name="memory",
        title="Podman's containers have a limit of memory",
        severity=Severity.MEDIUM,
        why="One container without a limit can take the memory of all others, and of the host.",
        references=("NIST-800-190-4.4.3",),
        wrong=_memory,
        put=_with_memory,
        against=_unified,
        by_hand="set memory.max and memory.swap.max in cgroup_conf of /etc/containers/containers.conf; for a Podman "
        "before 4.5 give each container --memory",
    ),
    Row(
        name="log-driver",
        title="Podman's containers log where the policy says",
        severity=Severity.LOW,
        why="What nobody collects tells nobody what happened.",
        references=(),
        wrong=_plain("containers.log_driver", ""),
        put=lambda podman, wanted: {"containers.log_driver": wanted},
        by_hand="set log_driver in /etc/containers/containers.conf",
    ),
    Row(
        name="keyring",
        title="Each of Podman's containers has a kernel keyring of its own",
        severity=Severity.MEDIUM,
        why="Keys of whoever started a container would be its own too.",
        references=(),
        wrong=_plain("containers.keyring", True),
        put=lambda podman, wanted: {"containers.keyring": True},
        by_hand="set keyring to true in /etc/containers/containers.conf",
    ),
    Row(
        name="read-only",
        title="Podman's containers have read-only root file systems",
        severity=Severity.LOW,
        why="Who takes over a process cannot leave anything in the container's files.",
        references=("NIST-800-190-4.4.4",),
        wrong=_plain("containers.read_only", False),
        put=lambda podman, wanted: {"containers.read_only": True},
        by_hand="set read_only to true in /etc/containers/containers.conf",
    ),
)
