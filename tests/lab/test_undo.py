"""A rollback loses nothing: what others wrote since stays, and what runs goes on. Nobody but root can be in its way."""

from __future__ import annotations

import json

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
SHORT = ("--data", "policy=tests/lab/short.yml")
JOURNAL = "/var/lib/hullproof/journal"
KEEP = "docker run -d --stop-timeout 1"
UNIT = "/etc/systemd/system/docker.service.d/meddle.conf"

pytestmark = [pytest.mark.lab, pytest.mark.on("debian13")]


def containers(vm: Vm) -> dict[str, str]:
    """The running containers and the process of each."""
    said = vm.ssh("docker ps -q | xargs -r docker inspect -f '{{.Name}} {{.State.Pid}}'").stdout
    return dict(line.strip("/").split() for line in said.splitlines())


def start(vm: Vm) -> dict[str, str]:
    vm.ssh(f"{KEEP} --name web lab/busybox:1 sleep 1000000; {KEEP} --rm --name job lab/busybox:1 sleep 1000000",
           timeout=240)  # fmt: skip
    made = containers(vm)
    assert set(made) == {"web", "job"}
    return made


def live_restore(vm: Vm) -> str:
    return vm.ssh("docker info -f '{{.LiveRestoreEnabled}}'").stdout.strip()


def ended(result: Result) -> str:
    return f"{result.code} {result.host()['error']}\n{result.out[-3000:]}{result.err[-2000:]}"


def test_who_makes_a_folder_in_run_lock_blocks_no_run_and_a_rollback_stops_no_container(fresh: Vm) -> None:
    fresh.ssh("su nobodyops -s /bin/sh -c 'mkdir /run/lock/hullproof'")
    before = fresh.ssh("cat /etc/docker/daemon.json 2>&1", check=False).stdout
    running = start(fresh)
    harden = run(fresh, "harden.py", *SHORT)
    assert harden.host()["status"] == "ok", ended(harden)
    assert live_restore(fresh) == "true"

    shown = run(fresh, "rollback.py", *SHORT, "--dry", yes=False)
    assert "running containers keep running (live-restore, which is removed last): job, web" in shown.out, shown.out
    undone = run(fresh, "rollback.py", *SHORT)
    assert undone.host()["status"] == "ok", ended(undone)
    assert containers(fresh) == running, "the same processes run on"
    assert live_restore(fresh) == "false"
    assert fresh.ssh("cat /etc/docker/daemon.json 2>&1", check=False).stdout == before
    assert JOURNAL in undone.out + undone.err
    left = fresh.ssh("find / /run/lock -xdev -name '*hullproof*'; ls /var/lib/hullproof").stdout.split()
    assert sorted(left) == ["/run/lock/hullproof", "/var/lib/hullproof", "journal"]


def test_what_a_failed_step_puts_back_stops_no_container_and_is_not_reported(fresh: Vm) -> None:
    running = start(fresh)
    fresh.ssh(
        f"mkdir -p $(dirname {UNIT}) && printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q no-new-privileges"
        f" /etc/docker/daemon.json\"\\n' >{UNIT} && systemctl daemon-reload"
    )
    before = fresh.ssh("cat /etc/docker/daemon.json 2>&1", check=False).stdout
    harden = run(fresh, "harden.py", *SHORT)
    assert "put back" in str(harden.host()["error"]), ended(harden)
    assert containers(fresh) == running, "the plan said that they keep running"
    assert live_restore(fresh) == "false"
    assert fresh.ssh("cat /etc/docker/daemon.json 2>&1", check=False).stdout == before
    assert [
        c["what"] for c in harden.host()["changes"] if "daemon.json" in str(c) or "restart docker" in c["what"]
    ] == []

    restarts = fresh.ssh("systemctl show -p ExecMainStartTimestampMonotonic docker.service").stdout
    undone = run(fresh, "rollback.py", *SHORT)
    assert undone.host()["status"] == "ok", ended(undone)
    assert fresh.ssh("systemctl show -p ExecMainStartTimestampMonotonic docker.service").stdout == restarts


def test_what_others_wrote_since_stays_and_a_later_run_goes_first(fresh: Vm) -> None:
    first = run(fresh, "harden.py", *SHORT)
    fresh.ssh('sed -i \'s/{/{ "labels": ["rack=7"],/\' /etc/docker/daemon.json; systemctl restart docker')
    fresh.ssh('sed -i \'/no-new-privileges/d; s/"live-restore": true,/"live-restore": true/\' /etc/docker/daemon.json')
    second = run(fresh, "harden.py", *SHORT)
    assert second.host()["changes"], ended(second)
    refused = run(fresh, "rollback.py", *SHORT, "--data", f"run={first.report['run']['id']}")
    assert f"run {second.report['run']['id']}" in str(refused.host()["error"]), ended(refused)
    assert "/etc/docker/daemon.json" in str(refused.host()["error"])
    assert refused.host()["changes"] == []

    fresh.ssh("echo '# by an admin' >>/etc/sysctl.d/99-zzz-hullproof.conf")
    undone = run(fresh, "rollback.py", *SHORT)
    assert undone.host()["status"] == "ok", ended(undone)
    assert first.report["run"]["id"] in undone.out + undone.err, "the next one is named"
    kept = run(fresh, "rollback.py", *SHORT)
    assert "99-zzz-hullproof.conf was changed" in str(kept.host()["error"]), ended(kept)
    name = f"{first.report['run']['id']}/0001"
    assert f"skip={name}" in str(kept.host()["error"])
    last = run(fresh, "rollback.py", *SHORT, "--data", f"skip={name}")
    assert last.host()["status"] == "ok", ended(last)
    assert json.loads(fresh.ssh("cat /etc/docker/daemon.json").stdout) == {"labels": ["rack=7"]}
    assert "by an admin" in fresh.ssh("cat /etc/sysctl.d/99-zzz-hullproof.conf").stdout
