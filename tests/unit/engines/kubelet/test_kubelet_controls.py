"""The kubelet's settings and files: judged against the policy, and what harden writes for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, WriteFile
from deploys.core.control import State
from deploys.engines.kubelet.controls import KEYS, SUBJECT
from deploys.engines.kubelet.managed import FOREIGN
from facts.core import yaml_text
from facts.core.reading import Unknown
from facts.engines.kubelet.kubelet import DROP_IN, Setting, Setup
from facts.kernel.sysctls import Setting as Stored
from facts.modes import Access
from tests.support.kubelets import (
    CONFIG,
    FLAGS,
    FOLDER,
    GOOD_SYSCTLS,
    HEAD,
    STORED,
    SUITE,
    after,
    context,
    found,
    kubelet,
    planned,
    setup,
)

# By the policy's key: what it says, lines that are right, lines that are wrong, and a word of the reason for those.
CASES: dict[str, tuple[Any, str, str, str]] = {
    "anonymous": (False, "", "authentication: {anonymous: {enabled: true}}", f"enabled is true ({CONFIG})"),
    "authorization": ("Webhook", "", "authorization: {mode: AlwaysAllow}", "mode is AlwaysAllow"),
    "client_ca": (True, "authentication: {x509: {clientCAFile: /ca.crt}}", "", "no clientCAFile is named"),
    "read_only_port": (0, "readOnlyPort: 0", "readOnlyPort: 10255", "readOnlyPort is 10255"),
    "iptables_chains": (True, "", "makeIPTablesUtilChains: false", "Chains is false"),
    "event_qps": (5, "eventRecordQPS: 0", "eventRecordQPS: 1", "QPS is 1"),
    "server_certificate": (True, "serverTLSBootstrap: true", "tlsCertFile: /a.crt", "of its own making"),
    "rotate_certificates": (True, "rotateCertificates: true", "", "rotateCertificates is false, as nothing sets it"),
    "rotate_server_certificate": (True, "", "featureGates: {RotateKubeletServerCertificate: false}", "is false"),
    "ciphers": ([SUITE], f"tlsCipherSuites: [{SUITE}]", "tlsCipherSuites: [TLS_RSA_WITH_3DES_EDE_CBC_SHA]", "3DES"),
    "pod_pids": (4096, "podPidsLimit: 1024", "podPidsLimit: -1", "podPidsLimit is -1"),
    "seccomp_default": (True, "seccompDefault: true", "", "seccompDefault is false"),
    "protect_kernel_defaults": (True, "protectKernelDefaults: true", "", "protectKernelDefaults is false"),
    "user_namespaces": (True, "", "featureGates: {UserNamespacesSupport: false}", "Support is false"),
}  # fmt: skip
BY_HAND = {"client_ca", "server_certificate"}


@pytest.mark.parametrize("key", CASES)
def test_each_setting_is_judged_and_put_right(key: str) -> None:
    wanted, right, wrong, word = CASES[key]
    name = key.replace("_", "-")
    good, bad = kubelet(f"{HEAD}{right}\n"), kubelet(f"{HEAD}{wrong}\n")
    assert found(good, name, **{key: wanted})[0] is State.PASS
    state, reason = found(bad, name, **{key: wanted})
    assert (state, word in reason, f"(kubelet.{key})" in reason) == (State.FAIL, True, True), reason
    assert found(bad, name)[0] is State.NOT_APPLICABLE
    changes = planned(bad, **{key: wanted})
    if key in BY_HAND:
        assert [type(each) for each in changes] == [Blocked]
        return
    mended = after(bad, changes)
    assert found(mended, name, **{key: wanted})[0] is State.PASS
    assert planned(mended, **{key: wanted}) == []


@pytest.mark.parametrize("key", CASES)
def test_each_setting_waits_for_a_restart_and_may_be_unknown(key: str) -> None:
    wanted, right, wrong, _ = CASES[key]
    name, good, bad = key.replace("_", "-"), setup(f"{HEAD}{right}\n"), setup(f"{HEAD}{wrong}\n")
    changed = kubelet(f"{HEAD}{right}\n", live=bad, stale=(CONFIG,))
    state, reason = found(changed, name, **{key: wanted})
    assert (state, "not known to be in force" in reason) == (State.PENDING_RESTART, True)
    (activate,) = planned(changed, **{key: wanted})
    assert isinstance(activate, Activate)
    assert activate.controls == (f"kubelet.{name}",)
    behind = kubelet(f"{HEAD}{wrong}\n", live=good)
    state, reason = found(behind, name, **{key: wanted})
    assert (state, "a restart of the kubelet would lose it" in reason) == (State.FAIL, True), reason
    lost = Setup(CONFIG, "", {}, Unknown("no"))
    assert found(kubelet(disk=lost), name, **{key: wanted})[0] is State.UNKNOWN
    assert found(kubelet(live=Unknown("no")), name, **{key: wanted})[0] is State.UNKNOWN


def test_every_control_has_a_case() -> None:
    others = {"streaming-timeout", "hostname-override"}
    assert {key.name for key in KEYS} == {key.replace("_", "-") for key in CASES} | others


def test_without_a_kubelet_nothing_applies_and_nothing_is_planned() -> None:
    rules = {key: case[0] for key, case in CASES.items()} | {"file_modes": True, "hostname_override": False}
    none = kubelet(present=False, running=False, live=None, disk=Unknown("none"))
    made = context(none, streaming_timeout=True, **rules)
    assert {finding.state for finding in made.findings.values()} == {State.NOT_APPLICABLE}
    assert list(SUBJECT.plan(made)) == []


def test_a_kubelet_that_does_not_run_is_judged_by_its_files() -> None:
    stopped = kubelet(f"{HEAD}podPidsLimit: 9\n", running=False, live=None)
    assert found(stopped, "pod-pids", pod_pids=9) == (
        State.PASS, "podPidsLimit is 9, on disk; the kubelet does not run",
    )  # fmt: skip
    assert found(stopped, "pod-pids", pod_pids=8)[0] is State.FAIL


def test_a_node_that_has_not_joined_is_not_judged() -> None:
    fresh = kubelet(running=False, live=None, texts={CONFIG: None}, broken=(f"{CONFIG}: not valid",))
    made = context(fresh, pod_pids=9)
    assert {made.findings[f"kubelet.{name}"].state for name in ("settings", "pod-pids")} == {State.NOT_APPLICABLE}
    assert "has not joined a cluster" in made.findings["kubelet.settings"].verdict.reason


def test_a_kubelet_in_a_container_is_said_and_not_judged() -> None:
    inside = kubelet(running=False, live=None, inside=(7,), disk=Unknown("no unit"))
    assert found(inside, "settings") == (
        State.UNKNOWN, "the kubelet (pid 7) runs in a container, whose files are not read",
    )  # fmt: skip
    assert found(inside, "pod-pids", pod_pids=9)[0] is State.NOT_APPLICABLE


def test_a_broken_file_fails_by_its_name_and_all_else_is_unknown() -> None:
    lost = Setup(CONFIG, "", {}, Unknown(f"{CONFIG}: not valid: not YAML"))
    broken = kubelet(disk=lost, broken=(f"{CONFIG}: not valid: not YAML",))
    assert found(broken, "settings") == (
        State.FAIL, f"the kubelet does not start with this: {CONFIG}: not valid: not YAML",
    )  # fmt: skip
    assert found(broken, "pod-pids", pod_pids=9)[0] is State.UNKNOWN
    (blocked,) = planned(broken, pod_pids=9)
    assert isinstance(blocked, Blocked)


def test_networks_of_pods_are_named_and_left_alone() -> None:
    state, reason = found(kubelet(overlays=("cni0", "flannel.1")), "settings")
    assert (state, "cni0, flannel.1: the pods' network is left to its overlay" in reason) == (State.PASS, True)
    assert planned(kubelet(overlays=("cni0",))) == []


# ------------------------------------------------------------------------------------------------ what counts


def test_without_a_configuration_file_older_defaults_count_and_nothing_can_be_written() -> None:
    bare = kubelet(disk=setup(config=""), live=setup(config=""))
    rules: dict[str, Any] = {"anonymous": False, "authorization": "Webhook", "read_only_port": 0}
    made = context(bare, **rules)
    names = ("anonymous", "authorization", "read-only-port")
    assert [made.findings[f"kubelet.{name}"].verdict.disk for name in names] == [True, "AlwaysAllow", 10255]
    changes = list(SUBJECT.plan(made))
    assert all(isinstance(each, Blocked) and "no configuration file" in each.why for each in changes)
    assert len(changes) == 3


def test_an_option_beats_the_file_and_is_named_with_its_file() -> None:
    given = kubelet(f"{HEAD}readOnlyPort: 0\n", {"readOnlyPort": 10255})
    assert found(given, "read-only-port", read_only_port=0) == (
        State.FAIL, f"readOnlyPort is 10255 ({FLAGS}); the policy wants 0 (kubelet.read_only_port)",
    )  # fmt: skip
    (blocked,) = planned(given, read_only_port=0)
    assert isinstance(blocked, Blocked)
    assert blocked.by_hand == f"take the option out of {FLAGS}, and run again"


def test_an_option_of_the_process_is_in_force_whatever_the_files_say() -> None:
    live = setup(flags={"podPidsLimit": 9})
    old = kubelet(f"{HEAD}podPidsLimit: 9\n", live=live, stale=(CONFIG,))
    assert found(old, "pod-pids", pod_pids=9)[0] is State.PASS
    gone = kubelet(f"{HEAD}podPidsLimit: 9\n", live=setup(flags={"podPidsLimit": -1}))
    assert found(gone, "pod-pids", pod_pids=9) == (
        State.PENDING_RESTART,
        f"podPidsLimit is 9 ({CONFIG}), but in the running kubelet podPidsLimit is -1; "
        "a restart of the kubelet applies it",
    )


@pytest.mark.parametrize(
    ("text", "flags", "state"),
    [
        (HEAD, None, State.PASS),
        (f"{HEAD}streamingConnectionIdleTimeout: 0s\n", None, State.PASS),  # as kubeadm writes it: v1beta1's default
        (HEAD, {"streamingConnectionIdleTimeout": "5m"}, State.PASS),
        (HEAD, {"streamingConnectionIdleTimeout": "0"}, State.FAIL),
        (HEAD, {"streamingConnectionIdleTimeout": "0s"}, State.FAIL),
    ],
)
def test_idle_sessions(text: str, flags: Any, state: State) -> None:
    assert found(kubelet(text, flags), "streaming-timeout", streaming_timeout=True)[0] is state


def test_the_nodes_name_is_an_option_alone() -> None:
    assert found(kubelet(), "hostname-override", hostname_override=False)[0] is State.PASS
    named = kubelet(flags={"hostnameOverride": "web"})
    assert found(named, "hostname-override", hostname_override=False)[0] is State.FAIL
    (blocked,) = planned(named, hostname_override=False)
    assert isinstance(blocked, Blocked)
    assert "--hostname-override" in blocked.by_hand


def test_a_port_that_listens_shows_what_runs_where_the_file_no_longer_does() -> None:
    closed = kubelet(f"{HEAD}readOnlyPort: 0\n", stale=(CONFIG,), listening=("0.0.0.0:10255",))
    state, reason = found(closed, "read-only-port", read_only_port=0)
    assert (state, "but in the running kubelet readOnlyPort is 10255" in reason) == (State.PENDING_RESTART, True)


def test_tls_1_3_has_no_suites_to_choose() -> None:
    assert found(kubelet(f"{HEAD}tlsMinVersion: VersionTLS13\n"), "ciphers", ciphers=[SUITE])[0] is State.PASS


# ------------------------------------------------------------------------------------------------ what is written


def test_all_is_written_at_once_and_the_rest_of_the_file_stays() -> None:
    text = f"# ours\n{HEAD}authentication:\n  anonymous:\n    enabled: true # for the old monitoring\n"
    (write,) = planned(kubelet(text), anonymous=False, pod_pids=9, seccomp_default=True)
    assert isinstance(write, WriteFile)
    assert write.text == text.replace("true", "false") + "podPidsLimit: 9\nseccompDefault: true\n"
    assert (write.path, write.before, write.mode, write.shared) == (CONFIG, text, "", "lines")
    assert write.controls == ("kubelet.anonymous", "kubelet.pod-pids", "kubelet.seccomp-default")
    assert "pods go on running" in write.interrupts
    assert write.service is not None
    assert "AT='127.0.0.1:10248'" in write.service.healthy


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        ("healthzPort: 10999", "127.0.0.1:10999"),
        ("healthzPort: 0", ""),
        ("healthzBindAddress: 10.0.0.7", "10.0.0.7:10248"),
        ("healthzBindAddress: 0.0.0.0", "127.0.0.1:10248"),
        ('healthzBindAddress: "\'; reboot"', ""),
    ],
)
def test_where_the_kubelet_says_that_it_is_well(lines: str, at: str) -> None:
    (write,) = planned(kubelet(f"{HEAD}{lines}\n"), pod_pids=9)
    assert isinstance(write, WriteFile)
    assert write.service is not None
    assert write.service.healthy.startswith(f"AT='{at}'\n")


def test_a_folder_of_drop_ins_gets_one_of_ours() -> None:
    made = setup(folder=FOLDER)
    reading = kubelet(disk=made, live=made, texts={CONFIG: HEAD, f"{FOLDER}/{DROP_IN}": None})
    (write,) = planned(reading, pod_pids=9, read_only_port=0, anonymous=False)
    assert isinstance(write, WriteFile)
    assert (write.path, write.before, write.mode) == (f"{FOLDER}/{DROP_IN}", None, "0600")
    assert yaml_text.load(write.text) == {**yaml_text.load(HEAD), "podPidsLimit": 9}
    own = dataclasses.replace(reading, texts={f"{FOLDER}/{DROP_IN}": write.text})
    (again,) = planned(own, rotate_certificates=True)
    assert isinstance(again, WriteFile)
    assert yaml_text.load(again.text) == {**yaml_text.load(HEAD), "podPidsLimit": 9, "rotateCertificates": True}


def test_a_drop_in_that_counts_after_ours_is_named_and_nothing_is_written() -> None:
    late = f"{FOLDER}/zzz.conf"
    made = Setup(CONFIG, FOLDER, {}, {"podPidsLimit": Setting(-1, late)})
    (blocked,) = planned(kubelet(disk=made, live=made), pod_pids=9)
    assert isinstance(blocked, Blocked)
    assert late in blocked.why


@pytest.mark.parametrize(
    ("key", "name"),
    [("anonymous", "kubelet-api"), ("authorization", "kubelet-api"), ("read_only_port", "kubelet-api"),
     ("seccomp_default", "kubelet-seccomp")],
)  # fmt: skip
def test_what_could_hurt_has_to_be_accepted(key: str, name: str) -> None:
    wanted, _, wrong, _ = CASES[key]
    (blocked,) = planned(kubelet(f"{HEAD}{wrong}\n"), accept="", **{key: wanted})
    assert isinstance(blocked, Blocked)
    assert blocked.accepts == (name,)


def test_a_node_of_which_nobody_knows_who_manages_it_is_changed_once_that_is_accepted() -> None:
    theirs = kubelet(manager="")
    (blocked, by_hand) = planned(theirs, pod_pids=9, client_ca=True)
    assert isinstance(blocked, Blocked)
    assert isinstance(by_hand, Blocked)
    assert {*blocked.controls, *by_hand.controls} == {"kubelet.pod-pids", "kubelet.client-ca"}
    assert {blocked.accepts, by_hand.accepts} == {("kubelet-node",), ()}
    assert any(isinstance(each, WriteFile) for each in planned(theirs, accept="kubelet-node", pod_pids=9))


@pytest.mark.parametrize(
    ("more", "state", "word"),
    [
        ({"plugins": ("flannel", "portmap")}, State.FAIL, "is of flannel, portmap, and nothing here holds pods"),
        ({"plugins": ("flannel",), "policing": ("kube-router",)}, State.PASS, "kube-router holds pods"),
        ({"plugins": ("calico", "portmap")}, State.UNKNOWN, "calico, whose agent does not run"),
        ({"plugins": ("calico",), "policing": ("calico-node",)}, State.PASS, "calico-node holds pods"),
        ({"plugins": ("aws-cni", "egress-cni")}, State.UNKNOWN, "is called controller"),
        ({"plugins": ()}, State.UNKNOWN, "no file in /etc/cni/net.d"),
        ({"plugins": ("multus",)}, State.UNKNOWN, "more than one network"),
        ({"plugins": ("flannel",), "manager": "k3s"}, State.UNKNOWN, "within its own process"),
    ],
)
def test_whether_anything_holds_pods_to_network_policies(more: dict[str, Any], state: State, word: str) -> None:
    reading = kubelet(**more)
    found_, reason = found(reading, "pod-separation", pod_separation=True)
    assert (found_, word in reason) == (state, True), reason
    assert found(reading, "pod-separation")[0] is State.NOT_APPLICABLE
    assert all(isinstance(each, Blocked) for each in planned(reading, pod_separation=True))


@pytest.mark.parametrize("manager", FOREIGN)
def test_where_others_manage_the_node_nothing_is_written_and_their_own_setting_is_named(manager: str) -> None:
    loose = Access("/etc/kubernetes/kubelet.conf", 0o666, "root", "root", "file")
    theirs = kubelet(manager=manager, credentials=(loose,))
    changes = planned(theirs, pod_pids=9, client_ca=True, file_modes=True)
    assert all(isinstance(each, Blocked) and each.by_hand == FOREIGN[manager].where for each in changes)
    assert {control for each in changes for control in each.controls} == {
        "kubelet.pod-pids", "kubelet.client-ca", "kubelet.credentials",
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ the kernel


@pytest.mark.parametrize(
    ("live", "stored", "word"),
    [
        ({"kernel.panic": "0"}, {}, "kernel.panic is 0, not 10"),
        ({}, {"kernel.panic": None}, "no file sets kernel.panic to 10 at boot"),
        ({}, {"vm.panic_on_oom": None}, ""),
        ({}, {"vm.panic_on_oom": Stored("1", "/etc/sysctl.d/x.conf")}, "x.conf sets vm.panic_on_oom to 1, not 0"),
    ],
)
def test_kernel_defaults_are_protected_only_where_the_kubelet_starts_with_that(
    live: dict[str, str], stored: dict[str, Any], word: str
) -> None:
    rest: dict[str, Any] = {"stored": STORED | stored, "protect_kernel_defaults": True}
    changes = planned(kubelet(sysctls=GOOD_SYSCTLS | live), **rest)
    assert [type(each) for each in changes] == [Blocked if word else WriteFile]
    assert not word or (isinstance(changes[0], Blocked) and word in changes[0].why)
    set_ = kubelet(f"{HEAD}protectKernelDefaults: true\n", sysctls=GOOD_SYSCTLS | live)
    state, reason = found(set_, "protect-kernel-defaults", **rest)
    assert (state, word in reason) == (State.FAIL if word else State.PASS, True)


def test_sysctls_that_were_not_read_make_it_unknown() -> None:
    unread = kubelet(f"{HEAD}protectKernelDefaults: true\n", sysctls={})
    assert found(unread, "protect-kernel-defaults", protect_kernel_defaults=True)[0] is State.UNKNOWN


GATE_OFF, GATE_ON = (f"{HEAD}featureGates: {{UserNamespacesSupport: {word}}}\n" for word in ("false", "true"))


@pytest.mark.parametrize(
    ("version", "text", "linux", "state"),
    [
        ("1.33.0-1.1", HEAD, "6.12.1", State.PASS),
        ("1.32.9-1.1", HEAD, "6.12.1", State.FAIL),
        ("1.32.9-1.1", GATE_ON, "6.12.1", State.PASS),
        ("1.36.0-1.1", GATE_OFF, "6.12.1", State.PASS),  # the gate is locked
        ("1.34.0-1.1", GATE_OFF, "6.12.1", State.FAIL),
        ("1.34.0-1.1", HEAD, "6.1.0-40-amd64", State.FAIL),
        ("1.34.0-1.1", HEAD, "strange", State.UNKNOWN),
        (None, HEAD, "6.12.1", State.UNKNOWN),
        (None, GATE_OFF, "6.12.1", State.FAIL),
    ],
)
def test_user_namespaces(version: str | None, text: str, linux: str, state: State) -> None:
    reading = kubelet(text, version=version)
    assert found(reading, "user-namespaces", user_namespaces=True, linux=linux)[0] is state


@pytest.mark.parametrize(
    ("version", "linux", "word"), [("1.27.1", "6.12.1", "does not know"), ("1.32.0", "6.1.0", "Linux 6.1.0 has no")]
)
def test_user_namespaces_are_not_switched_on_where_they_cannot_be(version: str, linux: str, word: str) -> None:
    (blocked,) = planned(kubelet(version=version), user_namespaces=True, linux=linux)
    assert isinstance(blocked, Blocked)
    assert word in blocked.why
