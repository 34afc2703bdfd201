"""Containers that users run without root, by Podman and by Docker, beside root's: each is listed under its engine, its
user and its name, and judged by the same rules; and what a user notes about other people's processes is not believed.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from facts.containers import Containers
from facts.core.frame import survey_script
from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "rootless"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]

USER, LIAR = "ops", "opspw"  # 1000 and 1001
IMAGE = "--change 'CMD [\"/bin/sh\"]' /var/lib/lab/busybox.tar lab/busybox:1"
KEEP = "-d lab/busybox:1 sleep 1000000000"
POLICY = """\
containers: {privileged: [], host_namespaces: [], joined_namespaces: [], host_ids: [], capabilities: [], unfiltered: [],
  new_privileges: [], unconfined: [], devices: [], mounts: [], unmasked: [], limits: [memory], unlisted: []}
"""
OF_ROOT = f"""\
echo containers:1000000:65536 | tee -a /etc/subuid >>/etc/subgid
podman import -q {IMAGE}
podman run --name web {KEEP}
podman run --name priv --privileged {KEEP}
podman run --name auto --userns auto {KEEP}
podman pod create --name duo --infra-name duo-infra && podman run --name inpod --pod duo {KEEP}
docker run --name web {KEEP}
"""
OF_USER = f"""\
podman run --name web {KEEP}
podman run --name priv --privileged {KEEP}
podman run --name etc --volume /etc:/host {KEEP}
podman run --name sockets --volume /run/user/1000:/run/host {KEEP}
podman run --name pids --pid host {KEEP}
podman run --name hostnet --network host {KEEP}
podman pod create --name duo --infra-name duo-infra && podman run --name inpod --pod duo {KEEP}
"""
DOCKER_OF_USER = "DOCKER_HOST=unix:///run/user/1000/docker.sock docker ps -q --no-trunc"
ROOTS = {"web", "podman:web", "podman:priv", "podman:inpod", "podman:duo-infra"}  # who run as the host's own users
USERS = {
    f"podman:{name} (user 1000)"
    for name in ("default", "web", "priv", "etc", "sockets", "pids", "hostnet", "inpod", "duo-infra")
}
PRIVILEGED = {"podman:priv", "podman:priv (user 1000)"}
# 1 is a process of the host, the second one a container of root's, the third one's ids are not the host's, the fourth
# one is another user's.
LIES = """\
at=/run/user/1001/containers/overlay-containers
note() { mkdir -p $at/$1/userdata && echo "$2" >$at/$1/userdata/pidfile; }
id() { printf "$1%.0s" $(seq 64); }
note $(id a) 1; note $(id b) ROOTS; note $(id c) AUTOS; note $(id d) USERS
mkdir -p $at/$(id e)/userdata && mkfifo $at/$(id e)/userdata/pidfile
"""
BOUND = 2  # seconds that the search for users' containers may take


def drift(vm: Vm) -> Result:
    path = vm.folder / "containers.yml"
    path.write_text(POLICY)
    return run(vm, "drift.py", "--data", f"policy={path}")


def found(result: Result) -> dict[str, Any]:
    """By control: what fails of which container, or else the state."""
    assert result.host()["status"] == "ok", result.out + result.err
    return {
        row["control"].removeprefix("containers."): row["live"] if row["state"] == "fail" else row["state"]
        for row in result.host()["findings"] if row["state"] != "not-applicable"
    }  # fmt: skip


def as_user(vm: Vm, script: str, user: str = USER) -> str:
    return vm.ssh(f"export XDG_RUNTIME_DIR=/run/user/$(id -u); set -e\n{script}", user=user, timeout=600).stdout


def seconds(vm: Vm) -> float:
    """How long the host takes to list its containers, and to say what they are held to."""
    script = survey_script([Containers])
    vm.ssh("cat >/root/containers.sh", input=script)
    took = vm.ssh("bash -c 'TIMEFORMAT=%R; time sh /root/containers.sh >/dev/null'").stderr
    return float(took.split()[-1])


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def test_containers_of_root_and_of_a_user_are_told_apart_and_judged_alike(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"set -e\n{OF_ROOT}", timeout=600)
    as_user(vm, OF_USER)
    story["docker"] = f"{as_user(vm, DOCKER_OF_USER).strip()[:12]} (user 1000)"
    users = USERS | {story["docker"]}
    story["before"] = live = found(drift(vm))
    everyone = ROOTS | users | {"podman:auto"}
    assert live["limits"].keys() == live["no-new-privileges"].keys() == live["confined"].keys() == everyone
    assert live["user-namespace"].keys() == ROOTS
    assert live["privileged"].keys() == {"podman:priv"}, "a user's is not root on the host"
    assert live["capabilities"].keys() == live["seccomp"].keys() == live["devices"].keys() == PRIVILEGED
    assert live["masks"].keys() == {"podman:priv"}, "the kernel itself refuses the others"
    assert live["host-namespaces"] == {
        "podman:pids (user 1000)": "shares the host's pid namespace",
        "podman:hostnet (user 1000)": "shares the host's net namespace",
    }
    assert live["joined-namespaces"] == "pass", "pods are no strangers"
    assert live["mounts"]["podman:etc (user 1000)"] == "has the host's /etc (writable) at /host"
    assert "where users' engines have their sockets" in live["mounts"]["podman:sockets (user 1000)"]
    assert not live["mounts"].keys() & (ROOTS | {"podman:auto", "podman:web (user 1000)", story["docker"]})
    assert live["unlisted"] == "pass"


ELSEWHERE = f"""\
set -e
mkdir -p /tmp/x && export XDG_RUNTIME_DIR=/tmp/x HOME=/home/{LIAR}
podman import -q {IMAGE}
podman --cgroup-manager cgroupfs run --name elsewhere {KEEP}
"""


def test_one_whose_files_lie_elsewhere_is_named_by_every_rule(vm: Vm) -> None:
    """As where cron has started it, or after su: Podman keeps its files below /tmp then."""
    mine = "podman:elsewhere (user 1001)"
    vm.ssh("cat >/tmp/elsewhere.sh", input=ELSEWHERE)
    service = f"-p KillMode=process -p Delegate=yes -p User={LIAR}"
    vm.ssh(f"systemd-run -q --wait --pipe {service} sh /tmp/elsewhere.sh", timeout=600)
    result = drift(vm)
    live = found(result)
    assert all(mine in live[name] for name in ("limits", "no-new-privileges", "confined")), live
    assert "; 1 containers could not be judged" in result.reason("containers.seccomp"), "its filter was not found"
    assert live["unlisted"] == "pass"
    vm.ssh(f"runuser -u {LIAR} -- env XDG_RUNTIME_DIR=/tmp/x HOME=/home/{LIAR} podman rm -f -t 0 elsewhere")


def test_what_has_stopped_is_gone(vm: Vm, story: dict[str, Any]) -> None:
    as_user(vm, "podman stop -t 0 hostnet etc && podman rm -f -t 0 sockets")
    gone = {f"podman:{name} (user 1000)" for name in ("hostnet", "etc", "sockets")}
    story["now"] = live = found(drift(vm))
    assert live["limits"].keys() == story["before"]["limits"].keys() - gone
    assert live["host-namespaces"].keys() == {"podman:pids (user 1000)"}
    assert live["unlisted"] == "pass"


def test_what_a_user_notes_of_others_costs_that_alone(vm: Vm, story: dict[str, Any]) -> None:
    ask = "podman inspect -f '{{.State.Pid}}'"
    roots, autos = (vm.ssh(f"{ask} {name}").stdout.strip() for name in ("priv", "auto"))
    users = as_user(vm, f"{ask} web").strip()
    as_user(vm, LIES.replace("ROOTS", roots).replace("AUTOS", autos).replace("USERS", users), LIAR)
    result = drift(vm)
    live = found(result)
    assert live == story["now"] | {"joined-namespaces": "unknown"}, "what fails still does, and nothing else"
    reason = result.reason("containers.joined-namespaces")
    assert set(re.findall(r"podman:(\w+) \(user 1001\): process (\d+), which", reason)) == {
        ("a" * 12, "1"), ("b" * 12, roots), ("c" * 12, autos), ("d" * 12, users)
    }  # fmt: skip
    vm.ssh("rm -r /run/user/1001/containers")


@pytest.mark.parametrize(
    "flood",
    [
        "mkdir /run/user/1001/flood && cd /run/user/1001/flood && seq 40000 | xargs touch",
        "mkdir -p /run/user/1001/containers/overlay-containers && cd /run/user/1001/containers/overlay-containers &&"
        ' perl -e \'for (1..9000) { $_ = sprintf "%064x", $_; mkdir; mkdir "$_/userdata";'
        ' open F, ">", "$_/userdata/pidfile"; print F 1; close F }\'',
    ],
    ids=["other files", "files of an engine's form"],
)
def test_a_flood_of_files_is_left_off_in_time_and_told(vm: Vm, story: dict[str, Any], flood: str) -> None:
    before = min(seconds(vm) for _ in range(3))
    as_user(vm, flood, LIAR)
    assert min(seconds(vm) for _ in range(3)) < before * 1.5 + BOUND
    result = drift(vm)
    live = found(result)
    roots = {name: rows for name, rows in live.items() if name in ("privileged", "masks", "user-namespace")}
    assert roots == {name: story["now"][name] for name in roots}, "root's are judged as before"
    assert live["joined-namespaces"] == live["unlisted"] == "unknown"
    assert "below /run/user could not be read in full" in result.reason("containers.unlisted")
    vm.ssh("rm -r /run/user/1001/flood /run/user/1001/containers 2>/dev/null || :")
