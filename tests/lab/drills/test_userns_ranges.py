"""Ranges of ids that overlap a user's: an engine that holds nothing gets others, one that holds something is named with
it, and a rollback brings back what was there.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from typing import Any

import pytest

from facts.userns import SUBGID, SUBUID
from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
POLICY = """\
podman: {user_namespace: auto}
userns: {ranges: true, docker_remap: true}
"""
IMAGE = "lab/busybox:1"
TAKEN = 131072  # within the range that useradd has given the host's first user
MOVED = {"dockremap": 0x7800_0000, "containers": 0x7A00_0000}

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str, accept: str = "userns-remap,podman-userns") -> Result:
    path = vm.folder / "ranges.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}", *options)


def rows(vm: Vm, owner: str) -> list[str]:
    """The owner's rows, in both files."""
    return vm.ssh(f"grep -h ^{owner}: {SUBUID} {SUBGID}", check=False).stdout.split()


def first_id(vm: Vm, engine: str, options: str = "") -> int:
    """Which id of the host's root in a new container has."""
    vm.ssh(f"{engine} image inspect {IMAGE} >/dev/null 2>&1 || {engine} import /var/lib/lab/busybox.tar {IMAGE}")
    said = vm.ssh(f"{engine} run --rm {options} {IMAGE} cat /proc/self/uid_map").stdout
    return int(said.split()[1])


def take(vm: Vm, owner: str) -> None:
    """The owner has ids of the host's first user."""
    vm.ssh(f"sed -i /^{owner}:/d {SUBUID} {SUBGID}; echo {owner}:{TAKEN}:65536 | tee -a {SUBUID} >>{SUBGID}")


def test_before_both_engines_map_to_ids_of_a_user(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends podman crun uidmap 2>&1", timeout=900)
    harden = deploy(vm, "harden.py")
    assert harden.states()["userns.docker-remap"] == "pass", harden.out + harden.err
    take(vm, "dockremap")
    take(vm, "containers")
    vm.ssh("systemctl restart docker")
    drift = deploy(vm, "drift.py")
    assert drift.states()["userns.ranges"] == "fail", drift.out
    for owner in MOVED:
        assert f"{owner}:{TAKEN}:65536 ({SUBUID})" in drift.reason("userns.ranges")


def test_engines_that_hold_nothing_get_ids_that_nobody_has(vm: Vm, story: dict[str, Any]) -> None:
    others = vm.ssh(f"grep -hvE '^({'|'.join(MOVED)}):' {SUBUID} {SUBGID}").stdout
    harden = deploy(vm, "harden.py")
    story["run"] = harden.report["run"]["id"]
    assert harden.states()["userns.ranges"] == "pass", harden.out + harden.err
    for owner, start in MOVED.items():
        assert {int(row.split(":")[1]) for row in rows(vm, owner)} == {start}
    assert vm.ssh(f"grep -hvE '^({'|'.join(MOVED)}):' {SUBUID} {SUBGID}").stdout == others
    assert deploy(vm, "harden.py").host()["changes"] == []


def test_a_rollback_brings_the_old_ids_back(vm: Vm, story: dict[str, Any]) -> None:
    back = deploy(vm, "rollback.py", "--data", f"run={story['run']}")
    assert back.host()["status"] == "ok", back.out + back.err
    for owner in MOVED:
        assert rows(vm, owner) == [f"{owner}:{TAKEN}:65536"] * 2
    assert first_id(vm, "docker") == TAKEN
    assert TAKEN <= first_id(vm, "podman", "--userns=auto") < TAKEN + 65536


def test_engines_that_hold_something_keep_their_ids_and_the_plan_says_what(vm: Vm) -> None:
    vm.ssh(f"podman create --name kept --userns=auto {IMAGE} true; docker volume create ledger")
    harden = deploy(vm, "harden.py")
    assert harden.states()["userns.ranges"] == "fail", harden.out
    said = " ".join(harden.out.split())
    for words in ("1 containers on disk", "ledger", IMAGE, "what is there may own ids of that range"):
        assert words in said
    for owner in MOVED:
        assert rows(vm, owner) == [f"{owner}:{TAKEN}:65536"] * 2


def test_without_what_it_held_it_gets_others_and_containers_have_them(vm: Vm) -> None:
    vm.ssh(f"podman rm kept; docker volume rm ledger; docker image rm {IMAGE}")
    harden = deploy(vm, "harden.py")
    assert harden.states()["userns.ranges"] == "pass", harden.out + harden.err
    assert first_id(vm, "docker") == MOVED["dockremap"]
    assert MOVED["containers"] <= first_id(vm, "podman", "--userns=auto") < MOVED["containers"] + 65536


def test_a_rollback_leaves_docker_what_it_has_stored_since(vm: Vm) -> None:
    back = deploy(vm, "rollback.py", accept="")
    assert "no longer sees what it has" in back.out + back.err
    assert {int(row.split(":")[1]) for row in rows(vm, "dockremap")} == {MOVED["dockremap"]}
    assert IMAGE in vm.ssh("docker image ls --format '{{.Repository}}:{{.Tag}}'").stdout
