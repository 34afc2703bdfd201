"""A real kubelet, whose cluster is away: its API is closed to strangers, its settings are put in force and watched,
what it does not start with goes back by itself, and all of it is rolled back, while containers of Kubernetes' go on.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from facts.engines.kubelet.kubelet import SYSCTLS
from tests.lab import Vm
from tests.lab.machine import kubelet
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
CONFIG, CREDENTIALS = "/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf"
POLICY = """\
kubelet: {anonymous: false, authorization: Webhook, read_only_port: 0, streaming_timeout: true, iptables_chains: true,
  event_qps: 5, rotate_certificates: true, rotate_server_certificate: true, ciphers: [CIPHER], pod_pids: 512,
  protect_kernel_defaults: true, file_modes: true, pod_separation: true}
"""
CIPHER = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
ACCEPT = "kubelet-api,kubelet-node"
OPERATORS = "# What an operator wrote."
SETUP = f"""\
mkdir -p /etc/kubernetes /var/lib/kubelet /etc/cni/net.d
cat >{CONFIG} <<'C'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
{OPERATORS}
cgroupDriver: systemd
failSwapOn: false
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
readOnlyPort: 10255
eventRecordQPS: 1
C
cat >{CREDENTIALS} <<'C'
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:6443"}}}}]
users: [{{name: u, user: {{token: t}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
C
chmod 644 {CREDENTIALS}
echo '{{"name": "f", "plugins": [{{"type": "flannel"}}]}}' >/etc/cni/net.d/10-flannel.conflist
cat >/etc/systemd/system/kubelet.service <<'C'
[Unit]
After=containerd.service
[Service]
ExecStart=/usr/bin/kubelet --config={CONFIG} --kubeconfig={CREDENTIALS} --container-runtime=remote \
  --container-runtime-endpoint=unix:///run/containerd/containerd.sock
Restart=always
RestartSec=5
[Install]
WantedBy=multi-user.target
C
printf '%s\n' {" ".join(f"{name}={value}" for name, value in SYSCTLS.items())} >/etc/sysctl.d/90-kubelet.conf
sysctl -q --system; systemctl daemon-reload; systemctl enable --now kubelet
"""
# What is done to the host, the control that names it, and a word of the reason.
BREAKS = {
    "anonymous": (f"sed -i 's/enabled: false/enabled: true/' {CONFIG}", "enabled is true"),
    "read-only-port": (f"sed -i 's/^readOnlyPort: .*/readOnlyPort: 10255/' {CONFIG}", "readOnlyPort is 10255"),
    "pod-pids": (f"sed -i '/^podPidsLimit/d' {CONFIG}", "podPidsLimit is -1, as nothing sets it"),
    "event-qps": (f"sed -i 's/^eventRecordQPS: .*/eventRecordQPS: 1/' {CONFIG}", "eventRecordQPS is 1"),
    "protect-kernel-defaults": (f"sed -i '/^protectKernelDefaults/d' {CONFIG}", "protectKernelDefaults is false"),
    "credentials": (f"chmod 666 {CREDENTIALS}", CREDENTIALS),
    "settings": (f"echo 'podPidsLimit: many' >>{CONFIG}", "podPidsLimit"),
}
MEND = f"cp -p /root/kept.yaml {CONFIG}; chmod 600 {CREDENTIALS}"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str, accept: str = ACCEPT, cipher: str = CIPHER) -> Result:
    path: Path = vm.folder / "kubelet.yml"
    path.write_text(POLICY.replace("CIPHER", cipher))
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}", *options)


@contextmanager
def forwarded(vm: Vm, port: int) -> Iterator[int]:
    """A port of this machine's that leads to one of the host's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = free.getsockname()[1]
    program, *words = vm.ssh_argv("root")
    leading = subprocess.Popen([program, "-N", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}", *words], cwd=vm.folder)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", here)) == 0:
                    break
            time.sleep(0.5)
        yield here
    finally:
        leading.terminate()
        leading.wait()


def answer(vm: Vm, port: int, scheme: str) -> int:
    """What a stranger who asks for the node's pods gets: the status of HTTP; 0 where nobody listens."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with forwarded(vm, port) as here:
        try:
            with urllib.request.urlopen(f"{scheme}://127.0.0.1:{here}/pods", timeout=60, context=anybody) as got:
                return int(got.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, ssl.SSLError):
            return 0


def strangers(vm: Vm) -> tuple[int, int]:
    return answer(vm, 10250, "https"), answer(vm, 10255, "http")


def not_holding(result: Result) -> dict[str, str]:
    return {name: why for name, why in result.not_holding().items() if name.startswith("kubelet.")}


def pods(vm: Vm) -> str:
    return vm.ssh("cat /run/containerd/io.containerd.runtime.v2.task/k8s.io/pod/init.pid").stdout


def test_before_a_stranger_reads_the_nodes_pods(vm: Vm, story: dict[str, Any]) -> None:
    kubelet.put(vm)
    vm.ssh("mkdir -p /srv/pod/usr /srv/pod/sbin; tar -xf /var/lib/lab/busybox.tar -C /srv/pod")
    vm.ssh("ctr -n k8s.io run --detach --rootfs /srv/pod pod /bin/sleep 1000000000", timeout=120)
    vm.ssh(SETUP)
    healthy = "exec 3<>/dev/tcp/127.0.0.1/10248 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q ok <&3"
    vm.ssh(f"timeout 120 bash -c 'until bash -c \"{healthy}\" 2>/dev/null; do sleep 2; done'", timeout=150, check=False)
    vm.ssh("timeout 120 bash -c 'until ss -Hltn | grep -q :10250; do sleep 2; done'", timeout=150)
    assert strangers(vm) == (200, 200)
    story["pod"] = pods(vm)
    drift = deploy(vm, "drift.py")
    assert drift.states()["kubelet.anonymous"] == drift.states()["kubelet.read-only-port"] == "fail", drift.out
    assert "is of flannel, and nothing here holds pods to network policies" in drift.reason("kubelet.pod-separation")


def test_nothing_is_written_before_it_is_accepted_on_a_node_that_nobody_is_known_to_manage(vm: Vm) -> None:
    before = vm.ssh(f"cat {CONFIG}").stdout
    for accept in ("", "kubelet-api"):
        harden = deploy(vm, "harden.py", accept=accept)
        assert "accept=kubelet-node" in " ".join(harden.out.split()), harden.out
        assert vm.ssh(f"cat {CONFIG}").stdout == before


def test_what_the_kubelet_does_not_start_with_goes_back_by_itself(vm: Vm, story: dict[str, Any]) -> None:
    before = vm.ssh(f"cat {CONFIG}").stdout
    harden = deploy(vm, "harden.py", cipher="TLS_NO_SUCH_SUITE")
    story["first"] = harden.report["run"]["id"]
    assert harden.host()["status"] == "error", harden.out
    assert vm.ssh(f"cat {CONFIG}").stdout == before
    assert strangers(vm) == (200, 200), "it runs as before"


def test_after_strangers_get_nothing_and_what_ran_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py", accept=f"{ACCEPT},retry")
    story["run"] = harden.report["run"]["id"]
    assert set(not_holding(harden)) == {"kubelet.pod-separation"}, harden.out
    assert strangers(vm) == (401, 0)
    assert pods(vm) == story["pod"]
    assert OPERATORS in vm.ssh(f"cat {CONFIG}").stdout
    vm.ssh(f"cp -p {CONFIG} /root/kept.yaml")


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    assert deploy(vm, "harden.py").host()["changes"] == []


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_named(vm: Vm, name: str) -> None:
    broken, word = BREAKS[name]
    vm.ssh(broken)
    drift = deploy(vm, "drift.py")
    assert drift.states()[f"kubelet.{name}"] == "fail", drift.out
    assert word in drift.reason(f"kubelet.{name}")
    vm.ssh(MEND)


def test_what_was_changed_by_hand_is_put_right(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"{BREAKS['pod-pids'][0]}; systemctl restart kubelet")
    harden = deploy(vm, "harden.py")
    story["second"] = harden.report["run"]["id"]
    assert set(not_holding(harden)) == {"kubelet.pod-separation"}, harden.out
    back = deploy(vm, "rollback.py", "--data", f"run={story['second']}")
    assert back.host()["status"] == "ok", back.out + back.err
    vm.ssh(f"{MEND}; systemctl restart kubelet")


def test_a_rollback_gives_back_what_was_there(vm: Vm, story: dict[str, Any]) -> None:
    for name in ("run", "first"):  # the first one had closed the credentials before the kubelet did not start
        back = deploy(vm, "rollback.py", "--data", f"run={story[name]}")
        assert back.host()["status"] == "ok", back.out + back.err
    text = vm.ssh(f"cat {CONFIG}; stat -c %a {CREDENTIALS}").stdout
    assert "podPidsLimit" not in text
    assert OPERATORS in text
    assert text.split()[-1] == "644"
    assert strangers(vm) == (200, 200)
    assert pods(vm) == story["pod"]
