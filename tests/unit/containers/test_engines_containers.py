"""Containers of engines that keep no list of them, and of Kubernetes, as a host with all of them showed them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from deploys.containers.names import naming, unknowable
from deploys.containers.rules import ContainersRules
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy
from deploys.seccomp.controls import SeccompRules
from facts import monitors, processes
from facts.containers import Container, Containers, ContainersReading
from facts.core.frame import read_frame
from facts.core.reading import Block, Section
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.lsm import Lsm, LsmReading
from facts.monitors import Monitor
from facts.processes import Process
from facts.seccomp import Seccomp, SeccompReading
from tests.support.cases import folder, read, replaced
from tests.support.hosts import container, docker, listed, whole

FACTS = Path(processes.__file__).parent
SUBJECT = whole("containers")
OUTPUT = read(folder(Containers) / "debian13-engines.json")["output"]
NONE: dict[str, Any] = {key: [] for key in ContainersRules.model_fields if key not in ("limits", "unlimited")}
MINE = ("lxc:plain", "lxc:common", "lxc:shared", "lxc:web (user 1000)", "nspawn:web", "nspawn:hand", "libvirt:web",
        "containerd:other/aside", "containerd:shop/POD", "containerd:shop/till")  # fmt: skip
OF_CONTAINERD = {each for each in MINE if each.startswith("containerd:")}  # they have the host's control groups


def block(name: str) -> list[str]:
    at = OUTPUT.index(f"@n block {name}") + 1
    return OUTPUT[at : OUTPUT.index("@n status 0", at)]


def host(**blocks: list[str] | None) -> ContainersReading:
    """The recorded host, with other lines in some blocks (`_` in a name is a dot)."""
    changed = {name.replace("_", "."): lines for name, lines in blocks.items()}
    with_status = {name: None if lines is None else [*lines, "@n status 0"] for name, lines in changed.items()}
    reading = Survey.parse([Containers], list(replaced(OUTPUT, with_status))).readings[Containers]
    assert isinstance(reading, ContainersReading)
    return reading


def by_name(reading: ContainersReading) -> dict[str, Container]:
    assert isinstance(reading.containers, tuple)
    return {each.shown: each for each in reading.containers}


def unlisted(reading: ContainersReading) -> set[int]:
    assert isinstance(reading.unlisted, tuple)
    return {each.pid for each in reading.unlisted}


HOST = host()
BY_NAME = by_name(HOST)


def finding(name: str, reading: ContainersReading = HOST, **rules: Any) -> Finding:
    of_docker = [each for each in BY_NAME.values() if each.engine == "docker"]
    rows = tuple(container("dweb", id=each.id, pid=each.pid) for each in of_docker)
    kernel = SeccompReading((), (), (), "x86_64", "6.12.1", profiles={}, daemon_started=None)
    survey = Survey({Containers: reading, Docker: docker(containers=rows), Seccomp: kernel,
                     Lsm: LsmReading(("apparmor",), None, None, True, True)})  # fmt: skip
    policy = Policy("test", {ContainersRules: ContainersRules(**(NONE | rules)), SeccompRules: SeccompRules()})
    return next(f for f in judge(SUBJECT.controls, survey, policy) if f.control.id == f"containers.{name}")


def test_each_container_has_its_engine_its_user_and_its_name() -> None:
    assert set(BY_NAME) - {"podman:web"} - {each.shown for each in BY_NAME.values() if each.engine == "docker"} == {
        *MINE
    }
    assert all(isinstance(each.process, Process) for each in BY_NAME.values())
    assert (unlisted(HOST), HOST.unseen) == (set(), ())
    assert set(HOST.engines) == {"docker", "podman", "lxc", "nspawn", "libvirt", "containerd"}


def test_guests_are_no_containers() -> None:
    (guest,) = HOST.guests if isinstance(HOST.guests, tuple) else ()
    assert (guest.name, guest.uid, guest.seccomp) == ("a guest", 64055, 2)
    assert str(guest.label).startswith("libvirt-")
    assert guest.pid not in {each.pid for each in BY_NAME.values()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("privileged", {"lxc:plain", "lxc:shared"}),
        ("host-namespaces", {"lxc:shared", "nspawn:hand", "libvirt:web", *OF_CONTAINERD}),
        ("joined-namespaces", set()),
        ("user-namespace", {*MINE} - {"lxc:web (user 1000)", "nspawn:web"}),
        ("capabilities", {each for each in MINE if not each.startswith("containerd:")}),
        ("seccomp", {"lxc:plain", "lxc:shared", "libvirt:web"} | {each for each in MINE if each.startswith("cont")}),
        ("no-new-privileges", {each for each in MINE if not each.startswith("containerd:")}),
        ("confined", {*MINE} - {"lxc:web (user 1000)"}),
        ("devices", {"nspawn:web", "nspawn:hand"}),
        ("masks", {"lxc:common", "libvirt:web"}),
        ("limits", {*MINE} - {"libvirt:web"}),
    ],
)
def test_what_is_wrong_with_each_engines_default(name: str, expected: set[str]) -> None:
    found = finding(name, limits=["memory"])
    wrong = found.verdict.live if isinstance(found.verdict.live, dict) else {}
    assert {each for each in wrong if each in MINE} == expected


@pytest.mark.parametrize("shown", ["lxc:common", "nspawn:web", "nspawn:hand", "lxc:web (user 1000)"])
def test_a_filter_that_is_not_read_is_no_pass(shown: str) -> None:
    alone = dataclasses.replace(HOST, containers=(BY_NAME[shown],))
    found = finding("seccomp", alone)
    assert (found.state, "its seccomp filter was not read" in found.verdict.reason) == (State.UNKNOWN, True)


def test_a_terminal_is_no_device_of_the_hosts_though_it_is_mounted_as_one() -> None:
    nodes = BY_NAME["lxc:common"].process.nodes  # type: ignore[union-attr]
    assert "/dev/lxc/tty1" in nodes  # type: ignore[operator]
    assert "lxc:common" not in finding("devices").verdict.live


# ---------------------------------------------------------------------------------------------------- what started them


def monitor(*words: str, user: int = 0) -> Monitor | None:
    said = "".join(f"/proc/7/cmdline:{word}\0" for word in words)
    blocks = {"monitors": Block(0, f"{user}:7\n"), "monitors.words": Block(0, said)}
    return monitors.read_monitors(Section(blocks)).get(7)


@pytest.mark.parametrize(
    ("words", "engine", "name"),
    [
        (["[lxc monitor] /var/lib/lxc web"], "lxc", "web"),
        (["[lxc monitor] /var/lib/lxc evil web"], "lxc", "evil web"),
        (["[lxc monitor] /var/lib/lxc a\nb"], "lxc", "a\nb"),
        (["[lxc monitor] /var/lib/incus/containers shop_web"], "incus", "shop_web"),
        (["[lxc monitor] /var/snap/lxd/common/lxd/containers web"], "lxd", "web"),
        (["/usr/bin/lxc-start", "-F", "-n", "web"], "lxc", "web"),
        (["lxc-execute", "--name=web", "--", "sh", "-n", "other"], "lxc", "web"),
        (["/usr/bin/systemd-nspawn", "--quiet", "--machine=web", "--boot"], "nspawn", "web"),
        (["systemd-nspawn", "-Mweb", "-D", "/srv/x"], "nspawn", "web"),
        (["systemd-nspawn", "-D", "/srv/x/"], "nspawn", "x"),
        (["systemd-nspawn", "--", "-M", "other"], "nspawn", ""),
        (["systemd-nspawn", "-M"], "nspawn", ""),
        (["/usr/lib/libvirt/libvirt_lxc", "--name", "web", "--console", "27"], "libvirt", "web"),
        (["conmon", "--api-version", "1", "-n", "web", "--exit-dir", "/x"], "podman", "web"),
    ],
)
def test_a_command_line_says_the_engine_and_the_name(words: list[str], engine: str, name: str) -> None:
    assert monitor(*words) == Monitor(engine, 0, name)


ID = "0123456789ab" * 5 + "cdef"
SHIM = ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", ID, "-address", "/tmp/x/containerd.sock"]


def test_engines_that_give_ids_have_started_what_they_say() -> None:
    """Root's containerd is Docker's or Kubernetes', and both are asked in other ways."""
    conmon = ["/usr/bin/conmon", "-c", ID, "-u", ID, "-b", "/x", "-n", "web"]
    assert monitor(*conmon, user=1000) == Monitor("podman", 1000, "web", ID)
    assert monitor(*conmon[:-2]) == Monitor("podman", 0, ID[:12], ID)
    assert monitor("conmon", "-c", "../..", "-n", "web") == Monitor("podman", 0, "web", "")
    assert monitor(*SHIM, user=1000) == Monitor("docker", 1000, ID[:12], ID)
    assert monitor(*[word.replace("moby", "default") for word in SHIM], user=7) == Monitor("containerd", 7, ID[:12], ID)
    assert monitor(*SHIM) is None


def test_other_command_lines_say_nothing() -> None:
    for words in (["bash"], ["/sbin/init"], [""], ["[lxc monitor]"], ["my-lxc-start"], ["containerd-shim-runc-v2"]):
        assert monitor(*words) is None
    assert monitor("[lxc monitor] /var/lib/incus/containers web", user=1000) == Monitor("lxc", 1000, "web")
    endless = monitor("[lxc monitor] /x " + "a" * 100_000)
    assert endless is not None
    assert len(endless.name) < 300


@pytest.mark.parametrize(
    ("engine", "cgroup", "name"),
    [
        ("lxc", "/lxc.payload.web", "web"),
        ("lxc", "/user.slice/lxc-web-0.scope/lxc.payload.web/init.scope", "web"),
        ("nspawn", "/machine.slice/machine-a\\x2db.scope/payload", "a-b"),
        ("nspawn", "/machine.slice/hand.scope/payload", "hand"),
        ("nspawn", "/system.slice/x.service", ""),
    ],
)
def test_where_the_command_line_has_no_name_the_control_group_has(engine: str, cgroup: str, name: str) -> None:
    assert Monitor(engine, 0, "").names(cgroup) == name


PLAIN = BY_NAME["lxc:plain"]
PARENT = next(line.split("\t")[1] for line in OUTPUT if line.startswith(f"/proc/{PLAIN.pid}/status:PPid"))
OTHERS = [line for line in block("monitors") if line and not line.endswith(f":{PARENT}")]


def test_a_container_whose_monitor_is_not_believed_is_one_that_no_engine_names() -> None:
    assert unlisted(host(monitors=OTHERS)) == {PLAIN.pid}


def test_a_user_gives_names_to_none_but_what_his_own_ids_run() -> None:
    """Who starts a process that is the host's root's has none to show as a container of his own."""
    assert unlisted(host(monitors=[*OTHERS, f"1000:{PARENT}"])) == {PLAIN.pid}


def test_a_process_in_the_hosts_mount_namespace_is_no_container_whoever_started_it() -> None:
    own = next(line for line in block("processes.spaces") if line.startswith("/proc/1/ns/mnt"))
    lines = [
        own.replace("/proc/1/", f"/proc/{PLAIN.pid}/") if line.startswith(f"/proc/{PLAIN.pid}/ns/mnt") else line
        for line in block("processes.spaces")
    ]
    assert "lxc:plain" not in by_name(host(processes_spaces=lines))


def test_a_container_that_is_gone_meanwhile_costs_itself() -> None:
    lines = [line for line in block("processes.status") if f"/proc/{PLAIN.pid}/" not in line]
    found = host(processes_status=lines)
    assert set(by_name(found)) == set(BY_NAME) - {"lxc:plain"}
    assert unlisted(found) == {PLAIN.pid}
    assert finding("unlisted", found).state is State.UNKNOWN


def test_nothing_within_a_container_is_one_beside_it_though_systemd_has_moved_itself_away() -> None:
    nested = BY_NAME["lxc:common"].pid
    lines = [
        line.replace("/lxc.payload.common", "/lxc.payload.plain/system.slice/x.service")
        .replace("/lxc.payload.plain\n", "/lxc.payload.plain/init.scope\n")
        for line in block("processes.cgroup")
    ]  # fmt: skip
    lines = [f"{line}/init.scope" if line.endswith("/lxc.payload.plain") else line for line in lines]
    parent = next(line.split("\t")[1] for line in OUTPUT if line.startswith(f"/proc/{nested}/status:PPid"))
    without = [line for line in block("monitors") if line and not line.endswith(f":{parent}")]
    assert unlisted(host(processes_cgroup=lines, monitors=without)) == set()


def test_where_links_are_not_told_containers_may_be_missing() -> None:
    lines = [line for line in block("containers") if not line.startswith("- ")]
    at = OUTPUT.index("@n block engines")
    unable = [*OUTPUT[:at], "@n block unlisted.unable", "", "@n status 1", *OUTPUT[at:]]
    [section] = read_frame(list(replaced(unable, {"containers": [*lines, "@n status 0"]}))).values()
    reading = Containers.read(section)
    assert isinstance(reading, ContainersReading)
    assert len(reading.unseen) == 1
    assert finding("joined-namespaces", reading).state is State.UNKNOWN


# ------------------------------------------------------------------------------------------------ Kubernetes, and names


def test_the_containers_of_a_pod_are_no_strangers_and_those_of_another_one_are() -> None:
    pause, till = BY_NAME["containerd:shop/POD"], BY_NAME["containerd:shop/till"]
    assert isinstance(pause.process, Process)
    assert isinstance(till.process, Process)
    assert pause.process.namespaces["net"] == till.process.namespaces["net"]
    others = [line.replace('sandbox-id":"pod1', 'sandbox-id":"pod2') if "/c1/" in line else line
              for line in block("containerd.pods")]  # fmt: skip
    found = finding("joined-namespaces", host(containerd_pods=others))
    assert found.verdict.live.keys() == {"containerd:shop/POD", "containerd:shop/till"}


def test_a_pod_of_another_kubernetes_namespace_has_that_in_its_name() -> None:
    lines = [line.replace('namespace":"default', 'namespace":"team') for line in block("containerd.pods")]
    found = by_name(host(containerd_pods=lines))
    assert {"containerd:team/shop/POD", "containerd:team/shop/till"} <= found.keys()
    assert found["containerd:team/shop/till"].image == "registry.example/till:1"
    nameless = [line for line in block("containerd.pods") if "/c1/" not in line]
    assert "containerd:k8s.io/c1" in by_name(host(containerd_pods=nameless))


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        ("lxc:plain", ["plain", "lxc:plain"]),
        ("nspawn:hand", ["hand", "nspawn:hand"]),
        ("libvirt:web", ["web", "libvirt:web"]),
        ("lxc:web (user 1000)", ["1000/web", "user:1000"]),
        ("containerd:other/aside", ["other/aside", "containerd:other/aside"]),
        ("containerd:shop/till", ["shop/till", "containerd:shop/till", "image:registry.example/till"]),
    ],
)
def test_a_policy_names_them(shown: str, names: list[str]) -> None:
    others = ["other", "podman:plain", "nspawn:web", "containerd:aside", "aside", "1001/web", "lxc:web"]
    assert [naming(BY_NAME[shown], [name]) for name in names] == names
    assert [naming(BY_NAME[shown], [name]) for name in others] == [""] * len(others)


def test_no_container_of_roots_has_a_name_that_is_a_users() -> None:
    """A pod may be called 1000."""
    pod = dataclasses.replace(listed("1000/web", "containerd"), pod="p")
    assert naming(pod, ["1000/web"]) == ""
    assert naming(pod, ["containerd:1000/web"]) == "containerd:1000/web"


def test_that_a_policy_names_an_image_says_nothing_of_what_is_made_of_none() -> None:
    assert not any(unknowable(BY_NAME[f"{engine}:web"], ["image:x"]) for engine in ("nspawn", "libvirt"))
    assert unknowable(BY_NAME["containerd:other/aside"], ["image:x"])
    assert finding("privileged", privileged=["image:x"]).state is State.FAIL
