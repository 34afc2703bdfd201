"""The policy's `containerd` section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploys.core.policy import Rules


class ContainerdRules(Rules):
    """What containerd's plugin for Kubernetes (CRI) gives new containers (/etc/containerd/config.toml), and its API.
    Containers that `ctr` makes obey none of it."""

    seccomp: Literal[True] | None = Field(
        None, description="Containers that name no seccomp profile get containerd's own (unset_seccomp_profile)."
    )
    confined: Literal[True] | None = Field(
        None,
        description="Containers get an AppArmor profile and, where SELinux runs, a label (disable_apparmor, "
        "enable_selinux).",
    )
    restrict_oom_score_adj: Literal[True] | None = Field(
        None, description="No container is killed later than containerd itself (restrict_oom_score_adj)."
    )
    systemd_cgroup: Literal[True] | None = Field(
        None, description="systemd makes the control groups of containers (SystemdCgroup), as it does the host's own."
    )
    devices: Literal[True] | None = Field(
        None,
        description="Privileged containers get no devices of the host's (privileged_without_host_devices). In no "
        "policy of hullproof's, as pods of storage (CSI) and of device plugins are privileged because they need them.",
    )
    registries: Literal["tls"] | None = Field(
        None, description="Images come over TLS alone, from registries whose certificate is looked at (hosts.toml)."
    )
    image_verifier: Literal[True] | None = Field(
        None, description="A program decides which images Kubernetes may pull, where containerd asks one (2.1)."
    )
    user_namespaces: Literal[True] | None = Field(
        None, description="containerd and its runtime are of releases that give pods user namespaces (hostUsers)."
    )
    socket: Literal["root"] | None = Field(None, description="Only root may speak to containerd (containerd.sock).")
    tcp: Literal["none"] | None = Field(
        None, description="containerd serves nothing that other machines reach over TCP (API, metrics, debug, streams)."
    )
