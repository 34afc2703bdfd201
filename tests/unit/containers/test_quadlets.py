"""Containers that systemd starts by a file of Podman's: judged before they run, as they would be started."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys.containers.rules import ContainersRules
from deploys.core.control import Finding, State, judge
from deploys.core.policy import Policy
from facts.containers import LISTS, Container, Containers
from facts.core.reading import Block
from facts.core.survey import Survey
from facts.engines.docker.docker import Docker
from facts.lsm import Lsm, LsmReading
from facts.quadlets import FOLDERS, KINDS, read_quadlets
from facts.waiting import Waiting
from tests.support.hosts import beside, docker, listed, whole

SUBJECT = whole("containers")
AT = "/etc/containers/systemd"


def files(*lines: str) -> tuple[Waiting, ...]:
    """As grep(1) prints them, each file with the line of its section."""
    text: list[str] = []
    seen: set[str] = set()
    for line in lines:
        path = line.partition(":")[0]
        [kind] = [each for ending, each in KINDS.items() if f".{ending}" in path]
        text += [f"{AT}/{path}:[{kind}]"] * (path not in seen) + [f"{AT}/{line}"]
        seen.add(path)
    return read_quadlets(Block(0, "\n".join(text)))


def found(
    declared: tuple[Waiting, ...], *running: Container, module: Any = "apparmor", **rules: Any
) -> dict[str, Finding]:
    reading = docker(installed=False, running=False)
    containers = dataclasses.replace(beside(reading, *running, also=("podman",)), declared=declared)
    host = Survey({Containers: containers, Docker: reading})
    if module:
        host.readings[Lsm] = LsmReading((module,), None, None, True, True)
    policy = Policy("p", {ContainersRules: ContainersRules(**rules)})
    return {f.control.id.partition(".")[2]: f for f in judge(SUBJECT.controls, host, policy)}


def test_what_a_file_asks_for_is_read() -> None:
    (web,) = files(
        "web.container:Image=registry.example/web:2",
        "web.container:PodmanArgs=--privileged --pid host",
        "web.container:Network = host",
        "web.container:AddDevice=-/dev/vda:/dev/vda",
        "web.container:Volume=/etc:/host:ro,z",
        "web.container:Volume=/root:/r",
        "web.container:Volume=data:/data",
    )
    assert web == Waiting(
        "", "systemd-web", f"started by {AT}/web.container", True, ("network", "pid"), ("/dev/vda",),
        (("/etc", False), ("/root", True)), "registry.example/web:2",
    )  # fmt: skip


def test_the_last_value_of_a_key_counts_and_one_without_a_value_takes_away_those_before() -> None:
    (web,) = files("web.container:ContainerName=a", "web.container:ContainerName=b", "web.container:UserNS=host",
                   "web.container:UserNS=auto", "web.container:AddCapability=ALL", "web.container:AddCapability=",
                   "web.container:AddCapability=CAP_KILL sys_time")  # fmt: skip
    assert (web.name, web.user_namespace, web.capabilities) == ("b", "auto", ("KILL", "SYS_TIME"))


def test_whose_a_file_for_users_is() -> None:
    found = files("web.container:Image=x", "users/web.container:Image=x", "users/1000/web.container:Image=x")
    assert {each.status.removeprefix(f"started by {AT}/"): each.user for each in found} == {
        "web.container": 0, "users/web.container": None, "users/1000/web.container": 1000,
    }  # fmt: skip


def test_all_that_podmans_arguments_and_keys_may_open_is_read() -> None:
    args = ("--volume /:/h -v/srv:/s:ro --device /dev/sda --cap-add=ALL --userns=host --cgroupns host --net host "
            "--security-opt seccomp=unconfined --security-opt label:disable --privileged=false "
            "--mount type=bind,src=/root,dst=/r,readonly")  # fmt: skip
    (web,) = files(
        f"web.container:PodmanArgs={args}", "web.container:Mount=type=bind,source=/var/run/x,destination=/e",
        "web.container:Mount=type=volume,source=data,destination=/d", "web.container:Volume=./beside:/b",
        "web.container:Unmask=ALL", "web.container:SecurityLabelDisable=true", "web.container:AppArmor=unconfined",
    )  # fmt: skip
    assert web == Waiting(
        "", "systemd-web", f"started by {AT}/web.container", False, ("cgroupns", "network"), ("/dev/sda",),
        (("/run/x", True), (f"{AT}/beside", True), ("/", True), ("/srv", False), ("/root", False)),
        capabilities=("ALL",), user_namespace="host",
        security=("apparmor=unconfined", "unmask=ALL", "label=disable", "seccomp=unconfined", "label=disable"),
    )  # fmt: skip


def test_a_line_goes_on_behind_a_backslash_and_only_a_sections_own_keys_count() -> None:
    (web,) = files("web.container:PodmanArgs=--pid \\", "web.container:  host \\", "web.container:  --privileged",
                   "web.container:[Service]", "web.container:Network=host")  # fmt: skip
    assert (web.shares, web.privileged) == (("pid",), True)


def test_pods_and_what_files_of_kubernetes_are_started_with_are_read_too() -> None:
    pod, kube = files("a.pod:Network=host", "b.kube:PodmanArgs=--userns=host")
    assert (pod.name, pod.shares, kube.name, kube.user_namespace) == ("systemd-a", ("network",), "systemd-b", "host")


def test_a_file_counts_before_one_of_the_same_name_in_a_later_folder() -> None:
    texts = (f"{at}web.container:[Container]\n{at}web.container:Image={at}" for at in reversed(FOLDERS))
    (web,) = read_quadlets(Block(0, "\n".join(texts)))
    assert web.image == "/run/containers/systemd/"


def test_a_drop_in_adds_to_its_file_and_one_that_makes_no_sense_costs_no_other_its_reading() -> None:
    odd, web = files(
        "odd.container:PodmanArgs=--label 'open", "web.container:Image=x",
        "web.container.d/10-more.conf:PodmanArgs=--privileged",
    )  # fmt: skip
    assert (odd.privileged, web.name, web.privileged) == (False, "systemd-web", True)


@pytest.mark.parametrize(
    ("line", "rule", "key"),
    [
        ("PodmanArgs=--privileged", "privileged", "privileged"),
        ("Network=host", "host-namespaces", "host_namespaces"),
        ("AddDevice=/dev/vda", "devices", "devices"),
        ("Volume=/run:/r", "mounts", "mounts"),
        ("Mount=type=bind,source=/etc,destination=/e", "mounts", "mounts"),
        ("PodmanArgs=--volume /:/h", "mounts", "mounts"),
        ("PodmanArgs=--device /dev/sda", "devices", "devices"),
        ("UserNS=host", "user-namespace", "host_ids"),
        ("AddCapability=SYS_ADMIN", "capabilities", "capabilities"),
        ("SeccompProfile=unconfined", "seccomp", "unfiltered"),
        ("AppArmor=unconfined", "confined", "unconfined"),
        ("Unmask=/srv:/proc/sys/kernel", "masks", "unmasked"),
    ],
)
def test_one_that_does_not_run_fails_by_what_it_would_start_with(line: str, rule: str, key: str) -> None:
    declared = files(f"web.container:{line}")
    finding = found(declared, **{key: []})[rule]
    assert finding.state is State.FAIL
    assert f"podman:systemd-web is started by {AT}/web.container with" in finding.verdict.reason
    allowed = ["SYS_ADMIN"] if rule == "capabilities" else ["podman:systemd-web"]
    assert found(declared, **{key: allowed})[rule].state.holds


@pytest.mark.parametrize(
    ("line", "rule", "key"),
    [
        ("AddCapability=KILL", "capabilities", "capabilities"),
        ("SeccompProfile=/srv/x.json", "seccomp", "unfiltered"),
        ("SecurityLabelDisable=true", "confined", "unconfined"),
        ("Unmask=/proc/acpi", "masks", "unmasked"),
        ("UserNS=auto", "user-namespace", "host_ids"),
    ],
)
def test_what_is_allowed_or_of_no_consequence_here_is_no_fault(line: str, rule: str, key: str) -> None:
    """SELinux does not run on this host."""
    assert found(files(f"web.container:{line}"), **{key: []})[rule].state is State.PASS


def test_on_selinux_its_own_options_count() -> None:
    def state(line: str, module: str | None = "selinux") -> State:
        return found(files(f"web.container:{line}"), module=module, unconfined=[])["confined"].state

    assert (state("SecurityLabelDisable=true"), state("SecurityLabelType=spc_t")) == (State.FAIL, State.FAIL)
    assert state("SecurityLabelType=container_t") is State.PASS
    assert state("SecurityLabelDisable=true", module=None) is State.UNKNOWN


def test_what_a_user_would_start_is_not_root_on_the_host() -> None:
    declared = files("users/1000/web.container:PodmanArgs=--privileged --userns host --network host",
                     "users/1000/web.container:Unmask=ALL")  # fmt: skip
    judged = found(declared, privileged=[], host_ids=[], unmasked=[], host_namespaces=[])
    assert {name for name, each in judged.items() if each.state is State.FAIL} == {"host-namespaces"}
    assert "podman:systemd-web (user 1000)" in judged["host-namespaces"].verdict.reason


def test_one_that_runs_is_judged_by_its_process() -> None:
    declared = files("web.container:PodmanArgs=--privileged")
    assert found(declared, listed("systemd-web"), privileged=[])["privileged"].state is State.PASS


def test_the_script_reads_files_and_links_and_no_comments(tmp_path: Path) -> None:
    units = tmp_path / "etc/containers/systemd"
    (units / "deep").mkdir(parents=True)
    (units / "deep" / "web.container").write_text("# x\n[Container]\n\n ;y\nPodmanArgs=--pid \\\n  host\n")
    (tmp_path / "pod").write_text("[Pod]\nNetwork=host\n")
    (units / "a.pod").symlink_to(tmp_path / "pod")
    (units / "web.volume").write_text("[Volume]\nUser=0\n")
    text = LISTS[2].read_text()
    script = text[text.index("# What systemd starts by files") :].replace(" /", f" {tmp_path}/")
    said = subprocess.run(
        ["sh", "-c", f'run() {{ shift; "$@"; }}\n{script}'], capture_output=True, text=True, check=True
    )
    found = read_quadlets(Block(0, said.stdout.replace(str(tmp_path), "")))
    assert {each.name: each.shares for each in found} == {"systemd-web": ("pid",), "systemd-a": ("network",)}
    assert "web.volume" not in said.stdout
