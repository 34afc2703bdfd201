"""SELinux: the readings that have to agree before it can be said to enforce."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from facts.reading import Jsonable, Section, SectionFact, Unknown

FS = "/sys/fs/selinux"
CONFIG = "/etc/selinux/config"
MODULES = "/var/lib/selinux"
LABEL = "/proc/self/attr/current"
PARAMETERS = ("selinux", "enforcing", "security", "lsm")
CONTAINER_MODULES = ("container", "docker", "podman", "virt")

Mode = Literal["enforcing", "permissive", "disabled"]


@dataclass(frozen=True)
class SELinuxReading(Jsonable):
    """The live mode, the configured one, the command line, whether a policy is loaded, and its type (selinux(8)).

    On RHEL 9 `config_mode` disabled gives a kernel with SELinux and no policy: `mode` permissive, `policy_loaded`
    False. The command line of the next boot is `facts.kernel.Kernel`'s `boot.configured`.
    """

    mode: Mode | Unknown  # what the kernel does now; "disabled" where it runs without SELinux
    config_mode: str | Unknown | None  # SELINUX= in /etc/selinux/config; None: no such file, or no such line
    type: str | Unknown | None  # SELINUXTYPE=: targeted, default, mls …
    command_line: dict[str, str] | Unknown  # of selinux, enforcing, security and lsm those that were given
    policy_loaded: bool | Unknown
    policy_version: int | Unknown | None  # the newest policy format that this kernel takes; None without SELinux
    modules: tuple[str, ...] | Unknown  # of container, docker, podman and virt those in a policy on disk
    relabel_pending: bool  # /.autorelabel is there

    @property
    def container_domains(self) -> bool | Unknown:
        """Whether the policy on disk knows container_t."""
        return self.modules if isinstance(self.modules, Unknown) else "container" in self.modules


class SELinux(SectionFact[SELinuxReading]):
    """SELinux as the kernel, its configuration and its policy store have it. Needs no getenforce."""

    key: ClassVar[str] = "selinux"
    script: ClassVar[str] = f"""
show /proc/filesystems {FS}/enforce {FS}/policyvers {LABEL} {CONFIG} /proc/cmdline
run modules find {MODULES} -mindepth 5 -maxdepth 5 '(' {" -o ".join(f"-name {n}" for n in CONTAINER_MODULES)} ')'
[ -e /.autorelabel ] && run relabel true
:
"""

    @staticmethod
    def parse(section: Section) -> SELinuxReading:
        mode = _mode(section)
        config = section.file(CONFIG)
        return SELinuxReading(
            mode=mode,
            config_mode=_setting(config, "SELINUX"),
            type=_setting(config, "SELINUXTYPE"),
            command_line=parameters(section.text("/proc/cmdline"), PARAMETERS),
            policy_loaded=_policy_loaded(section, mode),
            policy_version=_policy_version(section),
            modules=_modules(section),
            relabel_pending="relabel" in section.blocks,
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
        return modes.get(enforce.strip(), Unknown(f"{FS}/enforce holds no mode"))
    kinds = section.text("/proc/filesystems")
    if isinstance(kinds, Unknown):
        return kinds
    return Unknown(f"SELinux is in the kernel and {FS} is not mounted") if "selinuxfs" in kinds else "disabled"


def _setting(config: str | Unknown | None, name: str) -> str | Unknown | None:
    if not isinstance(config, str):
        return config
    found = re.findall(rf"^[ \t]*{name}[ \t]*=[ \t]*(\S+)", config, re.MULTILINE)
    return found[-1].lower() if found else None


def _policy_loaded(section: Section, mode: Mode | Unknown) -> bool | Unknown:
    """Before a policy is loaded every process is `kernel`; after, a label has user, role and type."""
    if mode == "disabled":
        return False
    label = section.text(LABEL)
    if isinstance(label, Unknown):
        return label
    named = label.strip("\0\n ")
    return {"kernel": False}.get(named, True if named.count(":") >= 2 else Unknown(f"{LABEL} holds no SELinux label"))


def _policy_version(section: Section) -> int | Unknown | None:
    text = section.file(f"{FS}/policyvers")
    if not isinstance(text, str):
        return text
    return int(text) if text.strip().isdigit() else Unknown(f"{FS}/policyvers holds no number")


def _modules(section: Section) -> tuple[str, ...] | Unknown:
    text = section.file("modules")
    if isinstance(text, Unknown):
        return text
    paths = [line.split("/") for line in (text or "").splitlines() if "/active/modules/" in line]
    disabled = {path[-1] for path in paths if path[-2] == "disabled"}
    return tuple(sorted({path[-1] for path in paths} & set(CONTAINER_MODULES) - disabled))
