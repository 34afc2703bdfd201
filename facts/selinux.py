"""SELinux: the readings that all have to agree before SELinux enforces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from facts.core.fact import SectionFact
from facts.core.numbers import whole_number
from facts.core.reading import Jsonable, Section, Unknown
from facts.core.reverted import FILE, Reverted, read_reverted

FS = "/sys/fs/selinux"
CONFIG = "/etc/selinux/config"
MODULES = "/var/lib/selinux"
LABEL = "/proc/self/attr/current"
PARAMETERS = ("selinux", "enforcing", "security", "lsm")
BOOLEANS = f"{FS}/booleans"
POLICIES = "/etc/selinux"
OBSERVED = "/run/hullproof-selinux-observed"  # since when, in this boot, denials are observed
CONTAINER_MODULES = ("container", "docker", "podman", "virt")
SAMPLE = "/ /etc/passwd /usr/bin/env /var/lib"  # files that every host has; labels can be read without SELinux too
PERMISSIVE = "permissive_"  # how semanage(8) names the module that makes a domain permissive
MODULE_NAMES = (*CONTAINER_MODULES, f"{PERMISSIVE}*")

Mode = Literal["enforcing", "permissive", "disabled"]


@dataclass(frozen=True)
class Labelled(Jsonable):
    """Processes of one container that have one label. The containers of a pod share theirs."""

    container: str  # the first 12 letters of its id
    pod: str  # those of its pod's; "" where it is in none
    label: str
    monitor: str  # that of its conmon(8), which reads its output; "" where it has no cgroup of its own


@dataclass(frozen=True)
class SELinuxReading(Jsonable):
    """The live mode, the configured one, the command line, whether a policy is loaded, and its type (selinux(8)).

    On RHEL 9 `config_mode` disabled gives a kernel with SELinux and no policy: `mode` permissive, `policy_loaded`
    False. The command line of the next boot is `facts.kernel.kernel.Kernel`'s `boot.configured`.
    """

    mode: Mode | Unknown  # what the kernel does now; "disabled" where it runs without SELinux
    config_mode: str | Unknown | None  # SELINUX= in /etc/selinux/config; None: no such file, or no line with a mode
    type: str | Unknown | None  # SELINUXTYPE=: targeted, default, mls …
    command_line: dict[str, str] | Unknown  # of selinux, enforcing, security and lsm those that were given
    policy_loaded: bool | Unknown
    policy_version: int | Unknown | None  # the newest policy format that this kernel takes; None without SELinux
    modules: tuple[str, ...] | Unknown  # of container, docker, podman and virt those in a policy on disk
    permissive: tuple[str, ...] | Unknown  # domains that a policy on disk makes permissive: sshd_t …
    labelled: bool | Unknown  # whether files have labels: a sample
    relabel_pending: bool  # /.autorelabel is there
    config: str | Unknown | None  # the text of /etc/selinux/config
    policies: tuple[str, ...] | Unknown  # types with a compiled policy in /etc/selinux: default, targeted …
    policy_changed: int | None  # when the newest of them was compiled, in seconds since the epoch
    setfiles: bool | Unknown  # whether files can be labelled
    booleans: dict[str, bool]  # the policy's switches about containers, as the kernel has them
    observed_since: int | Unknown | None  # seconds since the epoch; None: no observation has begun
    reverted: Reverted | Unknown | None  # when the host went back to permissive by itself
    podman: tuple[Labelled, ...]  # what runs in Podman's containers, root's and users', where the kernel has SELinux

    @property
    def container_domains(self) -> bool | Unknown:
        """Whether the policy on disk knows container_t."""
        return self.modules if isinstance(self.modules, Unknown) else "container" in self.modules


class SELinux(SectionFact[SELinuxReading]):
    """SELinux as the kernel, its configuration and its policy store have it. Needs no getenforce."""

    key: ClassVar[str] = "selinux"
    script: ClassVar[str] = (
        f"FS={FS} LABEL={LABEL} CONFIG={CONFIG} MODULES={MODULES} POLICIES={POLICIES} BOOLEANS={BOOLEANS}\n"
        f"MODULE_NAMES='{' -o '.join(f'-name {name}' for name in MODULE_NAMES)}' SAMPLE='{SAMPLE}'\n"
        f"OBSERVED={OBSERVED} REVERTED={FILE}selinux\n" + Path(__file__).with_suffix(".sh").read_text(encoding="utf-8")
    )

    @staticmethod
    def parse(section: Section) -> SELinuxReading:
        mode = _mode(section)
        config = section.file(CONFIG)
        modules, policies = _modules(section), _policies(section)
        return SELinuxReading(
            mode=mode,
            config_mode=_config_mode(config),
            type=_type(config),
            command_line=parameters(section.text("/proc/cmdline"), PARAMETERS),
            policy_loaded=_policy_loaded(section, mode),
            policy_version=_policy_version(section),
            modules=modules if isinstance(modules, Unknown) else tuple(sorted(modules & set(CONTAINER_MODULES))),
            permissive=modules if isinstance(modules, Unknown) else _permissive(modules),
            labelled=_labelled(section),
            relabel_pending="relabel" in section.blocks,
            config=config,
            policies=policies if isinstance(policies, Unknown) else tuple(sorted({name for name, _ in policies})),
            policy_changed=None if isinstance(policies, Unknown) else max((when for _, when in policies), default=None),
            setfiles=_setfiles(section),
            booleans=_booleans(section),
            observed_since=_observed_since(section),
            reverted=read_reverted(section, "selinux") if f"{FILE}selinux" in section.blocks else None,
            podman=tuple(sorted(set(_podman(section)), key=lambda row: (row.container, row.label))),
        )


def parameters(command_line: str | Unknown, names: tuple[str, ...]) -> dict[str, str] | Unknown:
    """Those of `names` that a kernel command line gives, each with the value that counts: the last."""
    if isinstance(command_line, Unknown):
        return command_line
    pairs = (word.partition("=") for word in command_line.split())
    return {name: value for name, equals, value in pairs if equals and name in names}


def _mode(section: Section) -> Mode | Unknown:
    enforce = section.file(f"{FS}/enforce")
    if isinstance(enforce, Unknown):
        return enforce
    if enforce is not None:
        modes: dict[str, Mode] = {"0": "permissive", "1": "enforcing"}
        return modes.get(enforce.strip(), Unknown(f"{FS}/enforce does not hold a mode"))
    kinds = section.text("/proc/filesystems")
    if isinstance(kinds, Unknown):
        return kinds
    return Unknown(f"the kernel runs SELinux, but {FS} is not mounted") if "selinuxfs" in kinds else "disabled"


def _config_mode(config: str | Unknown | None) -> str | Unknown | None:
    """As libselinux's selinux_getenforcemode() has it: the first line that gives a mode, which is not indented."""
    if not isinstance(config, str):
        return config
    found = re.search(r"^SELINUX=[ \t]*(enforcing|permissive|disabled)", config, re.MULTILINE | re.IGNORECASE)
    return found[1].lower() if found else None


def _type(config: str | Unknown | None) -> str | Unknown | None:
    """As libselinux's init_selinux_config() has it: the last such line, indented or not, and all that it gives."""
    if not isinstance(config, str):
        return config
    found = re.findall(r"^[ \t]*SELINUXTYPE=(.*)$", config, re.MULTILINE | re.IGNORECASE)
    return found[-1].strip() or None if found else None


def _policy_loaded(section: Section, mode: Mode | Unknown) -> bool | Unknown:
    """Before a policy is loaded every process is `kernel`; after, a label has user, role and type."""
    if mode == "disabled":
        return False
    label = section.text(LABEL)
    if isinstance(label, Unknown):
        return label
    named = label.strip("\0\n ")
    if named == "kernel":
        return False
    return True if named.count(":") >= 2 else Unknown(f"{LABEL} does not hold an SELinux label")


def _policy_version(section: Section) -> int | Unknown | None:
    text = section.file(f"{FS}/policyvers")
    if not isinstance(text, str):
        return text
    version = whole_number(text)
    return Unknown(f"{FS}/policyvers does not hold a number") if version is None else version


def _modules(section: Section) -> set[str] | Unknown:
    """Those of MODULE_NAMES that a policy on disk has and that are not disabled."""
    text = section.file("modules")
    if isinstance(text, Unknown):
        return text
    paths = [line.split("/") for line in (text or "").splitlines() if "/active/modules/" in line]
    disabled = {path[-1] for path in paths if path[-2] == "disabled"}
    return {path[-1] for path in paths} - disabled


def _permissive(modules: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name.removeprefix(PERMISSIVE) for name in modules if name.startswith(PERMISSIVE)))


def _policies(section: Section) -> list[tuple[str, int]] | Unknown:
    """Type and time of lines such as `1700000000.25 /etc/selinux/default/policy/policy.33`."""
    block = section.block("policies")
    if isinstance(block, Unknown):
        return block
    if block.status != 0 and not block.absent:
        return Unknown(f"{POLICIES}: {block.complaint}")
    found = re.findall(rf"^(\d+)\.\d+ {POLICIES}/([^/\n]+)/", block.text, re.MULTILINE)
    return [(name, int(when)) for when, name in found]


def _setfiles(section: Section) -> bool | Unknown:
    block = section.block("setfiles")
    if isinstance(block, Unknown):
        return block
    return block.status == 0 if block.status == 0 or not block.text.strip() else Unknown(f"setfiles: {block.complaint}")


def _labelled(section: Section) -> bool | Unknown:
    """stat(1) prints a label of each file that has one, and complains of the others."""
    block = section.block("labels")
    if isinstance(block, Unknown):
        return block
    lines = block.text.splitlines()
    bare = [line for line in lines if "failed to get security context" in line or ":unlabeled_t:" in line]
    if bare and not any("Operation not permitted" in line or "Permission denied" in line for line in bare):
        return False
    return True if block.status == 0 else Unknown(f"labels of files: {block.complaint}")


def _booleans(section: Section) -> dict[str, bool]:
    """Lines such as `/sys/fs/selinux/booleans/container_manage_cgroup:0 0`: the current value, and a pending one."""
    block = section.blocks.get("booleans")
    found = re.findall(rf"^{BOOLEANS}/(\w+):([01]) [01]$", block.text, re.MULTILINE) if block else []
    return {name: value == "1" for name, value in found}


def _podman(section: Section) -> Iterator[Labelled]:
    """Lines such as `/proc/7/cgroup:libpod-ID.scope/container`, or `libpod-conmon-ID.scope`, and
    `/proc/7/attr/current:LABEL` of the same."""
    block = section.blocks.get("podman")
    lines = block.text.splitlines() if block else []
    rows = [match.groups() for line in lines if (match := re.match(r"/proc/(\d+)/(cgroup|attr/current):(.*)", line))]
    labels = {pid: text.strip("\0 ") for pid, file, text in rows if file != "cgroup"}
    named = [(pid, text) for pid, file, text in rows if file == "cgroup" and pid in labels]
    monitors = {m[1]: labels[pid] for pid, text in named if (m := re.search(r"libpod-conmon-([0-9a-f]{12})", text))}
    for pid, text in named:
        own, pod = (re.search(rf"{name}([0-9a-f]{{12}})", text) for name in ("libpod-", "libpod_pod_"))
        if own:
            yield Labelled(own[1], pod[1] if pod else "", labels[pid], monitors.get(own[1], ""))


def _observed_since(section: Section) -> int | Unknown | None:
    if OBSERVED not in section.blocks:
        return None
    text = section.text(OBSERVED)
    if isinstance(text, Unknown):
        return text
    began = whole_number(text)
    return Unknown(f"{OBSERVED} does not hold a time") if began is None else began
