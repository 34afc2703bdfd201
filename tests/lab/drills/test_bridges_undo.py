"""An undo of networks that cuts us off, on a real host: the host puts them back by itself, and says so.

The tests stand in the order of the story that they tell.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import Vm
from tests.lab.drills.bridges import ACCEPT, assert_all_pass, assert_apart, cut_when, script, uncut, with_late
from tests.lab.machine.drive import Result, run, start

VARIANT = "stock"

pytestmark = [pytest.mark.lab, pytest.mark.drill, pytest.mark.story]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    return {}


def rollback(vm: Vm, story: dict[str, Any]) -> tuple[str, ...]:
    return ("rollback.py", "--data", f"policy={with_late(vm)}", "--data", f"run={story['run']}")


def assert_put_back(vm: Vm) -> None:
    """All of it stands as it did before the undo, and the finding says what happened."""
    assert "hullproof-revert" not in vm.ssh("systemctl list-timers --all; ls /etc/systemd/system").stdout
    found = run(vm, "drift.py", "--data", f"policy={with_late(vm)}")
    states = {name: state for name, state in found.states().items() if name.startswith("bridges.")}
    assert {name for name, state in states.items() if state == "fail"} == {"bridges.reverted"}, found.out
    assert "the host restored the networks of that run" in found.reason("bridges.reverted")
    assert_apart(script(vm, "try"))


def assert_not_undone(undo: Result) -> None:
    assert undo.code == 1, undo.out
    assert "could not be confirmed over a fresh connection" in undo.host()["error"]
    assert "the host has taken it back by itself" in undo.host()["error"]
    assert [change for change in undo.host()["changes"] if change["subject"] == "bridges"] == []


def test_before_everything_passes_and_after_only_what_is_allowed(vm: Vm, story: dict[str, Any]) -> None:
    assert_all_pass(vm)
    harden = run(vm, "harden.py", "--data", f"policy={with_late(vm)}", *ACCEPT)
    assert harden.host()["status"] == "ok", harden.out + harden.err
    story["run"] = harden.report["run"]["id"]
    assert_apart(script(vm, "try"))


def test_an_undo_that_cuts_us_off_is_put_back_by_the_host(vm: Vm, story: dict[str, Any]) -> None:
    cut_when(vm, "remove")
    assert_not_undone(run(vm, *rollback(vm, story)))
    assert_put_back(vm)


def test_a_reboot_before_it_is_confirmed_puts_it_back_too(vm: Vm, story: dict[str, Any]) -> None:
    """Long before the timer would be due."""
    cut_when(vm, "remove", "systemd-run --on-active=20 systemctl reboot")
    boot = vm.boot_id()
    run(vm, *rollback(vm, story))
    vm.wait_ssh()
    assert vm.boot_id() != boot
    assert vm.ssh("journalctl -b -q -u hullproof-revert.service").stdout, "nothing put it back at boot"
    uncut(vm)
    script(vm, "join")
    assert_put_back(vm)


def test_a_controller_killed_before_it_confirms_leaves_all_as_it_was(vm: Vm, story: dict[str, Any]) -> None:
    process, _ = start(vm.inventory(), *rollback(vm, story))
    vm.ssh("timeout 300 sh -c 'while [ -e /sys/class/net/br-late ]; do sleep 0.2; done'", timeout=320)
    process.kill()
    process.communicate()
    vm.ssh("timeout 300 sh -c 'until [ -e /sys/class/net/br-late ]; do sleep 0.2; done'", timeout=320)
    vm.ssh("flock -w 60 /var/lib/hullproof/journal/lock true")
    assert_put_back(vm)


def test_confirmed_it_takes_everything_away(vm: Vm, story: dict[str, Any]) -> None:
    undone = run(vm, *rollback(vm, story))
    assert undone.host()["status"] == "ok", undone.out + undone.err
    assert undone.states()["bridges.reverted"] == "pass"
    left = vm.ssh(
        "ls /etc/systemd/network /etc/hullproof 2>/dev/null; nft list tables; ip -br link", check=False
    ).stdout
    assert "05-hullproof" not in left
    assert "bridges-hullproof" not in left
    assert "br-late" not in left
