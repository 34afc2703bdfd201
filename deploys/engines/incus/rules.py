"""The policy's `incus` section, which is LXD's too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploys.core.policy import Rules


class IncusRules(Rules):
    """Incus and LXD: the profile `default`, which new instances get, and which instances and clients may more. An
    instance is named `web`, of another project than the default one `shop/web`, a profile `profile:build`."""

    isolated: Literal[True] | None = Field(
        None,
        description="By the profile `default` each container has ids that no other has (security.idmap.isolated).",
    )
    pids: int | None = Field(
        None, ge=1, description="By it a container has at most this many processes (limits.processes)."
    )
    memory: int | None = Field(
        None, ge=64 << 20, description="By it an instance has at most this many bytes of memory (limits.memory)."
    )
    privileged: list[str] | None = Field(
        None, description="The only instances and profiles that may have the host's ids (security.privileged)."
    )
    nesting: list[str] | None = Field(
        None, description="The only instances and profiles that may run containers in containers (security.nesting)."
    )
    raw: list[str] | None = Field(
        None,
        description="The only instances and profiles that may have lines for LXC, QEMU, AppArmor or seccomp as these "
        "read them (raw.*), or a seccomp filter that lets more through (security.syscalls.*).",
    )
    address: Literal["none"] | None = Field(
        None, description="none: the API listens for no other machine (core.https_address)."
    )
    certificates: list[str] | None = Field(
        None, description="The only clients that the API trusts from elsewhere, by name or by fingerprint (12 digits)."
    )
    trusted_users: list[str] | None = Field(
        None, description="The only members of the groups that the sockets are for (incus-admin, incus, lxd)."
    )
