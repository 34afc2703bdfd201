"""The policy's `podman` section."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from deploys.core.policy import Rules
from facts.capabilities import capability


def network(name: str) -> str:
    if not re.fullmatch("[a-zA-Z0-9][a-zA-Z0-9_.-]*", name):
        raise ValueError("this is no name of a Podman network")
    return name


class PodmanRules(Rules):
    """Podman's defaults for the containers that root makes from now on (containers.conf), and its API."""

    user_namespace: Literal["auto"] | None = Field(
        None, description="Each container gets ids of its own, which nobody else has (userns=auto)."
    )
    capabilities: list[Annotated[str, AfterValidator(capability)]] | None = Field(
        None, description="The only capabilities that a container gets without a word (default_capabilities)."
    )
    seccomp: Literal[True, "hullproof"] | None = Field(
        None,
        description="Containers get a seccomp filter. true: Podman's own, or one that allows no more; hullproof: "
        "hullproof's, which allows less, and which privileged containers get too (seccomp_profile).",
    )
    confined: Literal[True] | None = Field(
        None, description="Containers get an AppArmor profile and an SELinux label (apparmor_profile, label)."
    )
    no_new_privileges: Literal[True] | None = Field(
        None, description="Processes in containers gain no privileges from setuid programs, by a hook of hullproof's."
    )
    private: Literal[True] | None = Field(
        None,
        description="No default shares the host's namespaces, or gives privileges, devices or folders of the host's.",
    )
    pids: int | None = Field(None, ge=1, description="A container has at most this many processes (pids_limit).")
    memory: int | None = Field(
        None,
        ge=6 << 20,
        description="A container has at most this many bytes of memory, and no swap, whatever its own --memory says "
        "(cgroup_conf).",
    )
    log_driver: Literal["journald", "k8s-file"] | None = Field(None, description="Where containers' output goes.")
    keyring: Literal[True] | None = Field(None, description="Each container gets a kernel keyring of its own.")
    read_only: Literal[True] | None = Field(None, description="Containers' root file systems are read-only.")
    isolate: Literal["all"] | list[Annotated[str, AfterValidator(network)]] | None = Field(
        None,
        description="Networks of Podman's that keep apart from each other (isolate). all: every one, where there are "
        "several; or their names, of which harden sets it.",
    )
    api: Literal["none", "root"] | None = Field(
        None, description="none: Podman's API does not listen; root: on its socket, which root alone may use."
    )
