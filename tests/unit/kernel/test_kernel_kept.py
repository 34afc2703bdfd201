"""Which kernels stay installed, and updates that put another build in the place of one that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import Blocked
from deploys.core.change import Reboot as HostReboot
from deploys.core.control import State
from facts.kernel.packages import Package
from tests.support.kernel_update import (
    IN_THE_PLACE,
    META,
    NEW,
    OLD,
    OLDER,
    PENDING,
    calls,
    kernel,
    package,
    plan,
    verdict,
)


@pytest.mark.parametrize(
    ("packages", "keep", "state", "goes"),
    [
        ((*OLDER, package(OLD, "6.1.176-1")), 2, State.FAIL, "6.1.0-40-cloud-amd64 can go"),
        ((*OLDER, package(OLD, "6.1.176-1")), 3, State.PASS, ""),
        ((*OLDER, package(OLD, "6.1.176-1")), None, State.NOT_APPLICABLE, ""),
        ((package(OLD, "6.1.176-1"), package("6.1.0-55-cloud-amd64", "6.1.190-1"), package(NEW, "6.1.192-2")), 2,
         State.FAIL, "6.1.0-55-cloud-amd64 can go"),  # neither what runs nor the newest
        ((OLDER[1], package("6.1.0-48-cloud-amd64", "6.1.48-1"), package(OLD, "6.1.176-1")), 2,
         State.FAIL, "6.1.0-48-cloud-amd64 can go"),  # it did not pass
        ((package("6.1.0-50-amd64", "6.1.176-1"), package(OLD, "6.1.176-1")), 2, State.PASS, ""),  # another flavour
    ],
)  # fmt: skip
def test_old_kernels(packages: tuple[Package, ...], keep: int | None, state: State, goes: str) -> None:
    found = verdict(
        "kernel.old-kernels", kernel(packages=packages, rejected=("6.1.0-48-cloud-amd64 6.1.48-1",)), keep=keep
    )
    assert found.state is state
    assert goes in found.reason


IN_PLACE = replace(META, candidate="6.1.176-3", newest="6.1.176-3", release=OLD)
HELD = replace(OLDER[0], held=True)


@pytest.mark.parametrize(
    ("packages", "state", "words"),
    [
        ((HELD, OLDER[1], package(OLD, "6.1.176-1")), State.FAIL, "6.1.0-45-cloud-amd64 can go; 6.1.0-40"),
        ((HELD, replace(OLDER[1], held=True), package(OLD, "6.1.176-1")), State.PASS,
         "the policy keeps 2; 6.1.0-40-cloud-amd64, 6.1.0-45-cloud-amd64 is held, so harden does not remove it"),
        ((HELD, package(OLD, "6.1.176-1")), State.PASS, "2 kernels are installed, the policy keeps 2"),
    ],
)  # fmt: skip
def test_a_kernel_that_is_held_is_not_removed_and_keeps_no_update_back(
    packages: tuple[Package, ...], state: State, words: str
) -> None:
    reading = kernel(packages=packages, offers=(META,))
    found = verdict("kernel.old-kernels", reading, keep=2)
    assert (found.state, words in found.reason) == (state, True), found.reason
    planned = calls(plan(reading, update="all", reboot="never", keep=2))
    assert "upgrade 0 linux-image-cloud-amd64" in planned
    assert not any("6.1.0-40" in call for call in planned)


@pytest.mark.parametrize(
    ("packages", "rejects", "way"),
    [
        ((OLDER[1],), (), "the only way back is 6.1.0-45-cloud-amd64, in GRUB's menu"),
        ((), (), "there is no other kernel to go back to"),
        ((OLDER[1],), ("6.1.0-45-cloud-amd64 6.1.45-1",), "there is no other kernel to go back to"),
    ],
)
def test_an_update_that_keeps_the_release_removes_no_kernel_and_promises_no_trial(
    packages: tuple[Package, ...], rejects: tuple[str, ...], way: str
) -> None:
    reading = kernel(offers=(IN_PLACE,), packages=(*packages, package(OLD, "6.1.176-1")), rejected=rejects)
    rules: dict[str, Any] = {"update": "security", "running": "newest-installed", "keep": 2}
    install, told = plan(reading, reboot="now", **rules)
    assert isinstance(told, Blocked)
    assert calls([install]) == ["upgrade 1 linux-image-cloud-amd64"]
    assert f"6.1.176-3: {IN_THE_PLACE}; {way}" in install.what
    assert f"{way}: reboot it by hand" in told.why
    assert plan(reading, reboot="never", **rules) == [install]


def test_what_is_cut_off_may_be_the_running_kernel_itself() -> None:
    reading = kernel(half=(f"linux-image-{OLD}",), packages=OLDER[1:])
    finish, told = plan(reading, update="security", running="newest-installed", reboot="now", keep=2)
    assert IN_THE_PLACE in finish.what
    assert isinstance(told, Blocked)


def test_with_a_newer_one_pending_too_its_way_back_is_not_replaced() -> None:
    """GRUB would go back to files that were never booted."""
    install, told = plan(kernel(**PENDING, offers=(IN_PLACE,)), update="all", running="newest-installed", reboot="now")
    assert (calls([install]), isinstance(told, Blocked)) == (["upgrade 0 linux-image-cloud-amd64"], True)
    replaced = PENDING | {"packages": (package(OLD, "6.1.176-3"), package(NEW, "6.1.192-2"))}
    (told,) = plan(kernel(**replaced), running="newest-installed", reboot="now")
    assert isinstance(told, Blocked)
    assert IN_THE_PLACE in told.why


def test_another_build_of_what_waits_for_the_reboot_is_tried_as_any_other() -> None:
    offer = replace(META, installed="6.1.192-2", candidate="6.1.192-3", newest="6.1.192-3")
    changes = plan(kernel(**PENDING, offers=(offer,)), update="all", running="newest-installed", reboot="now", keep=2)
    assert isinstance(changes[-1], HostReboot)
    assert not any(call.startswith("prune") for call in calls(changes))


def test_the_kernel_beside_the_running_one_goes_only_when_the_new_one_is_there() -> None:
    reading = kernel(offers=(META,), packages=(OLDER[1], package(OLD, "6.1.176-1")))
    changes = plan(reading, update="all", reboot="never", keep=2)
    assert calls(changes) == ["upgrade 0 linux-image-cloud-amd64", "prune 2 6.1.0-45-cloud-amd64"]
    held = replace(reading, updates=replace(reading.updates, offers=(replace(META, held=True),)))
    assert calls(plan(held, update="all", reboot="never", keep=2)) == []
