"""LSM: which security module the host is meant to run, and whether it is in force."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.core.change import Command, WriteFile
from deploys.core.control import State
from deploys.lsm.controls import BootObstacle, LsmRules, boot_obstacle
from deploys.selinux.stages import DROP_IN
from tests.support.apparmor import kernel
from tests.support.selinux import BARE, DENIED, ENFORCING, SELINUX_BOOT, changes, context, selinux


@pytest.mark.parametrize(
    ("module", "family", "live", "want"),
    [
        ("selinux", "debian", "selinux", State.PASS),
        ("selinux", "debian", "apparmor", State.PENDING_REBOOT),
        ("auto", "debian", "apparmor", State.PASS),
        ("auto", "rhel", "selinux", State.PASS),
        ("auto", "rhel", "apparmor", State.PASS),
        ("auto", "debian", "selinux", State.PASS),
        ("auto", "rhel", "capability", State.PENDING_REBOOT),
        ("auto", "debian", "capability", State.FAIL),
        (None, "debian", "apparmor", State.NOT_APPLICABLE),
    ],
)
def test_which_module(module: Any, family: str, live: str, want: State) -> None:
    where = context(lsm=LsmRules(module=module), family=family, live=live)
    assert where.findings["lsm.module"].state is want


def test_the_next_boot_has_to_bring_it() -> None:
    wanted, live = LsmRules(module="selinux"), "apparmor"
    for boot, reading in (
        (kernel(("ro",)), ENFORCING),
        (SELINUX_BOOT, BARE),
        (SELINUX_BOOT, selinux(config_mode="disabled")),
    ):
        assert context(reading, boot, lsm=wanted, live=live).findings["lsm.module"].state is State.FAIL


@pytest.mark.parametrize(
    ("loaded", "want"), [(False, State.PENDING_REBOOT), (DENIED, State.UNKNOWN), (True, State.PASS)]
)
def test_selinux_without_a_policy_is_not_in_force(loaded: Any, want: State) -> None:
    """Debian's kernel names it in its stack as soon as AppArmor is switched off, and it confines nothing then."""
    where = context(selinux(policy_loaded=loaded))
    assert where.findings["lsm.module"].state is want


@pytest.mark.parametrize(
    ("words", "bar"),
    [
        ("security=selinux", None),
        ("selinux=0", "selinux=0"),
        ("selinux=0 selinux=1 security=selinux", None),
        ("enforcing=0", "enforcing=0"),
        ("security=apparmor", "security=apparmor"),
        ("security=apparmor security=selinux", None),
        ("lsm=selinux security=apparmor", None),
        ("lsm=apparmor", "lsm=apparmor"),
    ],
)
def test_what_keeps_it_off(words: str, bar: str | None) -> None:
    found = boot_obstacle("selinux", words.split(), "debian")
    assert (found and str(found)) == bar


def test_where_no_module_is_named_debian_boots_apparmor_and_red_hat_selinux() -> None:
    assert boot_obstacle("selinux", ["ro"], "debian") == BootObstacle("security=selinux", missing=True)
    assert boot_obstacle("selinux", ["ro"], "rhel") is None
    gate, write = changes(context(ENFORCING, kernel(("ro",))))
    assert isinstance(gate, Command)
    assert isinstance(write, WriteFile)
    assert write.path == DROP_IN
