"""Declared bridges and VLANs on a real host, proved by packets: what passes before, and what passes after.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import (
    ACCEPT,
    USE,
    assert_all_pass,
    assert_apart,
    assert_declared,
    bridges,
    cut_when,
    engine,
    script,
    uncut,
    with_late,
)
from tests.lab.machine.drive import Result, executions, finish, run, start

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def test_before_everything_passes(vm: Vm) -> None:
    # Without AppArmor's parser Docker 20.10 starts no container.
    vm.ssh("apt-get install -qq --no-install-recommends apparmor >/dev/null && systemctl restart docker", timeout=600)
    assert_all_pass(vm)
    assert engine(vm) == {"published", "outbound", "metadata"}


def test_the_plan_waits_until_the_parting_is_accepted(vm: Vm) -> None:
    dry = run(vm, "harden.py", *USE, "--dry", yes=False)
    assert "netns t-a" in dry.out, dry.out + dry.err
    assert "accept=network-isolation" in dry.out
    assert vm.ssh("ls /etc/hullproof /var/lib/hullproof", check=False).stdout == ""


def test_after_only_what_is_allowed_passes(vm: Vm, story: dict[str, Any]) -> None:
    harden = run(vm, "harden.py", *USE, *ACCEPT)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    assert_declared(harden)
    story["run"] = harden.report["run"]["id"]
    assert_apart(script(vm, "try"))
    assert engine(vm) == {"published", "outbound"}


def test_the_same_after_a_reboot(vm: Vm) -> None:
    script(vm, "clear")
    vm.reboot()
    script(vm, "join")
    assert_apart(script(vm, "try"))
    assert engine(vm) == {"published", "outbound"}


def test_a_second_run_changes_nothing_and_executes_once(vm: Vm) -> None:
    started = executions(vm)
    again = run(vm, "harden.py", *USE)
    assert_declared(again)
    assert [change for change in again.host()["changes"] if change["subject"] == "bridges"] == []
    assert executions(vm) - started == 2, "one execution for harden, one for asking"


def test_the_same_after_the_firewall_and_the_daemon_were_restarted(vm: Vm) -> None:
    vm.ssh("systemctl restart nftables; systemctl restart systemd-networkd docker; sleep 2")
    assert_apart(script(vm, "try"))
    vm.ssh("docker network create later >/dev/null")
    assert engine(vm, "later") == {"published", "outbound"}


def test_drift_is_named_and_put_right(vm: Vm) -> None:
    vm.ssh(
        "bridge link set dev t-a isolated off; bridge vlan add dev db vid 10;"
        "nft insert rule bridge bridges-hullproof within-tenants accept;"
        "ip link add br-hand type bridge; ip link set br-hand up;"
        "ip link add two type veth peer name eth1 netns t-a; ip link set two master br-web up;"
        "bridge vlan add dev two vid 10 pvid untagged"
    )
    drift = run(vm, "drift.py", *USE)
    assert drift.code == 2
    assert "port t-a of br-tenants is not isolated" in drift.reason("bridges.declared")
    assert "db is a member of VLAN 10" in drift.reason("bridges.declared")
    assert "a rule was added to hullproof's chain within-tenants: accept" in drift.reason("bridges.filter")
    assert "br-hand was created by hand" in drift.reason("bridges.undeclared")
    assert "netns t-a is in tenants and web.10, which bridges.allow keeps apart" in drift.reason("bridges.meeting")
    harden = run(vm, "harden.py", *USE)
    # Who made what is not ours has to take it away: it is named still, and nothing else is.
    assert {control for control, state in bridges(harden).items() if state == "fail"} == {"bridges.undeclared"}
    assert_apart(script(vm, "try"))
    vm.ssh("ip link del br-hand; ip link del two")


def cut_off(vm: Vm, more: str = ":") -> Path:
    """As soon as the bridge br-late is there, SSH takes no new connection. The policy that makes that bridge."""
    cut_when(vm, "add", more)
    return with_late(vm)


def assert_taken_back(vm: Vm, found: Result) -> None:
    assert "br-late" not in vm.ssh("ip -br link; ls /etc/systemd/network /etc/systemd/system").stdout
    assert "hullproof-revert" not in vm.ssh("systemctl list-timers --all; ls /etc/systemd/system").stdout
    assert "the host reverted the change" in found.reason("bridges.reverted")


def test_a_change_that_cuts_us_off_is_taken_back_by_the_host(vm: Vm) -> None:
    late = cut_off(vm)
    cut = run(vm, "harden.py", "--data", f"policy={late}", *ACCEPT)
    assert cut.code == 1, cut.out
    assert "could not be confirmed over a fresh connection" in cut.host()["error"]
    assert "the host has taken it back by itself" in cut.host()["error"]
    again = run(vm, "harden.py", "--data", f"policy={late}", *ACCEPT)
    assert "accept=reverted-network" in again.out
    assert_taken_back(vm, again)
    assert_apart(script(vm, "try"))


def test_a_reboot_before_it_is_confirmed_takes_it_back_too(vm: Vm) -> None:
    """Long before the timer would be due."""
    late, boot = cut_off(vm, "systemd-run --on-active=20 systemctl reboot"), vm.boot_id()
    run(vm, "harden.py", "--data", f"policy={late}", "--data", "accept=network-isolation,metadata,reverted-network")
    vm.wait_ssh()
    assert vm.boot_id() != boot
    # Its description goes with its file, which it removes itself.
    assert vm.ssh("journalctl -b -q -u hullproof-revert.service").stdout, "nothing took it back at boot"
    assert_taken_back(vm, run(vm, "drift.py", "--data", f"policy={late}"))
    script(vm, "join")  # the uplink went with the boot, and without it nothing is planned


def begin_late(vm: Vm) -> tuple[Path, subprocess.Popen[str], Path]:
    """A network change, armed and just made live: its policy, and the run that is to confirm it."""
    late = with_late(vm)
    uncut(vm)
    accept = ("--data", "accept=network-isolation,metadata,reverted-network")
    process, reports = start(vm.inventory(), "harden.py", "--data", f"policy={late}", *accept)
    vm.ssh("timeout 300 sh -c 'until [ -e /sys/class/net/br-late ]; do sleep 0.2; done'", timeout=320)
    return late, process, reports


def assert_taken_back_soon(vm: Vm, late: Path) -> None:
    vm.ssh("timeout 300 sh -c 'while [ -e /sys/class/net/br-late ]; do sleep 0.2; done'", timeout=320)
    vm.ssh("flock -w 60 /var/lib/hullproof/journal/lock true")
    assert_taken_back(vm, run(vm, "drift.py", "--data", f"policy={late}"))
    assert_apart(script(vm, "try"))


def test_a_controller_killed_before_it_confirms_leaves_nothing_half_done(vm: Vm) -> None:
    late, process, _ = begin_late(vm)
    process.kill()
    process.communicate()
    assert_taken_back_soon(vm, late)


def test_a_cable_pulled_before_it_is_confirmed_ends_the_run_and_the_change(vm: Vm) -> None:
    late, process, reports = begin_late(vm)
    vm.cable(plugged=False)
    ended = finish(process, reports)
    vm.cable(plugged=True)
    assert ended.code == 1, ended.out
    assert ended.host()["status"] == "unreachable"
    vm.wait_ssh()
    assert_taken_back_soon(vm, late)


def test_rollback_takes_everything_away(vm: Vm, story: dict[str, Any]) -> None:
    refused = run(vm, "rollback.py", *USE, "--data", f"run={story['run']}")
    assert "roll that back first" in refused.host()["error"]
    undone: set[str] = set()
    while story["run"] not in undone:
        rollback = run(vm, "rollback.py", *USE)
        assert rollback.host()["status"] == "ok", rollback.out + rollback.err
        newest = {change["journal"].partition("/")[0] for change in rollback.host()["changes"]}
        assert newest, "nothing was left to undo"
        undone |= newest
    assert len(undone) > 1
    left = vm.ssh("ls /etc/systemd/network /etc/hullproof 2>/dev/null; nft list tables", check=False).stdout
    assert "05-hullproof" not in left
    assert "bridges-hullproof" not in left
