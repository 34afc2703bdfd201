"""Podman's own bridges, of which no policy knows the names: its containers are kept apart on those that are there, and
on those that come, and reach and are reached as before otherwise.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import assert_declared, engine, put_scripts
from tests.lab.machine.drive import Result, run

VARIANT = "stock"
POLICY = "bridges: {isolated_engines: [podman], guarded_engines: {podman: []}, metadata: closed}\n"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story, pytest.mark.on("debian13")]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def deploy(vm: Vm, name: str, *options: str) -> Result:
    path: Path = vm.folder / "podman.yml"
    path.write_text(POLICY)
    accept = "accept=network-isolation,host-services,metadata"
    return run(vm, name, "--data", f"policy={path}", "--data", accept, *options)


def siblings(vm: Vm, network: str) -> bool:
    """Whether one of two new containers on a network is answered by the other."""
    start = f"podman run -d --network {network} lab/busybox:1 httpd -f -p 80"
    ids = vm.ssh(f"{start} && {start}", timeout=300).stdout.split()
    where = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    to = vm.ssh(f"podman inspect -f '{where}' {ids[1]}").stdout.strip()
    answered = vm.ssh(f"podman exec {ids[0]} nc -w 5 {to} 80 </dev/null", check=False, timeout=120).returncode == 0
    vm.ssh(f"podman rm -f -t 0 {' '.join(ids)}", timeout=300)
    return answered


def services(vm: Vm) -> set[str]:
    """What a container reaches of the host: sshd, and what stands for the engine's own answers for names."""
    name = vm.ssh("podman run -d lab/busybox:1 httpd -f -p 80", timeout=300).stdout.strip()
    host = vm.ssh(f"podman inspect -f '{{{{.NetworkSettings.Gateway}}}}' {name}").stdout.strip()
    vm.ssh(f"perl /root/bridges.pl serve {host} 53 tcp >/dev/null 2>&1 & echo $! >/tmp/lab-names; sleep 1")
    asked = {"sshd": 22, "names": 53}
    reach = f"podman exec {name} nc -w 5 {host}"
    found = {what for what, port in asked.items()
             if vm.ssh(f"{reach} {port} </dev/null", check=False, timeout=120).returncode == 0}  # fmt: skip
    vm.ssh(f"kill $(cat /tmp/lab-names); podman rm -f -t 0 {name}", timeout=300)
    return found


def test_before_podmans_containers_reach_each_other(vm: Vm) -> None:
    vm.ssh("apt-get -qq install --no-install-recommends podman 2>&1", timeout=900)
    vm.ssh("docker save lab/busybox:1 | podman load", timeout=600)
    # Beside Docker nothing of Podman's is forwarded: Docker's FORWARD drops what netavark's own table accepts.
    vm.ssh("systemctl disable -q --now docker.socket docker containerd && iptables -P FORWARD ACCEPT", timeout=300)
    put_scripts(vm)
    assert siblings(vm, "podman")
    assert engine(vm, "podman", "podman") == {"published", "outbound", "metadata"}
    assert services(vm) == {"sshd", "names"}


def test_after_they_do_not_and_all_else_goes_on(vm: Vm, story: dict[str, Any]) -> None:
    harden = deploy(vm, "harden.py")
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    story["run"] = harden.report["run"]["id"]
    assert not siblings(vm, "podman")
    assert engine(vm, "podman", "podman") == {"published", "outbound"}
    assert services(vm) == {"names"}


def test_nor_on_a_network_made_later(vm: Vm) -> None:
    vm.ssh("podman network create --disable-dns later")
    assert not siblings(vm, "later")
    assert engine(vm, "later", "podman") == {"published", "outbound"}
    assert_declared(deploy(vm, "drift.py"))


def test_nor_after_a_reboot(vm: Vm) -> None:
    vm.reboot()
    assert not siblings(vm, "later")
    again = deploy(vm, "harden.py")
    assert again.host()["changes"] == []
    assert_declared(again)


def test_undone_they_do_again(vm: Vm, story: dict[str, Any]) -> None:
    undone = deploy(vm, "rollback.py", "--data", f"run={story['run']}")
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert siblings(vm, "podman")
