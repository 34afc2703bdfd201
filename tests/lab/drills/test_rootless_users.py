"""Users who run containers without root: one whom the policy names gets what that takes, another one is told of, and a
rollback takes nothing from under files that are there. Root's defaults for Podman leave users' containers working.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from facts.userns import SUBGID, SUBUID
from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
PACKAGES = "podman crun uidmap dbus-user-session catatonit passt slirp4netns"
NEW, OTHER = "till", "opspw"
IMAGE = "lab/busybox:1"
LOAD = f"podman import -q /var/lib/lab/busybox.tar {IMAGE}"
OF_OTHER = f"systemctl -q --user -M {OTHER}@"
POLICY = f"""\
podman: {{user_namespace: auto, seccomp: true, no_new_privileges: true, private: true, pids: 2048}}
rootless: {{users: [{NEW}], ranges: true, helpers: true, linger: true, api: [], memory: 25, pids: 2,
  cpu: 50}}
"""
# Of the 15,000 tasks that the host has at most. A `$` stays for the container's shell.
BOMB = r"n=0; while [ \$n -lt 500 ]; do sleep 20 & n=\$((n + 1)); done; echo forked \$n"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


def deploy(vm: Vm, name: str, *options: str, accept: str = "podman-userns") -> Result:
    path = vm.folder / "users.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}", *options)


def as_user(vm: Vm, user: str, script: str) -> str:
    """What it prints, and what it complains of, in a session of the user's."""
    session = "d=/run/user/$(id -u); [ -d $d ] || d=/tmp/of-$(id -u); mkdir -p $d; export XDG_RUNTIME_DIR=$d " \
        "DBUS_SESSION_BUS_ADDRESS=unix:path=$d/bus"  # fmt: skip
    run_ = f"runuser -u {user} -- env HOME=/home/{user} sh -c '{session}; {script}' 2>&1"
    return vm.ssh(f"cd /home/{user} && {run_}", check=False, timeout=600).stdout


def ids(vm: Vm, user: str) -> int:
    """How many ids a container of the user's has."""
    said = as_user(vm, user, f"{LOAD} >/dev/null; podman run --rm {IMAGE} cat /proc/self/uid_map")
    return sum(int(row[1]) for row in re.finditer(r"^ +[0-9]+ +[0-9]+ +([0-9]+)$", said, re.MULTILINE))


def at_home(vm: Vm, user: str) -> None:
    vm.ssh(f"timeout 60 sh -c 'until [ -S /run/user/$(id -u {user})/bus ]; do sleep 1; done'")


def runs(vm: Vm, user: str) -> bool:
    return "running" in as_user(vm, user, "podman inspect -f {{.State.Status}} web")


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def test_before_a_user_has_no_ids_for_containers_and_another_one_runs_them_unasked(vm: Vm) -> None:
    vm.ssh(f"apt-get -qq install --no-install-recommends {PACKAGES} 2>&1", timeout=900)
    vm.ssh(f"useradd --create-home -K SUB_UID_COUNT=0 -K SUB_GID_COUNT=0 {NEW}; loginctl enable-linger {OTHER}")
    at_home(vm, OTHER)
    as_user(vm, OTHER, f"{LOAD}; podman run -d --name web {IMAGE} sleep 1000000")
    assert runs(vm, OTHER)
    assert "forked 500" in as_user(vm, OTHER, f'podman run --rm --pids-limit 0 {IMAGE} sh -c "{BOMB}"')
    assert ids(vm, NEW) < 2
    drift = deploy(vm, "drift.py")
    assert drift.reason("rootless.users").startswith(f"{OTHER} runs web")
    assert f"{NEW} has fewer than 65536 ids" in drift.reason("rootless.ranges")
    assert f"services of {OTHER} start at boot" in drift.reason("rootless.linger")
    assert drift.states()["rootless.helpers"] == "pass"


def test_whose_containers_would_change_is_said_before(vm: Vm) -> None:
    dry = deploy(vm, "harden.py", "--dry", accept="")
    assert f"users' Podman reads the same file: {OTHER} (web)" in " ".join(dry.out.split())


def test_the_user_whom_the_policy_names_gets_ids_and_stays(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py")
    story["run"] = harden.report["run"]["id"]
    left = {name for name in harden.not_holding() if name.startswith("rootless.")}
    assert left == {"rootless.users", "rootless.linger"}, harden.out
    assert f": services of {OTHER} start at boot and stay; " in harden.reason("rootless.linger")
    at_home(vm, NEW)
    as_user(vm, NEW, "podman system migrate")
    slice_ = f"/sys/fs/cgroup/user.slice/user-$(id -u {NEW}).slice"
    assert vm.ssh(f"cat {slice_}/cpu.weight").stdout.strip() == "50"
    assert "forked" not in as_user(vm, NEW, f'{LOAD}; podman run --rm --pids-limit 0 {IMAGE} sh -c "{BOMB}"')
    assert ids(vm, NEW) >= 1024
    assert runs(vm, OTHER)
    assert ids(vm, OTHER) >= 1024, "and may start new ones with root's defaults"


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    assert deploy(vm, "harden.py").host()["changes"] == []


@pytest.mark.parametrize(
    ("control", "broken", "mended", "says"),
    [
        ("helpers", "chmod u-s /usr/bin/newgidmap", "chmod u+s /usr/bin/newgidmap", "neither the setuid bit"),
        ("helpers", "chmod o+w /usr/bin/newuidmap", "chmod o-w /usr/bin/newuidmap", "changed by others than root"),
        (
            "ranges",
            f"sed -i.kept /^{NEW}:/d {SUBGID}",
            f"mv {SUBGID}.kept {SUBGID}",
            f"65536 ids in {SUBGID}",
        ),
        (
            "allowed",
            "sysctl -qw kernel.unprivileged_userns_clone=0",
            "sysctl -qw kernel.unprivileged_userns_clone=1",
            f"kernel.unprivileged_userns_clone is 0: no container of {NEW} starts",
        ),
        ("linger", f"loginctl disable-linger {NEW}", f"loginctl enable-linger {NEW}", "stop at the end of the last"),
        (
            "pids",
            f"echo max >/sys/fs/cgroup/user.slice/user-$(id -u {NEW}).slice/pids.max",
            f"systemctl set-property --runtime user-$(id -u {NEW}).slice TasksMax=2%",
            "is right on disk, but live",
        ),
        ("api", f"{OF_OTHER} start podman.socket", f"{OF_OTHER} stop podman.socket", f"listens for {OTHER} on /run"),
    ],
)
def test_what_is_broken_is_named(vm: Vm, control: str, broken: str, mended: str, says: str) -> None:
    vm.ssh(broken)
    drift, name = deploy(vm, "drift.py"), f"rootless.{control}"
    assert drift.states()[name] == "fail", drift.out
    assert says in drift.reason(name), drift.out
    vm.ssh(mended)


def test_a_rollback_leaves_the_ids_of_files_until_that_is_accepted(vm: Vm, story: dict[str, Any]) -> None:
    back = deploy(vm, "rollback.py", "--data", f"run={story['run']}")
    assert "may own ids of that range" in back.out, back.out + back.err
    assert len(vm.ssh(f"grep ^{NEW}: {SUBUID} {SUBGID}").stdout.split()) == 2
    assert NEW not in vm.ssh("ls /var/lib/systemd/linger").stdout.split()
    back = deploy(vm, "rollback.py", "--data", f"run={story['run']}", accept="rootless-ranges")
    assert back.host()["status"] == "ok", back.out + back.err
    assert not vm.ssh(f"grep ^{NEW}: {SUBUID} {SUBGID}", check=False).stdout
    assert runs(vm, OTHER)
