"""The policy's `rootless` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from deploys.core.policy import Policy, Rules

User = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_.-]*$")]


class RootlessRules(Rules):
    """Users who run containers without root, by Podman or Docker."""

    users: list[User] | None = Field(
        None, description="The only users who may run containers without root; [] is none."
    )
    ranges: Literal[True] | None = Field(
        None, description="Each of `users` has 65,536 subordinate ids or more, and nobody else has them."
    )
    helpers: Literal[True] | None = Field(
        None, description="newuidmap and newgidmap are there for `users`, and only root can change them."
    )
    linger: Literal[True] | None = Field(
        None, description="Containers of `users` start at boot and stay when they log out; nobody else's services do."
    )
    api: list[User] | None = Field(
        None, description="The only users for whom an engine's API listens; [] is none. By TCP it listens for nobody."
    )
    memory: int | None = Field(
        None, ge=1, le=95, description="Each of `users`, with all that they run, takes at most this percentage of the "
        "host's memory (MemoryMax of their slice).",
    )  # fmt: skip
    pids: int | None = Field(
        None, ge=1, le=95, description="Each of `users` has at most this percentage of the host's tasks (TasksMax)."
    )
    cpu: int | None = Field(
        None, ge=1, le=100, description="The CPU weight of each of `users`; others have 100 (CPUWeight)."
    )


def users_of(policy: Policy) -> list[str]:
    return policy[RootlessRules].users or []
