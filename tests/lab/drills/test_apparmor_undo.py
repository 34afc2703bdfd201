"""Our rules under Docker's own profile, taken back while a container runs under it: it is never unconfined."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Vm
from tests.lab.drills.test_apparmor_life import HOST_TOOLS, in_web, mode, web
from tests.lab.machine.drive import run

VARIANT = "stock"
POLICY = "apparmor: {enabled: true, containers: true, container_profile: default}\n"

pytestmark = [pytest.mark.lab, pytest.mark.drill]


def test_what_runs_stays_confined_from_dockers_own_to_ours_and_back(vm: Vm, tmp_path: Path) -> None:
    path = tmp_path / "ours.yml"
    path.write_text(POLICY)
    vm.ssh("apt-get -qq install apparmor 2>&1 && systemctl restart docker", timeout=600)
    vm.ssh(f"docker run -d --name web {HOST_TOOLS} lab/busybox:1 sleep 1000000", timeout=240)
    before = web(vm)
    assert before[1] == "docker-default (enforce)"
    assert in_web(vm)

    waiting = run(vm, "harden.py", "--data", f"policy={path}")
    assert in_web(vm), "what runs does not come under it unasked"
    assert "docker-default" in waiting.reason("apparmor.container-default")
    assert mode(vm, "hullproof-container") == "enforce"
    ours = run(vm, "harden.py", "--data", f"policy={path}", "--data", "accept=container-profile")
    assert ours.not_holding() == {}, ours.out + ours.err
    assert web(vm) == before
    assert not in_web(vm)

    for result in (ours, waiting):
        undone = run(vm, "rollback.py", "--data", f"run={result.report['run']['id']}")
        assert undone.host()["status"] == "ok", undone.out + undone.err
    assert web(vm) == before
    assert in_web(vm), "Docker's own again"
    assert mode(vm, "hullproof-container") == ""
    assert vm.ssh("find /etc/apparmor.d /etc/systemd -name '*hullproof*'").stdout == ""
