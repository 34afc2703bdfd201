"""The policy's `nspawn` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from deploys.core.policy import Rules
from facts.capabilities import capability


class NspawnRules(Rules):
    """How systemd starts machines of systemd-nspawn from now on (systemd-nspawn@.service)."""

    user_namespace: Literal["pick"] | None = Field(
        None, description="Each machine gets ids of its own, which nobody else has (--private-users=pick)."
    )
    settings: Literal["trusted", "no"] | None = Field(
        None,
        description="Which .nspawn files count. trusted: those of root's in /etc and /run, for what the policy leaves "
        "open; no: none (--settings).",
    )
    capabilities: list[Annotated[str, AfterValidator(capability)]] | None = Field(
        None, description="The capabilities that no machine gets (--drop-capability)."
    )
    refused_calls: list[Annotated[str, Field(pattern="^@?[a-z0-9_-]+$")]] | None = Field(
        None,
        description="System calls, and groups of them as in systemd.exec(5), that no machine may make "
        "(--system-call-filter).",
    )
    no_new_privileges: Literal[True] | None = Field(
        None, description="Processes in machines gain no privileges by setuid programs (--no-new-privileges)."
    )
    private_network: Literal[True] | None = Field(
        None, description="Machines do not share the host's network (--network-veth and its like)."
    )
    pids: int | None = Field(None, ge=1, description="A machine has at most this many tasks (TasksMax).")
    memory: int | None = Field(
        None, ge=6 << 20, description="A machine has at most this many bytes of memory, and no swap (MemoryMax)."
    )
    machines: list[str] | None = Field(
        None,
        description="Names of the only machines that may have files of their own which weaken them (.nspawn files that "
        "count, drop-ins of their units); [] is none.",
    )
