"""The kubelet's command line and files as they are read: which file counts, what is broken, what has changed since."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.engines.kubelet import Kubelet
from facts.engines.kubelet.kubelet import DROP_IN, Setting
from facts.engines.kubelet.options import declared, flags
from tests.support.script import put, run_script

ETC, USR = "/etc/systemd/system", "/usr/lib/systemd/system"
UNIT, KUBEADM = f"{USR}/kubelet.service", "kubelet.service.d/10-kubeadm.conf"
CONFIG, ENV, FOLDER = "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env", "/etc/kubernetes/k.d"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def grep(*files: tuple[str, str]) -> str:
    return "\n".join(f"{path}:{line}" for path, text in files for line in text.strip("\n").split("\n"))


def words(unit: str, environment: str = "") -> list[tuple[str, str]]:
    return declared(Block(0, unit), Block(0, environment))


def read(**blocks: Any) -> Any:
    said = {
        "there": "",
        "unit": grep((UNIT, f"[Service]\nExecStart=/usr/bin/kubelet --config={CONFIG}")),
        "cmdline": f"/usr/bin/kubelet\0--config={CONFIG}\0",
        "since": "1 (kubelet) S " + "0 " * 18 + "5000 0\nbtime 1000",
        "times": f"900 900 900 {CONFIG}",
        CONFIG: HEAD,
        **{name.replace("__", "-"): text for name, text in blocks.items()},
    }
    made = {
        name: text if isinstance(text, Block) else Block(0, text) for name, text in said.items() if text is not None
    }
    return Kubelet.parse(Section(made))


# ------------------------------------------------------------------------------------------------ command lines


def test_variables_stand_for_what_their_files_say_and_each_word_has_its_file() -> None:
    unit = grep(
        (UNIT, "[Unit]\nExecStart=/bin/no\n[Service]\nExecStart=/usr/bin/kubelet"),
        (f"{USR}/{KUBEADM}", "[Service]\nEnvironment=\"A=--config=/c.yaml --v=2\" 'B=x y'\nEnvironmentFile=-" + ENV +
         "\nExecStart=\nExecStart=/usr/bin/kubelet $A ${B} $C $NONE --node=${D}1"),
    )  # fmt: skip
    made = words(unit, grep((ENV, 'C="--read-only-port=0"\nD=n')))
    drop_in = f"{USR}/{KUBEADM}"
    assert made == [
        ("/usr/bin/kubelet", drop_in), ("--config=/c.yaml", drop_in), ("--v=2", drop_in), ("x y", drop_in),
        ("--read-only-port=0", ENV), ("--node=n1", ENV),
    ]  # fmt: skip


def test_a_file_in_etc_hides_the_one_of_the_package() -> None:
    unit = grep(
        (UNIT, "[Service]\nExecStart=/usr/bin/kubelet --a"), (f"{USR}/{KUBEADM}", "[Service]\nExecStart=\nExecStart=b"),
        (f"{ETC}/{KUBEADM}", "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --c"),
    )  # fmt: skip
    assert words(unit) == [("/usr/bin/kubelet", f"{ETC}/{KUBEADM}"), ("--c", f"{ETC}/{KUBEADM}")]


def test_a_command_goes_on_in_the_next_line() -> None:
    assert [word for word, _ in words(grep((UNIT, "[Service]\nExecStart=/usr/bin/kubelet \\\n  --a=1 \\\n  --b")))] == [
        "/usr/bin/kubelet", "--a=1", "--b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("--anonymous-auth", "authentication.anonymous.enabled", True),
        ("--anonymous_auth=F", "authentication.anonymous.enabled", False),
        ("--anonymous-auth false", "authentication.anonymous.enabled", True),  # as pflag reads it
        ("--read-only-port 0", "readOnlyPort", 0),
        ("--read-only-port=x", "readOnlyPort", "x"),
        ("--read-only-port=1 --read-only-port=2", "readOnlyPort", 2),
        ("--tls-cipher-suites=A, B", "tlsCipherSuites", ["A"]),
        ("--tls-cipher-suites=A,B", "tlsCipherSuites", ["A", "B"]),
        ("--feature-gates=X=true,Y=false", "featureGates.Y", False),
        ("--hostname-override web", "hostnameOverride", "web"),
        ("--config /c.yaml", "config", "/c.yaml"),
        ("--v", "v", "true"),
    ],
)
def test_options(line: str, key: str, value: Any) -> None:
    assert flags([(word, "f") for word in f"/usr/bin/kubelet {line}".split()])[key] == Setting(value, "f")


def test_an_open_quotation_is_taken_as_it_stands() -> None:
    assert len(words(grep((UNIT, "[Service]\nExecStart=/usr/bin/kubelet 'a b")))) == 3


# ------------------------------------------------------------------------------------------------ files


def test_without_a_kubelet_nothing_is_there() -> None:
    reading = Kubelet.parse(Section({}))
    assert (reading.present, reading.running, reading.live, reading.broken) == (False, False, None, ())


def test_what_runs_and_what_will_run() -> None:
    reading = read(cmdline=f"/usr/bin/kubelet\0--config={CONFIG}\0--read-only-port=0\0")
    assert reading.live.flags["readOnlyPort"] == Setting(0, "")
    assert "readOnlyPort" not in reading.disk.flags
    assert reading.disk.flags["config"].file == UNIT
    assert reading.disk.files == reading.live.files


def test_drop_ins_count_by_name_each_over_those_before() -> None:
    given = f"--config={CONFIG} --config-dir={FOLDER}/"
    dropped = grep((f"{FOLDER}/20-b.conf", f"{HEAD}a: {{b: 2}}"), (f"{FOLDER}/10-a.conf", f"{HEAD}a: {{b: 1, c: 1}}"),
                   ("/other/x.conf", f"{HEAD}d: 1"))  # fmt: skip
    reading = read(unit=grep((UNIT, f"[Service]\nExecStart=/usr/bin/kubelet {given}")), dropped=dropped,
                   **{CONFIG: f"{HEAD}a: {{b: 0, e: 0}}"})  # fmt: skip
    files = {key: (found.value, found.file) for key, found in reading.disk.files.items() if key.startswith(("a.", "d"))}
    assert files == {
        "a.b": (2, f"{FOLDER}/20-b.conf"), "a.c": (1, f"{FOLDER}/10-a.conf"), "a.e": (0, CONFIG),
    }  # fmt: skip
    assert reading.disk.folder == FOLDER


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: [", "not YAML (line 1"),
        ("- a", "no KubeletConfiguration"),
        ("kind: KubeletConfiguration\n", "no KubeletConfiguration"),
        ("", "no KubeletConfiguration"),
        (f"{HEAD}podPidsLimit: many\n", "podPidsLimit is not a whole number"),
        (f"{HEAD}podPidsLimit: true\n", "podPidsLimit is not a whole number"),
        (f"{HEAD}podPidsLimit: {{a: 1}}\n", "podPidsLimit is not a whole number"),
        (f"{HEAD}seccompDefault: 'yes'\n", "seccompDefault is not true or false"),
        (f"{HEAD}tlsCipherSuites: TLS_A\n", "tlsCipherSuites is not a list"),
        (f"{HEAD}authentication: 5\n", "authentication is not a mapping"),
        (f"{HEAD}featureGates: {{A: 1}}\n", "featureGates.A is not true or false"),
        (Block(1, f"cat: {CONFIG}: No such file or directory"), "it is not there"),
    ],
)
def test_a_broken_file_is_named_and_makes_all_keys_unknown(text: Any, word: str) -> None:
    reading = read(**{CONFIG: text})
    assert isinstance(reading.disk.files, Unknown)
    (broken,) = reading.broken
    assert broken.startswith(f"{CONFIG}: not valid: ")
    assert word in broken


@pytest.mark.parametrize("text", ["a: &x 1\nb: *x", "a: " + "x" * 50_000, Block(1, "cat: Permission denied")])
def test_what_is_not_read_is_unknown_and_not_broken(text: Any) -> None:
    reading = read(**{CONFIG: text})
    assert isinstance(reading.disk.files, Unknown)
    assert reading.broken == ()


@pytest.mark.parametrize(
    ("times", "stale"),
    [
        (f"900 900 2000 {CONFIG}", ()),  # its mode was changed, no more
        (f"1051 1051 1051 {CONFIG}", ()),  # written just before the start
        (f"1060 900 1060 {CONFIG}", (CONFIG,)),
        (f"900 1060 1060 {CONFIG}", (CONFIG,)),  # put in its place with an old time
        (f"900 0 1060 {CONFIG}", (CONFIG,)),  # a file system without times of birth
        (f"900 - 1060 {CONFIG}", (CONFIG,)),
        ("2000 2000 2000 /etc/default/kubelet", ()),  # what is on the command line is known
        (f"2000 900 2000 {FOLDER}", ()),  # a folder that it does not read
    ],
)
def test_files_that_changed_since_the_start(times: str, stale: tuple[str, ...]) -> None:
    assert read(times=times).stale == stale


def test_a_change_within_the_folder_counts_and_an_unknown_start_makes_all_stale() -> None:
    line = f"/usr/bin/kubelet\0--config={CONFIG}\0--config-dir={FOLDER}\0"
    times = f"900 900 900 {CONFIG}\n1060 900 1060 {FOLDER}\n900 900 900 {FOLDER}/a.conf"
    assert read(cmdline=line, times=times).stale == (FOLDER,)
    assert read(since="").stale == (CONFIG,)


@pytest.mark.parametrize(
    ("marks", "manager"),
    [
        ("/etc/eks /var/lib/kubelet/kubeadm-flags.env", "eks"), ("/var/lib/kubelet/kubeadm-flags.env", "kubeadm"),
        ("/var/lib/rancher/rke2/agent /var/lib/rancher/k3s/agent", "rke2"), ("", ""),
    ],
)  # fmt: skip
def test_whose_node_it_is(marks: str, manager: str) -> None:
    assert read(marks=marks).manager == manager


def test_of_k3s_no_setting_is_known() -> None:
    reading = read(k3s="", cmdline=None, unit="", marks="/var/lib/rancher/k3s/agent")
    assert (reading.running, reading.manager) == (True, "k3s")
    assert isinstance(reading.disk, Unknown)
    assert isinstance(reading.live, Unknown)


def test_what_rke2_starts_is_known_by_its_process() -> None:
    reading = read(unit="", marks="/var/lib/rancher/rke2/agent", cmdline="kubelet\0--read-only-port=0\0")
    assert reading.disk == reading.live
    assert reading.disk.flags == {"readOnlyPort": Setting(0, "")}


def test_microk8s_has_its_options_in_a_file() -> None:
    path = "/var/snap/microk8s/current/args/kubelet"
    given = f"{path}:--anonymous-auth=false"
    reading = read(kubelite="", unit="", marks="/var/snap/microk8s/current", environment=given,
                   times=f"2000 2000 2000 {path}")  # fmt: skip
    assert reading.disk.flags == {"authentication.anonymous.enabled": Setting(False, path)}
    assert reading.stale == (path,)


def test_files_are_told_apart_by_what_they_are_for() -> None:
    rows = (CONFIG, "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt")
    reading = read(listed="\n".join(f"-rw-r--r-- 1 root root 1  {path}" for path in rows))
    found = [[each.path for each in part] for part in (reading.settings, reading.credentials, reading.authorities)]
    assert found == [[path] for path in rows]


def test_what_is_of_hullproofs_own_is_kept_as_it_is() -> None:
    path = f"{FOLDER}/{DROP_IN}"
    absent = Block(1, "No such file or directory")
    assert read(**{path: absent}).texts[path] is None
    assert read(**{path: "# x\n"}).texts[path] == "# x\n"


def test_pods_network_is_of_the_first_file_of_cni_and_what_polices_it_is_a_process() -> None:
    cni = ('/etc/cni/net.d/10-flannel.conflist:"type": "flannel"\n/etc/cni/net.d/10-flannel.conflist:"type":"portmap"\n'
           '/etc/cni/net.d/87-podman-bridge.conflist:"type": "bridge"')  # fmt: skip
    reading = read(cni=cni, policing=" kube-router kube-router")
    assert (reading.plugins, reading.policing) == (("flannel", "portmap"), ("kube-router",))
    assert (read().plugins, read().policing) == ((), ())


@pytest.mark.skipif(os.getuid() != 0, reason="only root has processes of two users")
@pytest.mark.parametrize(
    ("net", "uid", "policing"), [("host", 0, ("calico-node",)), ("host", 65534, ()), ("pod", 0, ())]
)
def test_an_agent_is_roots_and_in_the_hosts_network(tmp_path: Path, net: str, uid: int, policing: Any) -> None:
    for pid, where in (("1", "host"), ("70", net)):
        put(tmp_path, f"/net/{where}")
        put(tmp_path, f"/proc/{pid}/comm", "calico-node\n" if pid == "70" else "init\n")
        (tmp_path / f"proc/{pid}/ns").mkdir()
        (tmp_path / f"proc/{pid}/ns/net").symlink_to(tmp_path / "net" / where)
    os.chown(tmp_path / "proc/70", uid, uid)
    script = Kubelet.script.replace("/proc/", f"{tmp_path}/proc/")
    assert Kubelet.parse(run_script(script, tmp_path, "kubelet")).policing == policing


@pytest.mark.parametrize(
    ("said", "stale", "pids"),
    [
        ('{"kubeletconfig": {"podPidsLimit": 77, "authentication": {"anonymous": {"enabled": false}}}}', (), 77),
        ("Unauthorized", (CONFIG,), None),
        ('{"kubeletconfig": {"podPidsLimit": "77"}}', (CONFIG,), None),
        ('{"kubeletconfig": 7}', (CONFIG,), None),
        (Block(28, ""), (CONFIG,), None),
    ],
)
def test_where_its_files_were_changed_its_api_says_what_it_runs_with(said: Any, stale: Any, pids: int | None) -> None:
    """A file that is older needs nobody to say so."""
    changed = {"times": f"9999 900 900 {CONFIG}", CONFIG: f"{HEAD}podPidsLimit: 9\n"}
    reading = read(configz=said, **changed)
    assert reading.stale == stale
    assert reading.disk.files["podPidsLimit"].value == 9
    if pids:
        assert {key: each.value for key, each in reading.live.files.items()} == {
            "podPidsLimit": pids, "authentication.anonymous.enabled": False,
        }  # fmt: skip
