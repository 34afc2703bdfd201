"""What confines running containers: AppArmor profiles by what they allow, SELinux domains and categories."""

from __future__ import annotations

import dataclasses
import json

import pytest

from deploys.core.control import State
from facts.containers import Containers, ContainersReading
from facts.core.reading import Unknown, known
from facts.core.survey import Survey
from facts.processes import Process
from tests.support.cases import folder
from tests.support.hosts import beside, docker, listed
from tests.support.two_engines import (
    HOST,
    NONE,
    finding,
    only,
    survey,
)


@pytest.mark.parametrize(
    ("module", "label", "state"),
    [
        ("apparmor", "docker-default (enforce)", State.PASS),
        ("apparmor", "docker-default (complain)", State.FAIL),
        ("apparmor", "crun (unconfined)", State.FAIL),
        ("apparmor", "", State.FAIL),
        ("selinux", "system_u:system_r:container_t:s0:c1,c2", State.PASS),
        ("selinux", "system_u:system_r:svirt_lxc_net_t:s0:c1,c2", State.PASS),
        ("selinux", "system_u:system_r:spc_t:s0", State.FAIL),
        # what a container that is not labelled has from its engine, by how that was installed
        ("selinux", "system_u:system_r:unconfined_service_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:dockerd_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:container_engine_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:init_t:s0", State.FAIL),
        ("selinux", "system_u:system_r:kernel_t:s0", State.FAIL),
        ("selinux", "", State.FAIL),
        ("landlock", "", State.FAIL),
    ],
)
def test_labels(module: str, label: str, state: State) -> None:
    assert finding("confined", survey(only(label=label), module), **NONE).state is state


def test_a_profile_confines_by_what_the_kernel_says_it_allows_whatever_it_is_called() -> None:
    wide = only(label="web-tier (enforce)", may_write=("/proc/sysrq-trigger",))
    found = finding("confined", survey(wide, "apparmor"), **NONE)
    assert found.state is State.FAIL
    assert (
        "web runs under the AppArmor profile web-tier, which lets it write /proc/sysrq-trigger" in found.verdict.reason
    )
    silent = only(label="web-tier (enforce)", may_write=Unknown("the kernel did not say"))
    assert finding("confined", survey(silent, "apparmor"), **NONE).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("label", "modes", "expected"),
    [
        # As Debian 13 has them of a container of Podman's with ids of its own.
        ("containers-default-0.62.2//&crun (mixed)", "crun (unconfined)\ncontainers-default-0.62.2 (enforce)",
         "containers-default-0.62.2 (enforce)"),
        ("a//&b (mixed)", "a (complain)\nb (unconfined)", "a//&b (mixed)"),
        ("a//&b (mixed)", "", "a//&b (mixed)"),
    ],
)  # fmt: skip
def test_a_stack_of_profiles_holds_by_the_one_that_is_enforced(label: str, modes: str, expected: str) -> None:
    lines = json.loads((folder(Containers) / "debian13-hardened-form.json").read_text())["output"]
    lines = [line.replace("current:unconfined", f"current:{label}") for line in lines]
    at = lines.index("@n block processes.spaces")
    lines[at:at] = ["@n block processes.modes", *modes.splitlines(), "", "@n status 0"]
    found = known(Survey.parse([Containers], lines)[Containers].containers)
    assert {known(each.process).label for each in found} == {expected}


# As a kernel 6.12 answered, of a profile that allows all and of Docker's own.
@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("allowall (enforce)", ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern")),
        ("docker-default (enforce)", ()),
        ("docker-default (complain)", ()),
        ("unconfined", ()),
        ("other (enforce)", None),
    ],
)
def test_what_the_kernel_answers_of_a_profile_is_read(label: str, expected: tuple[str, ...] | None) -> None:
    said = """\
/proc/sysrq-trigger 0x00050200 docker-default
/proc/sys/kernel/core_pattern 0x00058245 docker-default
/proc/sysrq-trigger 0x0005b37f allowall
/proc/sys/kernel/core_pattern 0x0005b37f allowall"""
    lines = json.loads((folder(Containers) / "debian13-hardened-form.json").read_text())["output"]
    lines = [line.replace("current:unconfined", f"current:{label}") for line in lines]
    at = lines.index("@n block processes.spaces")
    lines[at:at] = ["@n block processes.allowed", *said.splitlines(), "", "@n status 0"]
    found = known(Survey.parse([Containers], lines)[Containers].containers)
    answers = [known(each.process).may_write for each in found]
    assert answers
    assert {None if isinstance(each, Unknown) else each for each in answers} == {expected}


# --- SELinux


OWN, OTHER = (f"system_u:system_r:container_t:s0:c{number},c9" for number in (1, 2))


@pytest.mark.parametrize(
    ("labels", "state", "says"),
    [
        ([OWN, OTHER], State.PASS, "2 running containers were checked"),
        ([OWN, OWN], State.FAIL, "web shares the SELinux category c1,c9 with podman:db"),
        (["system_u:system_r:container_t:s0", OTHER], State.FAIL, "web has no SELinux category of its own (system_u"),
        (["system_u:system_r:container_t:s0-s0:c0.c1023", OTHER], State.FAIL, "web has no SELinux category of its own"),
        (["system_u:system_r:spc_t:s0", OTHER], State.PASS, "2 running"),  # containers.confined says that
    ],
)
def test_each_container_has_a_category_of_its_own(labels: list[str], state: State, says: str) -> None:
    host = labelled(labels)
    found = finding("own-category", survey(host, "selinux"), shared_categories=[])
    assert (found.state, says in found.verdict.reason) == (state, True), found.verdict.reason
    assert finding("own-category", survey(host, "apparmor"), shared_categories=[]).state is State.NOT_APPLICABLE
    assert finding("own-category", survey(host, "selinux"), shared_categories=["web", "db"]).state is State.PASS


@pytest.mark.parametrize(("kind", "state"), [("ipc", State.PASS), ("pid", State.PASS), ("net", State.FAIL)])
def test_who_shares_processes_or_memory_shares_its_category_too(kind: str, state: State) -> None:
    """Docker gives a container that joins another's processes or memory the other's label, Podman all of a pod."""
    host = labelled([OWN, OWN], **{kind: 77})
    assert finding("own-category", survey(host, "selinux"), shared_categories=[]).state is state
    assert isinstance(host.namespaces, dict)
    hosts = labelled([OWN, OWN], **{kind: host.namespaces[kind]})
    assert finding("own-category", survey(hosts, "selinux"), shared_categories=[]).state is State.FAIL


@pytest.mark.parametrize(
    ("labels", "state", "says"),
    [
        (["libvirt-1 (enforce)", "libvirt-2 (enforce)"], State.PASS, "2 running containers were checked"),
        (["own (enforce)", "own (enforce)"], State.FAIL, "libvirt:a shares the AppArmor profile own with libvirt:b, d"),
        (["own (complain)", "own (complain)"], State.PASS, ""),  # containers.confined says that
    ],
)
def test_each_container_of_libvirts_has_a_profile_of_its_own(labels: list[str], state: State, says: str) -> None:
    ours = [listed(name, "libvirt", label=label) for name, label in zip("ab", labels, strict=True)]
    others = [listed(name, "docker", label="own (enforce)") for name in "dc"]
    host = beside(docker(), *ours, *others, also=("libvirt",))
    found = finding("own-profile", survey(host, "apparmor"), shared_profiles=[])
    assert (found.state, says in found.verdict.reason) == (state, True), found.verdict.reason
    assert "c shares" not in found.verdict.reason
    assert finding("own-profile", survey(host, "selinux"), shared_profiles=[]).state is State.NOT_APPLICABLE
    alone = survey(beside(docker(), *others), "apparmor")
    assert finding("own-profile", alone, shared_profiles=[]).state is State.NOT_APPLICABLE
    assert finding("own-profile", survey(host, "apparmor"), shared_profiles=["a", "b"]).state is State.PASS


def labelled(labels: list[str], **namespaces: int) -> ContainersReading:
    """The host with Docker's `web` and Podman's `db` of these labels, which share these namespaces."""
    web, db = listed("web", "docker", label=labels[0]), listed("db", label=labels[1])
    boxes = []
    for each in (web, db):
        assert isinstance(each.process, Process)
        process = dataclasses.replace(each.process, namespaces={**each.process.namespaces, **namespaces})
        boxes.append(dataclasses.replace(each, process=process))
    return dataclasses.replace(HOST, containers=tuple(boxes), unlisted=())
