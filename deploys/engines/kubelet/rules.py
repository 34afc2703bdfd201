"""The policy's `kubelet` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from deploys.core.policy import Rules


class KubeletRules(Rules):
    """The kubelet of a Kubernetes node: its API, what it gives pods, and its files (KubeletConfiguration)."""

    anonymous: Literal[False] | None = Field(
        None, description="Nobody speaks to the kubelet's API without credentials (authentication.anonymous)."
    )
    authorization: Literal["Webhook"] | None = Field(
        None, description="The API server is asked what a client of the kubelet may do (authorization.mode)."
    )
    client_ca: Literal[True] | None = Field(
        None, description="Clients are known by certificates of an authority that is named (clientCAFile)."
    )
    read_only_port: Literal[0] | None = Field(
        None, description="There is no port that tells everybody of the node's pods (readOnlyPort)."
    )
    streaming_timeout: Literal[True] | None = Field(
        None, description="Sessions in which nothing happens end (streamingConnectionIdleTimeout)."
    )
    iptables_chains: Literal[True] | None = Field(
        None, description="The kubelet keeps its iptables chains in place (makeIPTablesUtilChains)."
    )
    hostname_override: Literal[False] | None = Field(
        None, description="The node has the host's own name (--hostname-override)."
    )
    event_qps: int | None = Field(
        None, ge=1, description="At least this many events a second are recorded; 0 on a host is no limit."
    )
    server_certificate: Literal[True] | None = Field(
        None, description="The kubelet's certificate is of an authority, not of its own making."
    )
    rotate_certificates: Literal[True] | None = Field(
        None, description="The certificate with which the kubelet logs in is renewed (rotateCertificates)."
    )
    rotate_server_certificate: Literal[True] | None = Field(
        None, description="The certificate that the kubelet serves with may be renewed (a feature gate)."
    )
    ciphers: list[Annotated[str, Field(pattern="^TLS_[A-Z0-9_]+$")]] | None = Field(
        None, min_length=1, description="The only cipher suites below TLS 1.3 (tlsCipherSuites)."
    )
    pod_pids: int | None = Field(None, ge=1, description="A pod has at most this many processes (podPidsLimit).")
    seccomp_default: Literal[True] | None = Field(
        None, description="Pods that name no seccomp profile get the container runtime's (seccompDefault)."
    )
    protect_kernel_defaults: Literal[True] | None = Field(
        None, description="The kubelet changes no sysctls of the host (protectKernelDefaults)."
    )
    user_namespaces: Literal[True] | None = Field(
        None, description="Pods can have user namespaces (hostUsers: false in a pod)."
    )
    file_modes: Literal[True] | None = Field(
        None, description="The kubelet's files are root's, with modes no wider than CIS Kubernetes section 4.1."
    )
    pod_separation: Literal[True] | None = Field(
        None, description="Something on the node holds pods to the cluster's network policies."
    )
