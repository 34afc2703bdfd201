"""Drills on what `apt install docker.io` gives: whatever happens midway, the host boots, runs Docker and converges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import executions, fingerprint, finish, run, start

VARIANT = "stock"
# A few changes of every kind: where a run is cut off matters here, not how long it is.
SHORT = ("--data", "policy=tests/lab/short.yml")
JOURNAL = "/var/lib/hullproof/journal"

pytestmark = pytest.mark.lab

# Where a run is cut off: what the host shows when it has come that far.
FIRST_ENTRY = f"ls {JOURNAL}/*/0001/entry.json"
POINTS = {
    "at the first change": FIRST_ENTRY,
    "with daemon.json written": "grep -q live-restore /etc/docker/daemon.json",
    "while docker restarts": "! systemctl -q is-active docker",
}


def wait_for(vm: Vm, sign: str, seconds: int = 400) -> None:
    """The host itself looks: a connection for each look would keep it from its work."""
    look = f"timeout {seconds} sh -c 'until {sign} >/dev/null 2>&1; do sleep 0.2; done'"
    assert vm.ssh(look, check=False, timeout=seconds + 60).returncode == 0, f"never seen: {sign}"


def settle(vm: Vm) -> None:
    """What was begun on the host goes on without its controller: wait until the lock on changes is free."""
    vm.ssh("flock -w 300 /var/lib/hullproof/journal/lock true", timeout=320)


def settings(vm: Vm) -> str:
    """What a run writes and an undo must take back, wherever the run was cut off."""
    return vm.ssh(
        "cat /etc/docker/daemon.json 2>&1; ls -R /etc/sysctl.d /etc/modules-load.d /etc/default/grub.d /etc/apparmor.d"
        " /etc/systemd/system /etc/hullproof 2>&1; sysctl kernel.dmesg_restrict kernel.yama.ptrace_scope;"
        "docker info -f '{{.SecurityOptions}} {{.LiveRestoreEnabled}}'"
    ).stdout


def assert_docker_up(vm: Vm) -> None:
    assert vm.ssh("timeout 120 sh -c 'until docker info; do sleep 2; done'", check=False, timeout=150).returncode == 0


def undo(vm: Vm, *options: str) -> None:
    undone = run(vm, "rollback.py", *options)
    assert undone.host()["status"] == "ok", undone.out + undone.err


def assert_undone(vm: Vm, before: str) -> None:
    """What was begun can be taken back as a whole run can."""
    undo(vm)
    assert settings(vm) == before


def assert_converges(vm: Vm) -> None:
    again = run(vm, "harden.py", *SHORT)
    assert again.code == 0, again.out + again.err


def kill_at(vm: Vm, point: str) -> None:
    """Begin to harden, and kill -9 the controller when the host has come to `point`."""
    process, _ = start(vm.inventory(), "harden.py", *SHORT)
    wait_for(vm, point)
    process.kill()
    process.wait()


@pytest.mark.on("debian13")
def test_a_controller_killed_midway(fresh: Vm) -> None:
    before = settings(fresh)
    for point in POINTS.values():
        kill_at(fresh, point)
        settle(fresh)
        assert_docker_up(fresh)
        assert_undone(fresh, before)
    assert_converges(fresh)


@pytest.mark.on("debian12")
def test_power_lost_midway(fresh: Vm) -> None:
    before = settings(fresh)
    for point in POINTS.values():
        kill_at(fresh, point)
        fresh.power_cut()
        fresh.boot()
        assert_docker_up(fresh)
        assert_undone(fresh, before)
    assert_converges(fresh)


def make(vm: Vm, script: str) -> str:
    """Make of daemon.json what `script` says; what a listing shows of it."""
    vm.ssh(f"rm -rf /etc/docker/daemon.json; mkdir -p /etc/docker; cd /etc/docker; {script}")
    return look(vm)


def look(vm: Vm) -> str:
    return vm.ssh("cd /etc/docker && ls -ld daemon.json && (cat daemon.json || ls daemon.json)").stdout


@pytest.mark.on("debian12")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("printf '{\\n  \"icc\": tru\\n}\\n' >daemon.json", "line 2"),
        ("printf '[1]\\n' >daemon.json", "object"),
        ("mkdir daemon.json", "directory"),
    ],
    ids=["not JSON", "not an object", "a directory"],
)
def test_a_daemon_json_that_cannot_be_used_is_told_and_left_alone(vm: Vm, script: str, words: str) -> None:
    there = make(vm, script)
    dry = run(vm, "harden.py", *SHORT, "--dry", yes=False)
    assert words in dry.out, dry.out
    assert look(vm) == there


@pytest.mark.on("debian13")
def test_a_connection_lost_midway_on_a_host_whose_daemon_json_is_a_link_to_an_empty_file(fresh: Vm) -> None:
    """The next run goes on with what stands there; then the runs are undone one by one."""
    make(fresh, "mkdir -p /srv && printf ' \\n' >/srv/shared.json && ln -s /srv/shared.json daemon.json")
    before = settings(fresh)
    running = start(fresh.inventory(), "harden.py", *SHORT)
    wait_for(fresh, FIRST_ENTRY)
    fresh.ssh("systemd-run --on-active=1 pkill -f 'sshd.*@notty'", check=False)
    assert finish(*running).code == 1
    settle(fresh)
    assert_docker_up(fresh)
    assert_converges(fresh)
    assert fresh.ssh("readlink /etc/docker/daemon.json").stdout.strip() == "/srv/shared.json"
    assert json.loads(fresh.ssh("cat /srv/shared.json").stdout)["live-restore"] is True
    for made in fresh.ssh(f"ls -r {JOURNAL} | grep '^2'").stdout.split():
        undo(fresh, "--data", f"run={made}")
    assert settings(fresh) == before
    assert fresh.ssh("cat /srv/shared.json").stdout == " \n"


@pytest.mark.on("debian13")
def test_a_daemon_that_does_not_come_back_is_put_back_as_it_was(fresh: Vm) -> None:
    """Somebody's drop-in gives as a flag what we put into daemon.json once the survey has been made."""
    unit = "/etc/systemd/system/docker.service.d/flag.conf"
    fresh.ssh(
        f"mkdir -p $(dirname {unit}) && printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q live-restore"
        f" /etc/docker/daemon.json\"\\n' >{unit} && systemctl daemon-reload"
    )
    before = settings(fresh)
    harden = run(fresh, "harden.py", *SHORT)
    assert harden.code == 1
    assert "put back" in str(harden.host()["error"]), harden.host()["error"]
    assert_docker_up(fresh)
    assert settings(fresh).splitlines()[0] == before.splitlines()[0]
    assert_undone(fresh, before)


@pytest.mark.on("debian12")
def test_a_full_disk_leaves_nothing_half_written(fresh: Vm) -> None:
    before = settings(fresh)
    fresh.ssh(
        "fallocate -l $(($(df --output=avail -B1 / | tail -n 1))) /var/tmp/full; dd if=/dev/zero of=/var/tmp/rest || :"
    )
    untouched = fingerprint(fresh)
    harden = run(fresh, "harden.py", *SHORT)
    assert harden.code == 1
    assert "No space left" in str(harden.host()["error"]), harden.host()["error"]
    now = fingerprint(fresh)
    assert [line for line in now if "hullproof-new" in line and line not in untouched] == []
    assert fresh.ssh("docker info >/dev/null && echo up").stdout.strip() == "up"
    fresh.ssh("rm /var/tmp/full /var/tmp/rest")
    assert run(fresh, "harden.py", *SHORT).code == 0
    assert_undone(fresh, before)


@pytest.mark.on("debian13")
def test_without_sudo_nothing_is_claimed_and_nothing_is_changed(vm: Vm) -> None:
    plain = vm.inventory("nobodyops")
    text = Path(plain).read_text().replace('"_sudo": True', '"_sudo": False').replace("'_sudo': True", "'_sudo': False")
    Path(plain).write_text(text)
    drift = finish(*start(plain, "drift.py"))
    assert drift.code == 2, drift.out + drift.err
    states = drift.states()
    assert states["apparmor.docker-profile"] == "unknown"
    untouched = fingerprint(vm)
    harden = finish(*start(plain, "harden.py"))
    assert harden.code == 1
    assert "not root" in str(harden.host()["error"])
    assert fingerprint(vm) == untouched


@pytest.mark.on("debian13")
def test_a_noisy_host_cannot_reach_the_terminal_or_the_report(fresh: Vm) -> None:
    noise = "cat /var/tmp/noise; printf '\\033[2J\\033]0;0wned\\007<script>alert(1)</script>'"
    fresh.ssh(
        "head -c 50000000 /dev/urandom >/var/tmp/noise;"
        f"printf '#!/bin/sh\\n%s\\n' {json.dumps(noise)} >/usr/local/bin/docker && chmod 755 /usr/local/bin/docker"
    )
    drift = run(fresh, "drift.py")
    assert drift.code == 2
    states = drift.states()
    assert "unknown" in {state for control, state in states.items() if control.startswith("docker.")}
    # What is wanted of the kernel for containers depends on Docker; the rest does not.
    assert not {
        c for c, state in states.items() if state == "unknown" and c.startswith(("kernel.sysctl.", "kernel.boot."))
    }
    for text in (drift.out, drift.err.replace("\x1b[", "", 0), json.dumps(drift.report, ensure_ascii=False)):
        assert "\x1b" not in text
        assert "0wned" not in text


@pytest.mark.on("debian13")
def test_what_a_sudo_password_adds(vm: Vm) -> None:
    """pyinfra asks sudo whether it wants the password, and puts an askpass program on the host and takes it away."""
    password = ("--data", "_sudo_password=lab-only")
    started = executions(vm)
    drift = run(vm, "drift.py", *SHORT, *password, user="opspw")
    assert drift.code == 2, drift.out + drift.err
    assert executions(vm) - started == 4, "drift, what the password adds, and one for asking"
