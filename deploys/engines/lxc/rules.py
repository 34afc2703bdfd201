"""The policy's `lxc` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from deploys.core.policy import Rules
from facts.capabilities import capability


class LxcRules(Rules):
    """What LXC gives the containers that root makes from now on (default.conf, which lxc-create copies)."""

    user_namespace: Literal["mapped"] | None = Field(
        None, description="Containers get ids that nobody else has: their root is not the host's (lxc.idmap)."
    )
    capabilities: list[Annotated[str, AfterValidator(capability)]] | None = Field(
        None, description="The capabilities that no container gets (lxc.cap.drop)."
    )
    seccomp: Literal["guarded", "strict"] | None = Field(
        None,
        description="Containers get a seccomp filter. guarded: it refuses what only a host's own root needs; strict: "
        "user namespaces, io_uring and keyrings too (lxc.seccomp.profile).",
    )
    confined: Literal[True] | None = Field(
        None, description="Containers get an AppArmor profile (lxc.apparmor.profile)."
    )
    nesting: Literal[False] | None = Field(
        None, description="That profile lets them mount no other proc and sysfs (lxc.apparmor.allow_nesting)."
    )
    no_new_privileges: Literal[True] | None = Field(
        None, description="Processes in containers gain no privileges by setuid programs (lxc.no_new_privs)."
    )
    private: Literal[True] | None = Field(
        None, description="No default gives containers namespaces, folders, devices or a writable proc of the host's."
    )
    pids: int | None = Field(None, ge=1, description="A container has at most this many processes (pids.max).")
    memory: int | None = Field(
        None, ge=6 << 20, description="A container has at most this many bytes of memory, and no swap (memory.max)."
    )
    cpu_weight: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="A container's weight on the CPU is at most this; services have 100 (cpu.weight).",
    )
    io_weight: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="A container's weight on disks is at most this; services have 100 (io.weight).",
    )
    slice: Literal["machine.slice"] | None = Field(
        None, description="Containers run below this slice, whose limits hold for all of them (lxc.cgroup.dir)."
    )
    usernet: list[str] | None = Field(
        None,
        description="The only rows that /etc/lxc/lxc-usernet may have (`USER veth BRIDGE COUNT`): who may connect "
        "containers to the host's bridges, without being root.",
    )
    host_ids: list[str] | None = Field(
        None, description="The only containers that may be there without ids of their own (lxc.idmap), running or not."
    )
    weakened: list[str] | None = Field(
        None,
        description="The only containers whose files may take back the seccomp filter or the capabilities that "
        "hullproof's default gave them.",
    )
