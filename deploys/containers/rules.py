"""The policy's `containers` section."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from deploys.containers.names import FORMS, checked
from deploys.core.policy import Rules
from facts.capabilities import capability

# Docker's default set (moby: oci/caps/defaults.go); Podman's and containerd's are within it.
DEFAULT_CAPABILITIES = frozenset(
    ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
     "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT")
)  # fmt: skip

Name = Annotated[str, AfterValidator(checked)]


def _names(what: str, formerly: str = "", split_from: tuple[str, ...] = ()) -> list[Name] | None:
    """A list of the only containers that may do something; None: not declared, [] is none. See deploys.core.renames."""
    extra: dict[str, Any] = {"formerly": formerly, "engine": "docker"} if formerly else {}
    found: list[Name] | None = Field(
        None,
        description=f"Names of the only containers that may {what}; [] is none (forms of names: {FORMS}).",
        json_schema_extra=extra | ({"split_from": list(split_from)} if split_from else {}) or None,
    )
    return found


class ContainersRules(Rules):
    """What must hold for every running container, whichever engine started it."""

    privileged: list[Name] | None = _names("be privileged", formerly="docker.privileged_containers")
    host_namespaces: list[Name] | None = _names("share the host's namespaces", formerly="docker.host_namespaces")
    joined_namespaces: list[Name] | None = _names("share namespaces with a container that is not of the same pod")
    host_ids: list[Name] | None = _names(
        "run without a user namespace of their own: their root is the host's root", split_from=("userns.docker_remap",)
    )
    capabilities: list[Annotated[str, AfterValidator(capability)]] | None = Field(
        None,
        description="Capabilities that containers may hold, besides Docker's default 14.",
        json_schema_extra={"formerly": "docker.allowed_capabilities"},
    )
    unfiltered: list[Name] | None = _names(
        "run without a seccomp filter at least as strict as their engine's own", formerly="seccomp.containers"
    )
    new_privileges: list[Name] | None = _names(
        "gain privileges by setuid programs (without no-new-privileges)", split_from=("docker.no_new_privileges",)
    )
    unconfined: list[Name] | None = _names(
        "run without an AppArmor profile in enforce mode or an SELinux domain",
        split_from=("apparmor.containers", "selinux.containers"),
    )
    shared_categories: list[Name] | None = _names("share an SELinux category", split_from=("selinux.containers",))
    devices: list[Name] | None = _names("have device nodes of the host")
    mounts: list[Name] | None = _names(
        "have an engine's socket or the host's own folders mounted", formerly="docker.sensitive_mounts"
    )
    shared_profiles: list[Name] | None = _names("share an AppArmor profile, of libvirt's, which gives each its own")
    shared: list[Name] | None = _names("share a volume or path with another one, where one of the two may write")
    unmasked: list[Name] | None = _names("have a /proc or /sys whose dangerous parts are not masked")
    limits: list[Literal["memory", "pids", "cpu"]] | None = Field(
        None,
        description="The resources that must be limited for every container, by a control group that it does not "
        "share with other containers (a pod's counts).",
    )
    unlimited: list[Name] = Field([], description="Names of the containers that `limits` does not ask for.")
    unlisted: list[str] | None = Field(
        None,
        description="Control groups, or how they begin, of the only containers that may run though no engine that "
        "hullproof knows has started them; [] is none.",
    )
    guests: list[str] | None = Field(
        None,
        description="Names that libvirt has for the only guests whose emulators may run without a seccomp filter, or "
        "without an AppArmor profile or SELinux category that no other guest has; `user:1000` names all whose "
        "emulators run as this user; [] is none.",
    )
    guest_devices: list[str] | None = Field(
        None,
        description="Names that libvirt has for the only running guests whose emulators may have a floppy controller "
        "or drive, sound, USB, or a serial port; `user:1000` names all whose emulators run as this user; [] is none.",
    )
