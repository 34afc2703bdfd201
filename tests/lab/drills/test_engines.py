"""A host with every container engine that Debian has: each container is in the report under its engine and its name,
and the rules find what is wrong with each engine's default.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from typing import Any

import pytest

from facts.containers import Containers
from facts.core.frame import survey_script
from facts.core.survey import Survey
from tests.lab import Vm
from tests.lab.machine.drive import Result, executions, run

VARIANT = "engines"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]

POLICY = """\
containers: {privileged: [], host_namespaces: [], joined_namespaces: [], host_ids: [], capabilities: [], unfiltered: [],
  new_privileges: [], unconfined: [], devices: [], mounts: [], unmasked: [], limits: [memory, pids], unlisted: []}
"""
NAMED = """\
containers: {privileged: [plain, lxc:shared], host_namespaces: [libvirt:web, hand, lxc:shared, other/aside, shop/POD,
  shop/till], unlisted: []}
"""
DOCKER, PODMAN, USERS, LIBVIRT = "web", "podman:web", "lxc:web (user 1000)", "libvirt:web"
LXC = {"lxc:plain", "lxc:common", "lxc:shared"}
NSPAWN = {"nspawn:web", "nspawn:hand"}
PODS = {"containerd:shop/POD", "containerd:shop/till"}
CONTAINERD = {"containerd:other/aside", *PODS}
EVERYONE = {DOCKER, PODMAN, USERS, LIBVIRT, *LXC, *NSPAWN, *CONTAINERD}
WRONG: dict[str, set[str]] = {
    "privileged": {"lxc:plain", "lxc:shared"},
    "host-namespaces": {"lxc:shared", "nspawn:hand", LIBVIRT, *CONTAINERD},
    "user-namespace": EVERYONE - {USERS, "nspawn:web"},
    "capabilities": {*LXC, *NSPAWN, USERS, LIBVIRT},
    "seccomp": {*LXC, LIBVIRT, *CONTAINERD},
    "no-new-privileges": EVERYONE - CONTAINERD,
    "confined": {*LXC, *NSPAWN, LIBVIRT, *CONTAINERD},
    "devices": NSPAWN,
    "mounts": {"lxc:common"},
    "masks": {"lxc:common", LIBVIRT},
    "limits": EVERYONE - {LIBVIRT},
}
# A process of the host's process namespace that is in a container, and calls itself what starts LXC's.
LIAR = """\
docker run -d --name liar --pid host --cap-add SYS_ADMIN --security-opt apparmor=unconfined --volume /usr:/usr:ro \
  --volume /usr/lib:/lib:ro --volume /usr/lib64:/lib64:ro lab/busybox:1 /usr/bin/perl -e '
  $0 = "[lxc monitor] /var/lib/lxc plain"; syscall(272, 0x20020000) == 0 or die $!;
  fork or exec "/bin/sleep", "54321"; sleep 54321'
timeout 60 sh -c 'until pgrep -fx "/bin/sleep 54321"; do sleep 1; done'
"""


def drift(vm: Vm, policy: str) -> Result:
    path = vm.folder / "engines.yml"
    path.write_text(policy)
    return run(vm, "drift.py", "--data", f"policy={path}")


def found(result: Result) -> dict[str, Any]:
    """By control: what fails of which container, or else the state."""
    assert result.host()["status"] == "ok", result.out + result.err
    return {
        row["control"].removeprefix("containers."): row["live"] if row["state"] == "fail" else row["state"]
        for row in result.host()["findings"] if row["state"] != "not-applicable"
    }  # fmt: skip


def test_each_container_is_reported_under_its_engine_with_what_is_wrong_with_it(vm: Vm) -> None:
    before = executions(vm)
    result = drift(vm, POLICY)
    asked, live = executions(vm) - before, found(result)
    assert {name: set(live[name]) for name in WRONG} == WRONG
    assert live["joined-namespaces"] == "pass", "the containers of one pod are no strangers"
    assert live["unlisted"] == "pass"
    listed = next(row for row in result.host()["findings"] if row["control"] == "containers.unlisted")["live"]
    assert listed == {name: name.partition(":")[0] if ":" in name else "docker" for name in EVERYONE}
    assert live["host-namespaces"]["lxc:shared"] == "shares the host's pid namespace"
    assert live["host-namespaces"]["nspawn:hand"] == "shares the host's net namespace"
    assert all(live["confined"][name].endswith("which lets it write /proc/sys/kernel/core_pattern") for name in LXC)
    assert "could not be judged: lxc:web (user 1000)" in result.reason("containers.seccomp"), "a user's LXC"
    assert "/proc/sysrq-trigger" in live["masks"][LIBVIRT]
    assert asked == 2, "one execution for drift, one for asking"


def test_a_policy_names_them(vm: Vm) -> None:
    live = found(drift(vm, NAMED))
    assert (live["privileged"], live["host-namespaces"]) == ("pass", "pass")


def test_guests_are_listed_beside_the_containers(vm: Vm) -> None:
    printed = vm.ssh("sh -s", input=survey_script([Containers])).stdout
    (guest,) = Survey.parse([Containers], printed.split("\n"))[Containers].guests  # type: ignore[misc]
    assert (guest.name, guest.seccomp) == ("a guest", 2)
    assert str(guest.label).startswith("libvirt-")
    assert guest.uid == int(vm.ssh("id -u libvirt-qemu").stdout)


def test_a_container_that_calls_itself_an_engine_is_not_believed(vm: Vm) -> None:
    vm.ssh(LIAR)
    live = found(drift(vm, NAMED))
    assert live["host-namespaces"] == {"liar": "shares the host's pid namespace"}
    assert (live["privileged"], live["unlisted"]) == ("pass", "pass"), (
        "its process is one of a container that is listed"
    )
