"""A host that other people use: their keys, comments, networks, volumes and running containers survive.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.machine.drive import fingerprint, run

VARIANT = "owned"
ACCEPT = ("--data", "accept=userns-remap,container-restart")
MADE = ("CORP_SITE=berlin", "vm.max_map_count = 262144", "alice:165536:65536", "10.77.0.0/24", "ledger of corp")

RECORD = "files.own"  # the record of what was undone stays, and is judged

pytestmark = [pytest.mark.lab, pytest.mark.story, pytest.mark.on("debian12")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def containers(vm: Vm) -> dict[str, int]:
    """The running containers and the process of each."""
    names = vm.ssh("docker ps -q | xargs -r docker inspect -f '{{.Name}} {{.State.Pid}}'").stdout
    return {line.split()[0].strip("/"): int(line.split()[1]) for line in names.splitlines()}


def theirs(vm: Vm) -> str:
    """What other people made and we must not touch, whatever we do."""
    return vm.ssh(
        "cat /etc/systemd/system/docker.service.d/*.conf /etc/sysctl.d/*.conf; grep -E '^(alice|bob):' /etc/subuid;"
        "docker network inspect -f '{{.Name}} {{json .IPAM.Config}}' corp;"
        "cat /var/lib/docker/volumes/*/_data/* 2>/dev/null"
    ).stdout


def web_answers(vm: Vm) -> bool:
    fetch = "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(q(127.0.0.1:8080)) or exit 1'"
    return vm.ssh(f"for i in 1 2 3 4 5 6; do {fetch} && exit 0; sleep 2; done; exit 1", check=False).returncode == 0


def test_hardening_leaves_what_others_made_and_their_containers_running(vm: Vm, story: dict[str, Any]) -> None:
    story["json"] = vm.ssh("cat /etc/docker/daemon.json").stdout
    story["containers"], story["theirs"] = containers(vm), theirs(vm)
    for words in MADE:
        assert words in story["theirs"]
    story["before"] = run(vm, "drift.py")
    assert {"web", "db", "hostnet"} <= set(story["containers"])

    harden = run(vm, "harden.py")
    story["run"] = harden.report["run"]["id"]
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert containers(vm) == story["containers"], "the same processes run on"
    assert web_answers(vm)
    assert set(story["theirs"].splitlines()) <= set(theirs(vm).splitlines())
    old, new = json.loads(story["json"]), json.loads(vm.ssh("cat /etc/docker/daemon.json").stdout)
    assert {key: new[key] for key in old if key not in ("log-opts",)} == {
        k: v for k, v in old.items() if k != "log-opts"
    }
    assert [key for key in new if key in old] == list(old), "the order of their keys is kept"


def test_the_plan_says_what_the_remap_would_hide_and_does_nothing_until_that_is_accepted(vm: Vm) -> None:
    dry = run(vm, "harden.py", "--dry", yes=False)
    for words in ("userns-remap", "hostnet", "accept=userns-remap"):
        assert words in dry.out, dry.out
    assert "userns" not in vm.ssh("docker info -f '{{.SecurityOptions}}'").stdout


def test_a_second_run_changes_nothing(vm: Vm) -> None:
    untouched = fingerprint(vm)
    assert run(vm, "harden.py").host()["changes"] == []
    assert fingerprint(vm) == untouched


def test_the_accepted_remap_is_undone_with_containers_and_volumes_back(vm: Vm, story: dict[str, Any]) -> None:
    remapped = run(vm, "harden.py", *ACCEPT)
    assert remapped.host()["status"] == "ok", remapped.out + remapped.err
    assert "name=userns" in vm.ssh("docker info -f '{{.SecurityOptions}}'").stdout
    assert containers(vm) == {}
    assert remapped.states()["userns.docker-remap"] == "pass"

    undone = run(vm, "rollback.py")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert set(containers(vm)) == set(story["containers"])
    assert web_answers(vm)
    assert set(story["theirs"].splitlines()) <= set(theirs(vm).splitlines())


def test_undoing_the_first_run_too_leaves_every_file_as_it_was(vm: Vm, story: dict[str, Any]) -> None:
    undone = run(vm, "rollback.py", "--data", f"run={story['run']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert vm.ssh("cat /etc/docker/daemon.json").stdout == story["json"]
    assert theirs(vm) == story["theirs"]
    assert set(containers(vm)) == set(story["containers"])
    after = run(vm, "drift.py").states()
    moved = {
        c: (s, after[c])
        for c, s in story["before"].states().items()
        if after[c] != s and "boot" not in c and c != RECORD
    }
    assert moved == {}
