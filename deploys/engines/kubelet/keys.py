"""The rows: keys of KubeletConfiguration (v1beta1), and what counts without them."""

from __future__ import annotations

import re
from typing import Any

from deploys.core.change import Context, Obstacle
from deploys.core.control import Severity
from deploys.engines.kubelet.settings import Key, setting
from facts.engines.kubelet.kubelet import KubeletReading, Setup

API = "kubelet-api"  # accepting it: who speaks to the kubelet without credentials no longer can
SECCOMP = "kubelet-seccomp"  # accepting it: what pods do that the runtime's profile forbids fails in those made later
IDLE = "4h0m0s"  # what a file's 0 means too: v1beta1 has no other word for "not set"


def _open(context: Context) -> Obstacle | None:
    why = (
        "whoever speaks to the kubelet without credentials, or without a role for it (monitoring on ports 10250 and "
        "10255), no longer can"
    )
    return None if context.accepts(API) else Obstacle(why=why, accepts=(API,))


def _filtered(context: Context) -> Obstacle | None:
    why = (
        "pods that name no seccomp profile get the container runtime's in each container that is made from then on; "
        "what it forbids fails there"
    )
    return None if context.accepts(SECCOMP) else Obstacle(why=why, accepts=(SECCOMP,))


def _certificate(kubelet: KubeletReading, setup: Setup) -> Any:
    """False for a certificate of its own making."""
    files = [setting(setup, key).value for key in ("tlsCertFile", "tlsPrivateKeyFile")]
    if all(files):
        return f"not needed: tlsCertFile is {files[0]}"
    return setting(setup, "serverTLSBootstrap").value is True


def _ciphers(kubelet: KubeletReading, setup: Setup) -> Any:
    """TLS 1.3 has no suites to choose from."""
    if setting(setup, "tlsMinVersion").value == "VersionTLS13":
        return "VersionTLS13"
    return setting(setup, "tlsCipherSuites").value or []


def _strong(value: Any, wanted: list[str]) -> bool:
    suites = value if isinstance(value, list) else []
    return value == "VersionTLS13" or (bool(suites) and all(suite in wanted for suite in suites))


def _idle(kubelet: KubeletReading, setup: Setup) -> Any:
    """0 on the command line is never; in a file it is the default."""
    found = setting(setup, "streamingConnectionIdleTimeout")
    by_itself = "streamingConnectionIdleTimeout" not in setup.flags and not _ends(found.value or 0, True)
    return IDLE if by_itself else found.value


def _ends(value: Any, wanted: Any) -> bool:
    return re.search("[1-9]", str(value)) is not None


def _within(value: Any, wanted: int) -> bool:
    return type(value) is int and 0 < value <= wanted


def _enough(value: Any, wanted: int) -> bool:
    return type(value) is int and (value == 0 or value >= wanted)


KEYS = (
    Key(
        name="anonymous",
        keys=("authentication.anonymous.enabled",),
        title="Nobody speaks to the kubelet's API without credentials",
        severity=Severity.HIGH,
        why="Whoever reaches the port could run commands in every container of the node.",
        references=("CIS-Kubernetes-4.2.1",),
        wanted=lambda rules: rules.anonymous,
        default=False,
        legacy=True,
        put=lambda wanted: {"authentication.anonymous.enabled": False},
        first=_open,
    ),
    Key(
        name="authorization",
        keys=("authorization.mode",),
        title="The kubelet asks the API server what a client may do",
        severity=Severity.HIGH,
        why="Otherwise every client with any certificate of the cluster may do all that the kubelet can.",
        references=("CIS-Kubernetes-4.2.2",),
        wanted=lambda rules: rules.authorization,
        default="Webhook",
        legacy="AlwaysAllow",
        put=lambda wanted: {"authorization.mode": wanted},
        first=_open,
    ),
    Key(
        name="client-ca",
        keys=("authentication.x509.clientCAFile",),
        title="The kubelet knows its clients by certificates",
        severity=Severity.HIGH,
        why="Without an authority to check them by, the kubelet cannot tell the API server from anybody else.",
        references=("CIS-Kubernetes-4.2.3",),
        wanted=lambda rules: rules.client_ca,
        default="",
        unset="no clientCAFile is named",
        holds=lambda value, wanted: isinstance(value, str) and bool(value),
        by_hand="set authentication.x509.clientCAFile to the file of the cluster's authority, and restart the kubelet",
    ),
    Key(
        name="read-only-port",
        keys=("readOnlyPort",),
        title="The kubelet has no port that needs no credentials",
        severity=Severity.HIGH,
        why="It tells everybody who reaches it which pods run here, with their environment variables.",
        references=("CIS-Kubernetes-4.2.4",),
        wanted=lambda rules: rules.read_only_port,
        default=0,
        legacy=10255,
        put=lambda wanted: {"readOnlyPort": 0},
        first=_open,
        seen=lambda kubelet: 10255 if any(at.endswith(":10255") for at in kubelet.listening) else None,
    ),
    Key(
        name="streaming-timeout",
        keys=("streamingConnectionIdleTimeout",),
        title="Idle sessions with containers end",
        severity=Severity.LOW,
        why="Sessions that never end use up ports and memory, and stay open to whoever finds them.",
        references=("CIS-Kubernetes-4.2.5",),
        wanted=lambda rules: rules.streaming_timeout,
        default=IDLE,
        holds=_ends,
        read=_idle,
        put=lambda wanted: {"streamingConnectionIdleTimeout": IDLE},
    ),
    Key(
        name="iptables-chains",
        keys=("makeIPTablesUtilChains",),
        title="The kubelet keeps its iptables chains in place",
        severity=Severity.MEDIUM,
        why="Rules of pods' networks lean on these chains, and would do nothing without them.",
        references=("CIS-Kubernetes-4.2.6",),
        wanted=lambda rules: rules.iptables_chains,
        default=True,
        put=lambda wanted: {"makeIPTablesUtilChains": True},
    ),
    Key(
        name="hostname-override",
        keys=("hostnameOverride",),
        title="The node has the host's own name",
        severity=Severity.LOW,
        why="Under another name, certificates and logs do not say which machine it is.",
        references=("CIS-Kubernetes-4.2.7",),
        wanted=lambda rules: rules.hostname_override,
        default=False,
        unset="no --hostname-override is given",
        by_hand="take --hostname-override out of the kubelet's command line, and have the node join by its own name",
    ),
    Key(
        name="event-qps",
        keys=("eventRecordQPS",),
        title="The kubelet records events at the rate of the policy",
        severity=Severity.LOW,
        why="Events beyond the limit are dropped, and with them what shows an attack.",
        references=("CIS-Kubernetes-4.2.8",),
        wanted=lambda rules: rules.event_qps,
        default=50,
        holds=_enough,
        put=lambda wanted: {"eventRecordQPS": wanted},
    ),
    Key(
        name="server-certificate",
        keys=("serverTLSBootstrap", "tlsCertFile", "tlsPrivateKeyFile"),
        title="The kubelet's certificate is of an authority",
        severity=Severity.MEDIUM,
        why="The API server cannot tell a kubelet that made its own certificate from somebody in between.",
        references=("CIS-Kubernetes-4.2.9",),
        wanted=lambda rules: rules.server_certificate,
        default=False,
        unset="the kubelet serves with a certificate of its own making",
        holds=lambda value, wanted: bool(value),
        read=_certificate,
        by_hand="set serverTLSBootstrap in the kubelet's configuration where something in the cluster approves "
        "requests for kubelet-serving certificates, or tlsCertFile and tlsPrivateKeyFile",
    ),
    Key(
        name="rotate-certificates",
        keys=("rotateCertificates",),
        title="The certificate with which the kubelet logs in is renewed",
        severity=Severity.MEDIUM,
        why="Without it the node leaves the cluster when the certificate ends, or has one that never does.",
        references=("CIS-Kubernetes-4.2.10",),
        wanted=lambda rules: rules.rotate_certificates,
        default=False,
        put=lambda wanted: {"rotateCertificates": True},
    ),
    Key(
        name="rotate-server-certificate",
        keys=("featureGates.RotateKubeletServerCertificate",),
        title="The certificate with which the kubelet serves may be renewed",
        severity=Severity.LOW,
        why="A certificate that nothing renews ends, and clients learn to ignore that.",
        references=("CIS-Kubernetes-4.2.11",),
        wanted=lambda rules: rules.rotate_server_certificate,
        default=True,
        put=lambda wanted: {"featureGates.RotateKubeletServerCertificate": True},
    ),
    Key(
        name="ciphers",
        keys=("tlsCipherSuites", "tlsMinVersion"),
        title="The kubelet serves with no other cipher suites than the policy names",
        severity=Severity.LOW,
        why="What weaker suites carried can be read later by whoever recorded it.",
        references=("CIS-Kubernetes-4.2.12",),
        wanted=lambda rules: rules.ciphers,
        default=[],
        unset="no tlsCipherSuites are named",
        holds=_strong,
        read=_ciphers,
        put=lambda wanted: {"tlsCipherSuites": wanted},
    ),
    Key(
        name="pod-pids",
        keys=("podPidsLimit",),
        title="Pods have a limit of processes",
        severity=Severity.MEDIUM,
        why="A fork bomb in one pod would take the processes of all others, and of the node.",
        references=("CIS-Kubernetes-4.2.13",),
        wanted=lambda rules: rules.pod_pids,
        default=-1,
        holds=_within,
        put=lambda wanted: {"podPidsLimit": wanted},
    ),
    Key(
        name="seccomp-default",
        keys=("seccompDefault",),
        title="Pods that name no seccomp profile get the container runtime's",
        severity=Severity.HIGH,
        why="Without a filter every system call of the kernel is open to attack from within a pod.",
        references=("CIS-Kubernetes-4.2.14", "NIST-800-190-4.4.3"),
        wanted=lambda rules: rules.seccomp_default,
        default=False,
        put=lambda wanted: {"seccompDefault": True},
        first=_filtered,
    ),
)
