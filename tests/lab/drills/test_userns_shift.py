"""A user whose subordinate ids another owner has too gets others, and so does what the user's Podman has stored: once
that is accepted and nothing of the user's runs. A rollback takes both back.

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
userns: {ranges: true}
rootless: {users: [opspw], ranges: true}
"""
PACKAGES = "podman crun uidmap dbus-user-session catatonit"
USER, OTHER = "opspw", "till"
IMAGE = "lab/busybox:1"
START = 0x7400_0000
STORE = f"/home/{USER}/.local/share/containers"
PODMAN = "podman --cgroup-manager cgroupfs run --network none --volume data:/data"
# Beside files of several owners, a setuid program, a link out of the volume, a hard link and a name of two lines.
FILL = """\
cd /data; echo mine >of-root; echo theirs >"two
lines"; chown 33:44 two*; cp /bin/busybox su; chown 5:6 su; chmod 4755 su; ln su again
ln -s /etc/passwd away; chown -h 7:7 away; mkdir own; chown 5:5 own; chmod 2775 own"""
LIST = "cd /data; for f in *; do stat -c '%u %g %a %F' \"$f\"; done; cat two*"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str, accept: str = "") -> Result:
    path = vm.folder / "shift.yml"
    path.write_text(POLICY)
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}", *options)


def as_user(vm: Vm, script: str) -> str:
    """In a session of the user's, which ends with it."""
    session = f"systemd-run -q --wait --pipe -p User={USER} -p PAMName=login -p Delegate=yes"
    return vm.ssh(f"{session} sh -s", input=f"set -e; cd\n{script}\n", timeout=600).stdout


def in_container(vm: Vm, script: str, options: str = "--rm") -> str:
    quoted = "'" + script.replace("'", "'\\''") + "'"
    return as_user(vm, f"{PODMAN} {options} {IMAGE} sh -c {quoted}")


def rows(vm: Vm) -> set[str]:
    """The user's row, in both files."""
    return set(vm.ssh(f"grep -h ^{USER}: {SUBUID} {SUBGID}").stdout.split())


def on_disk(vm: Vm) -> str:
    """All that is stored, as the host sees it."""
    return vm.ssh(f"cd {STORE} && find . -xdev -printf '%U %G %m %y %i %p\\n' | sort").stdout


def said(result: Result) -> str:
    return " ".join((result.out + result.err).split())


def test_before_a_user_stores_files_with_ids_that_another_one_has(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(
        "apt-get -qq install --no-install-recommends podman crun uidmap dbus-user-session catatonit 2>&1", timeout=900
    )
    story["row"] = row = rows(vm).pop()
    taken = row.replace(f"{USER}:", f"{OTHER}:")
    vm.ssh(f"useradd -m {OTHER}; sed -i /^{OTHER}:/d {SUBUID} {SUBGID}; echo {taken} | tee -a {SUBUID} >>{SUBGID}")
    as_user(vm, f"podman import -q /var/lib/lab/busybox.tar {IMAGE}")
    in_container(vm, FILL, "--name kept")
    story["listed"] = in_container(vm, LIST)
    assert "5 6 4755 regular file" in story["listed"]
    drift = deploy(vm, "drift.py")
    assert drift.states()["rootless.ranges"] == "fail", drift.out + drift.err
    assert drift.states()["userns.ranges"] == "fail"


def test_the_plan_says_how_much_of_whose_is_to_be_shifted(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"loginctl terminate-user {USER} || :; timeout 60 sh -c 'while pgrep -u {USER}; do sleep 1; done'")
    story["disk"] = on_disk(vm)
    first = int(story["row"].split(":")[1])
    owners = [list(map(int, line.split()[:2])) for line in story["disk"].splitlines() if line[0].isdigit()]
    many = sum(any(first <= number < first + 65536 for number in pair) for pair in owners)
    harden = deploy(vm, "harden.py")
    assert f"To be shifted: {many} files (" in said(harden)
    assert STORE in said(harden)
    assert "accept=userns-shift" in said(harden)
    assert (rows(vm), on_disk(vm)) == ({story["row"]}, story["disk"])


def test_nothing_is_shifted_while_the_user_is_there(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"systemd-run -q --unit stays -p User={USER} sleep 1000")
    harden = deploy(vm, "harden.py", accept="userns-shift")
    assert f"1 processes run as {USER} or with these ids" in said(harden)
    assert (rows(vm), on_disk(vm)) == ({story["row"]}, story["disk"])
    vm.ssh("systemctl stop stays")


def test_accepted_the_files_have_the_new_ids_and_containers_find_them(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py", accept="userns-shift")
    story["run"] = harden.report["run"]["id"]
    assert harden.states()["rootless.ranges"] == "pass", harden.out + harden.err
    assert harden.states()["userns.ranges"] == "pass"
    assert rows(vm) == {f"{USER}:{START}:65536"}
    story["shifted"] = on_disk(vm)
    first = int(story["row"].split(":")[1])
    assert not any(first <= int(number) < first + 65536 for line in story["shifted"].splitlines()
                   for number in line.split()[:2] if number.isdigit())  # fmt: skip
    assert in_container(vm, LIST) == story["listed"]
    assert in_container(vm, "cat /proc/self/uid_map").split()[4] == str(START)
    as_user(vm, "podman start -a kept")


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    assert deploy(vm, "harden.py", accept="userns-shift").host()["changes"] == []


def test_a_rollback_shifts_back_once_that_is_accepted(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"loginctl terminate-user {USER} || :; timeout 60 sh -c 'while pgrep -u {USER}; do sleep 1; done'")
    back = deploy(vm, "rollback.py", "--data", f"run={story['run']}")
    assert "would get its old ids back" in said(back)
    assert rows(vm) == {f"{USER}:{START}:65536"}
    back = deploy(vm, "rollback.py", "--data", f"run={story['run']}", accept="userns-shift")
    assert back.host()["status"] == "ok", back.out + back.err
    assert rows(vm) == {story["row"]}
    assert in_container(vm, LIST) == story["listed"]
