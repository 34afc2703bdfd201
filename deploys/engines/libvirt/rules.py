"""The policy's `libvirt` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from deploys.core.policy import Rules
from facts.capabilities import capability
from facts.engines.libvirt.domains import DROPPABLE


def _droppable(name: str) -> str:
    if capability(name) not in DROPPABLE:
        raise ValueError(f"libvirt takes {name} from no container: map its ids instead (host_ids)")
    return name


class LibvirtRules(Rules):
    """libvirt's defaults for the containers and guests that it starts from now on (/etc/libvirt/*.conf), its API, and
    what domains are declared with. Lists have names of domains; [] is none."""

    confined: Literal[True] | None = Field(
        None,
        description="Containers and guests get a label of AppArmor or SELinux (security_driver, "
        "security_default_confined).",
    )
    require_confined: Literal[True] | None = Field(
        None, description="libvirt starts no container or guest without a label (security_require_confined)."
    )
    unprivileged_emulators: Literal[True] | None = Field(
        None, description="Emulators of guests run as a user of their own, and never as root (user, group)."
    )
    seccomp_sandbox: Literal[True] | None = Field(
        None, description="Emulators of guests get a seccomp filter (seccomp_sandbox)."
    )
    authenticated: Literal[True] | None = Field(
        None, description="Who is not root speaks to libvirt's API only as polkit or SASL allow (auth_unix_rw)."
    )
    trusted_users: list[str] | None = Field(
        None, description="The only members of the group libvirt, who can become root; [] is nobody."
    )
    tcp: Literal["none", "tls"] | None = Field(
        None, description="none: libvirt listens on no TCP port; tls: only for clients with a certificate."
    )
    host_ids: list[str] | None = Field(
        None, description="The only containers that may be declared without ids of their own (idmap)."
    )
    domain_capabilities: list[Annotated[str, AfterValidator(_droppable)]] | None = Field(
        None, description="The capabilities that no container may be declared with (features, capabilities)."
    )
    owned: list[str] | None = Field(
        None,
        description="The only domains that harden may declare anew, as the policy wants it, for their next start: "
        "interfaces are filtered, and containers get ids of their own and lose capabilities.",
    )
    unfiltered: list[str] | None = Field(
        None,
        description="The only domains whose interfaces on bridges may be without a filter of libvirt's that keeps them "
        "to their own addresses, such as clean-traffic. Those on bridges whose ports hullproof's table keeps apart "
        "(bridges.isolated_engines) need none.",
    )
    unlabelled: list[str] | None = Field(
        None, description="The only domains that may be declared without a label (seclabel of type none)."
    )
    emulated_devices: list[str] | None = Field(
        None, description="The only guests that may have a floppy drive, sound, USB, or a serial port emulated."
    )
