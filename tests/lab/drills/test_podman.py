"""Root's Podman: what it gives new containers is declared, put in force, proved from within a container, watched key by
key, and rolled back, while containers that run go on, and what they have stored stays.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facts.engines.podman.podman import DROP_IN, HOOK, PROFILE, PROGRAM, SOCKET
from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
IMAGE = "lab/busybox:1"
MEMORY = 64 << 20
POLICY = f"""\
lsm: {{module: apparmor}}
apparmor: {{enabled: true}}
podman: {{user_namespace: auto, capabilities: [CHOWN, KILL, SETGID, SETUID], seccomp: hullproof, confined: true,
  no_new_privileges: true, private: true, pids: 50, memory: {MEMORY}, log_driver: journald, keyring: true,
  read_only: true, api: none}}
"""
# What is done to the host, the control that names it, and a word of the reason.
BREAKS = {
    "user-namespace": ("sed -i '/^userns/d' {drop_in}", "no file sets it"),
    "capabilities": ("sed -i 's/\"KILL\"/\"KILL\", \"SYS_ADMIN\"/' {drop_in}", "SYS_ADMIN"),
    "seccomp": ("printf '[containers]\\nseccomp_profile = \"unconfined\"\\n' >{later}", "unconfined (/etc"),
    "confined": ("printf '[containers]\\nlabel = false\\n' >{later}", "label is false"),
    "private": ("printf '[containers]\\nprivileged = true\\nipcns = \"host\"\\n' >{later}", "privileged is true"),
    "pids": ("sed -i 's/pids_limit = .*/pids_limit = 0/' {drop_in}", "pids_limit is 0"),
    "memory": ("sed -i 's/memory.max=[0-9]*/memory.max=max/' {drop_in}", "max bytes"),
    "log-driver": ("sed -i '/log_driver/d' {drop_in}", "no file sets log_driver"),
    "keyring": ("printf '[containers]\\nkeyring = false\\n' >{later}", "keyring is false"),
    "read-only": ("sed -i 's/read_only = true/read_only = false/' {drop_in}", "read_only is false"),
    "no-new-privileges": ("rm {program}", "is not there"),
    "api": ("systemctl start podman.socket", "podman.socket listens"),
    "settings": ("echo userns >>/etc/containers/containers.conf", "/etc/containers/containers.conf: not TOML"),
}  # fmt: skip
ETC = "/etc/containers/containers.conf"
WEAK = r'[containers]\nseccomp_profile = "unconfined"\napparmor_profile = "unconfined"\nlabel = false\n'
LATER = "/etc/containers/containers.conf.d/zzz-later.conf"
MEND = f"rm -f {LATER} /etc/containers/containers.conf; cp -p /root/kept.conf {DROP_IN}; cp -p /root/kept.sh {PROGRAM}"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian12", "debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str, accept: str = "", policy: str = POLICY) -> Result:
    path: Path = vm.folder / "podman.yml"
    path.write_text(policy)
    return run(vm, name, "--data", f"policy={path}", "--data", f"accept={accept}", *options)


def container(vm: Vm, command: str, options: str = "") -> str:
    """What a new container says, and after that the status with which it ended."""
    done = vm.ssh(f"podman run --rm {options} {IMAGE} sh -c '{command}' 2>&1; echo status $?", timeout=300)
    return done.stdout


def works(vm: Vm) -> set[str]:
    """Which attacks work that Podman can stop: 4.3 passes over the limit of memory, and says nothing."""
    beyond = set() if reads_cgroup_conf(vm) else {"takes 200 MB"}
    return {what for what, done in attacks(vm).items() if done} - beyond


def left(vm: Vm, result: Result) -> dict[str, str]:
    """What of Podman's does not hold; of 4.3 the limit of memory never does, and says why."""
    rows = {name: why for name, why in result.not_holding().items() if name.startswith("podman.")}
    assert reads_cgroup_conf(vm) or "does not read cgroup_conf" in rows.pop("podman.memory")
    return rows


def attacks(vm: Vm) -> dict[str, bool]:
    """What a container that was started without a word can do."""
    status = container(vm, "cat /proc/self/status")
    words = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {
        "reads a file of root's": "secret" in container(vm, "cat /s", "-v /root/secret:/s:ro"),
        "may gain privileges": words["NoNewPrivs"].strip() == "0",
        "holds other capabilities": int(words["CapBnd"], 16) & 1 << 18 != 0,  # SYS_CHROOT
        "forks 100 times": "can't fork" not in container(vm, "for n in $(seq 100); do sleep 9 & done"),
        "takes 200 MB": "209715200" in container(vm, "head -c 200m /dev/zero | tail -c 200m | wc -c"),
        "writes to its root": "status 0" in container(vm, "echo x >/new"),
        # Podman's own profile lets the call through, and the kernel says that there is no such folder.
        "calls mount": "No such file" in container(vm, "mount -t tmpfs none /nowhere"),
    }


def reads_cgroup_conf(vm: Vm) -> bool:
    return "version 4.3" not in vm.ssh("podman --version").stdout


def test_before_a_container_can_do_all_of_it(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends podman crun apparmor 2>&1", timeout=900)
    vm.ssh(f"podman import -q /var/lib/lab/busybox.tar {IMAGE}; echo secret >/root/secret; chmod 600 /root/secret")
    vm.ssh(f"podman run -d --name old -v data:/data {IMAGE} sh -c 'echo kept >/data/file; sleep 1000000'", timeout=300)
    assert all(attacks(vm).values()), attacks(vm)


def test_what_waits_for_a_consequence_says_so(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py")
    story["runs"] = [harden.report["run"]["id"]]
    assert harden.states()["podman.user-namespace"] == "fail"
    assert "podman-userns" in harden.out
    assert "data" in harden.out


def test_after_it_can_do_none_and_what_ran_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py", accept="podman-userns,podman-api")
    story["runs"].append(harden.report["run"]["id"])
    assert left(vm, harden) == {}, harden.out
    assert works(vm) == set()
    assert "kept" in vm.ssh("podman exec old cat /data/file").stdout
    assert "status 0" in container(vm, "true", "--memory 128m --pids-limit 200 --userns host")
    vm.ssh(f"cp -p {DROP_IN} /root/kept.conf; cp -p {PROGRAM} /root/kept.sh")


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    again = deploy(vm, "harden.py", accept="podman-userns,podman-api")
    assert again.host()["changes"] == [], again.out


def nobody_reaches_the_api(vm: Vm) -> bool:
    script = f'print IO::Socket::UNIX->new("{SOCKET}") ? "in" : "out: $!"'
    said = vm.ssh(f"setpriv --reuid=65534 --regid=65534 --clear-groups perl -MIO::Socket::UNIX -e '{script}'").stdout
    assert said in ("in", "out: Permission denied")
    return said != "in"


def test_an_open_socket_is_given_to_root_alone_and_a_rollback_opens_it_again(vm: Vm) -> None:
    opened = "/etc/systemd/system/podman.socket.d/10-open.conf"
    again = "systemctl daemon-reload; systemctl stop podman.service podman.socket"
    vm.ssh(f"mkdir -p {Path(opened).parent}; printf '[Socket]\\nSocketMode=0666\\n' >{opened}; {again}")
    vm.ssh("systemctl start podman.socket; podman --remote ps")
    assert not nobody_reaches_the_api(vm)
    roots = POLICY.replace("api: none", "api: root")
    waits = deploy(vm, "harden.py", accept="podman-userns", policy=roots)
    assert "0666 root:root" in waits.reason("podman.api")
    assert "podman-api" in waits.out
    assert not nobody_reaches_the_api(vm)
    harden = deploy(vm, "harden.py", accept="podman-userns,podman-api", policy=roots)
    assert harden.states()["podman.api"] == "pass", harden.out
    assert nobody_reaches_the_api(vm)
    vm.ssh("podman --remote ps")
    back = run(vm, "rollback.py", "--data", f"run={harden.report['run']['id']}")
    assert back.host()["status"] == "ok", back.out + back.err
    assert not nobody_reaches_the_api(vm)
    vm.ssh(f"rm {opened}; {again}")


def reaches(vm: Vm) -> bool:
    """Whether a container on one network gets an answer of a server on another, which is started for it."""
    vm.ssh(f"podman rm -f -t 0 server; podman run -d --name server --network db {IMAGE} httpd -f -p 8080", timeout=300)
    address = '{{(index .NetworkSettings.Networks "db").IPAddress}}'
    to = vm.ssh(f"podman inspect -f '{address}' server").stdout.strip()
    # Not wget: Debian 12's static busybox ends in a segmentation fault there.
    said = container(vm, f'echo "GET / HTTP/1.0" | nc -w 5 {to} 8080', "--network web")
    assert "404" in said or "status 1" in said.splitlines(), said
    return "404" in said


def test_networks_that_the_policy_names_keep_apart_once_their_containers_start(vm: Vm) -> None:
    """The host's FORWARD policy, which is Docker's, would keep them apart anyway."""
    forward = vm.ssh("iptables -S FORWARD | head -n 1").stdout.strip()
    create = "podman network create --disable-dns"
    vm.ssh(f"iptables -P FORWARD ACCEPT; {create} web; {create} db")
    assert reaches(vm)
    apart = POLICY.replace("api: none", "api: none, isolate: [web, db]")
    drift = deploy(vm, "drift.py", policy=apart)
    if not vm.ssh("podman info -f '{{.Host.NetworkBackend}}'").stdout.startswith("netavark"):
        assert drift.states()["podman.networks"] == "unknown", "Debian 12 may have CNI in its place"
        vm.ssh(f"podman rm -f -t 0 server; podman network rm web db; iptables {forward}", timeout=300)
        return
    assert "db (isolate is not set), web (isolate is not set)" in drift.reason("podman.networks")
    harden = deploy(vm, "harden.py", accept="podman-userns,podman-api", policy=apart)
    assert harden.states()["podman.networks"] == "pass", harden.out
    assert "once a container on it starts" in str(harden.host()["changes"])
    assert not reaches(vm)
    vm.ssh("podman rm -f -t 0 server")  # with the last container of a network its rules go
    back = run(vm, "rollback.py", "--data", f"run={harden.report['run']['id']}")
    assert back.host()["status"] == "ok", back.out + back.err
    assert "isolate" not in vm.ssh("cat /etc/containers/networks/web.json /etc/containers/networks/db.json").stdout
    assert reaches(vm)
    vm.ssh(f"podman rm -f -t 0 server; podman network rm web db; iptables {forward}", timeout=300)


def confinement(vm: Vm) -> str:
    return container(vm, "cat /proc/self/attr/current; grep Seccomp: /proc/self/status")


def test_harden_confines_again_what_a_file_before_its_own_frees(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"cp -p {DROP_IN} /root/first.conf; sed -i '/_profile/d' {DROP_IN}; printf '{WEAK}' >{ETC}")
    assert "unconfined" in confinement(vm)
    assert "Seccomp:\t0" in confinement(vm)
    drift = deploy(vm, "drift.py")
    assert {drift.states()[f"podman.{name}"] for name in ("seccomp", "confined")} == {"fail"}, drift.out
    again = deploy(vm, "harden.py", accept="podman-userns,podman-api")
    story["confining"] = again.report["run"]["id"]
    story["runs"].append(story["confining"])
    assert left(vm, again) == {}, again.out
    assert "containers-default-hullproof" in confinement(vm)
    assert "Seccomp:\t2" in confinement(vm)
    assert works(vm) == set()
    vm.ssh(f"cp -p {DROP_IN} /root/kept.conf")


@pytest.mark.parametrize("control", BREAKS)
def test_what_is_broken_is_named(vm: Vm, control: str) -> None:
    script, word = BREAKS[control]
    word = word if control != "memory" or reads_cgroup_conf(vm) else "does not read cgroup_conf"
    vm.ssh(script.format(drop_in=DROP_IN, later=LATER, program=PROGRAM))
    drift = deploy(vm, "drift.py")
    assert drift.states()[f"podman.{control}"] == "fail", drift.out
    assert word in drift.reason(f"podman.{control}")
    vm.ssh(f"{MEND}; systemctl stop podman.socket")


def test_harden_puts_a_changed_key_right_and_says_what_it_cannot(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"sed -i 's/pids_limit = .*/pids_limit = 0/; /^userns/d' {DROP_IN}; rm {PROGRAM}")
    vm.ssh(f"printf '[containers]\\nkeyring = false\\n' >{LATER}")
    again = deploy(vm, "harden.py", accept="podman-userns,podman-api")
    story["runs"].append(again.report["run"]["id"])
    assert list(left(vm, again)) == ["podman.keyring"], again.out
    assert LATER in again.out
    vm.ssh(f"rm {LATER}")
    assert works(vm) == set()


def test_a_rollback_gives_containers_what_they_got_before(vm: Vm, story: dict[str, Any]) -> None:
    vm.ssh(f"podman run -d --name new -v data2:/data {IMAGE} sleep 1000000", timeout=300)
    for each in reversed(story["runs"]):
        back = run(vm, "rollback.py", "--data", f"run={each}")
        if each == story["runs"][1]:  # which gave the ids that `new` has
            assert "may own ids of that range" in str(back.host()["error"]), back.out + back.err
        else:
            assert back.host()["status"] == "ok", back.out + back.err
        if each == story["runs"][-1]:  # what somebody else had changed before it is back: put right by hand
            vm.ssh(f"{MEND}")
        if each == story["confining"]:
            vm.ssh(f"cp -p /root/first.conf {DROP_IN}")
    assert vm.ssh(f"ls {DROP_IN} {HOOK} {PROGRAM} {PROFILE} 2>/dev/null", check=False).stdout == ""
    assert all(attacks(vm).values()), attacks(vm)
    assert vm.ssh("podman ps --format '{{.Names}}' | sort").stdout.split() == ["new", "old"]
    assert "kept" in vm.ssh("podman exec old cat /data/file").stdout


def test_the_range_goes_once_nothing_can_own_its_ids(vm: Vm, story: dict[str, Any]) -> None:
    assert "containers:" in vm.ssh("cat /etc/subuid /etc/subgid").stdout
    vm.ssh("podman rm -f -t 0 old new; podman volume rm data data2", timeout=300)
    back = run(vm, "rollback.py", "--data", f"run={story['runs'][1]}")
    assert back.host()["status"] == "ok", back.out + back.err
    assert "containers:" not in vm.ssh("cat /etc/subuid /etc/subgid").stdout
