"""Kernel updates: what is found, what is planned, and what a plan refuses to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.core import templates
from deploys.core.change import Blocked, Command, WriteFile
from deploys.core.change import Reboot as HostReboot
from deploys.core.control import State
from deploys.kernel.rollout import library
from deploys.kernel.rules import KernelRules
from deploys.kernel.window import Window
from facts.core.reading import Unknown
from facts.kernel.boot import KERNEL_DEFAULTS
from facts.kernel.boot_words import BootWords
from facts.kernel.modules import Modules, Root
from facts.kernel.updates import GATE_FILES, GATE_SCRIPT, GATE_UNIT, NeedRestart, Offer, Trial
from tests.support.hosts import beside, container, listed
from tests.support.kernel_host import DOCKER
from tests.support.kernel_update import (
    BOOT,
    IN_THE_PLACE,
    META,
    NEW,
    NOW,
    OLD,
    OLDER,
    PENDING,
    calls,
    kernel,
    package,
    plan,
    verdict,
)

TRIED: dict[str, Any] = {
    "last": Trial(NEW, "6.1.192-2", "returned", "engine", "Docker is down", "2026-11-18T10:00:00Z", "b"),
    "rejected": (f"{NEW} 6.1.192-2",),
}


UPDATE: dict[str, tuple[str | None, dict[str, Any], State, str]] = {
    "the newest": ("security", {}, State.PASS, "6.1.176-1 is the newest kernel that the security archive offers"),
    "a fix is offered": ("security", {"offers": (META,)}, State.FAIL, "6.1.192-2 is on offer as a security fix"),
    "no fix, but newer": ("security", {"offers": (replace(META, security=False),)}, State.PASS, "newest"),
    "newer, and all is wanted": ("all", {"offers": (replace(META, security=False),)}, State.FAIL, "192-2 is on offer"),
    "held": ("all", {"offers": (replace(META, held=True),)}, State.FAIL, "linux-image-cloud-amd64 is held"),
    "pinned": ("all", {"offers": (replace(META, candidate="6.1.176-1"),)}, State.FAIL, "but a pin keeps"),
    "cut off midway": ("all", {"half": (f"linux-image-{NEW}",)}, State.FAIL, "was interrupted"),
    "old lists": ("security", {"lists": NOW - 9 * 86400}, State.FAIL, "the package lists are 9 days old"),
    "lists that could not be refreshed": (
        "all", {"unrefreshed": "2026-11-18: W: Failed to fetch http://m/"}, State.FAIL, "on 2026-11-18: W: Failed",
    ),
    "an offer in old lists": ("security", {"lists": 0, "offers": (META,)}, State.FAIL, "6.1.192-2 is on offer"),
    "unknown age": ("security", {"lists": Unknown("never")}, State.UNKNOWN, "never"),
    "unknown offers": ("security", {"offers": Unknown("no lists")}, State.UNKNOWN, "no lists"),
    "a kernel that no package brings": ("security", {"offers": ()}, State.UNKNOWN, "no installed package"),
    "no package source": ("all", {"offers": (replace(META, sourced=False),)}, State.FAIL, "no package source of this"),
    "none": ("none", {"offers": (META,)}, State.NOT_APPLICABLE, "does not ask"),
    "not declared": (None, {"offers": (META,)}, State.NOT_APPLICABLE, "does not ask"),
}  # fmt: skip


@pytest.mark.parametrize("case", UPDATE)
def test_update(case: str) -> None:
    declared, reading, state, words = UPDATE[case]
    found = verdict("kernel.update", kernel(**reading), update=declared)
    assert (found.state, words in found.reason) == (state, True), found.reason


RUNNING: dict[str, tuple[dict[str, Any], State, str]] = {
    "the newest": ({}, State.PASS, "the newest installed kernel"),
    "a newer one waits": (PENDING, State.PENDING_REBOOT, f"{NEW} is installed"),
    "it was tried": (PENDING | TRIED, State.FAIL, "(engine: Docker is down), and the host went back to"),
    "an older one was tried": (
        PENDING | TRIED | {"packages": (package(OLD, "6.1.176-1"), package("6.1.0-57-cloud-amd64", "6.1.199-1"))},
        State.PENDING_REBOOT, "is installed",
    ),
    "it was tried again, and kept": (
        {"release": NEW, "packages": PENDING["packages"], "last": replace(TRIED["last"], result="confirmed")},
        State.PASS, "is running",
    ),
    "it lacks a module": (
        PENDING | {"built": {OLD: ("zfs",)}}, State.PENDING_REBOOT, f"that DKMS built for {OLD}: zfs",
    ),
    "it has all modules": (PENDING | {"built": {OLD: ("zfs",), NEW: ("zfs",)}}, State.PENDING_REBOOT, "installed"),
    "live patches": (PENDING | {"livepatches": {"kpatch_1": True}}, State.PENDING_REBOOT, "loaded (kpatch_1)"),
    "live patches not known": (PENDING | {"livepatches": Unknown("no")}, State.PENDING_REBOOT, "not known whether"),
    "the default is the old one": (PENDING, State.PENDING_REBOOT, f"default is {OLD}, so a reboot by hand boots"),
    "the default is the new one": (PENDING | {"release": NEW}, State.PENDING_REBOOT, f"{NEW} is installed"),
    "needrestart says otherwise": ({"needrestart": NeedRestart.NEWER_RELEASE}, State.PASS, "needrestart says"),
    "needrestart agrees": (PENDING | {"needrestart": NeedRestart.NEWER_RELEASE}, State.PENDING_REBOOT, "is installed"),
    "on trial": (PENDING | {"on_trial": NEW}, State.PENDING_REBOOT, f"{NEW} is being booted on trial"),
    "the next boot goes back": ({"release": "6.1.0-49-cloud-amd64"}, State.FAIL, "the next boot takes 6.1.0-49"),
    "unknown": ({"reboot": Unknown("no dpkg")}, State.UNKNOWN, "no dpkg"),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNNING)
def test_running(case: str) -> None:
    reading, state, words = RUNNING[case]
    reading = dict(reading)
    boot_release = reading.pop("release", OLD)
    found = kernel(**reading)
    found = replace(found, boot=replace(found.boot, release=boot_release))
    judged = verdict("kernel.reboot-needed", found, running="newest-installed")
    assert (judged.state, words in judged.reason) == (state, True), judged.reason
    assert "by hand" not in judged.reason or boot_release == OLD
    assert ("lacks" in judged.reason) is (case == "it lacks a module")
    assert ("needrestart" in judged.reason) is (case == "needrestart says otherwise")


def test_an_update_without_a_reboot_installs_and_touches_nothing_else() -> None:
    (install,) = plan(kernel(offers=(META,)), update="security", running="newest-installed", reboot="never")
    assert isinstance(install, Command)
    assert install.what == "refresh the package lists and install linux-image-cloud-amd64 6.1.192-2"
    assert install.script.endswith("\nupgrade 1 linux-image-cloud-amd64\n")
    assert install.undo.endswith(f"\nprefer {OLD}\n")


def test_an_update_that_will_not_be_booted_says_so_and_why() -> None:
    lvm = kernel(offers=(META,), once="GRUB cannot write its environment on /dev/mapper/vg-root")
    install, told = plan(lvm, update="security", running="newest-installed", reboot="now")
    assert isinstance(install, Command)
    assert isinstance(told, Blocked)
    assert "/dev/mapper/vg-root" in told.why


def test_never_is_never() -> None:
    never: tuple[dict[str, Any], ...] = ({"reboot": "never"}, {})
    for rules in never:
        (told,) = plan(kernel(**PENDING), running="newest-installed", **rules)
        assert isinstance(told, Blocked)
        assert "reboot: never" in told.why


def test_an_update_with_a_reboot_keeps_the_way_back_first_and_reboots_last() -> None:
    packages = (*OLDER, package(OLD, "6.1.176-1"))
    changes = plan(
        kernel(offers=(META,), packages=packages), update="all", running="newest-installed", reboot="now", keep=2
    )
    kinds = [(type(change), getattr(change, "path", "")) for change in changes]
    assert kinds == [(Command, ""), (WriteFile, GATE_SCRIPT), (WriteFile, GATE_UNIT), *[(Command, "")] * 3,
                     (HostReboot, "")]  # fmt: skip
    assert calls(changes) == [
        "keep", "prune 2 6.1.0-40-cloud-amd64", "upgrade 0 linux-image-cloud-amd64", "prune 2 6.1.0-45-cloud-amd64",
        "arm 600 0 0 '' ''",
    ]  # fmt: skip
    assert changes[-1].interrupts == "the host reboots, because this run installs 6.1.192-2; no container is running"


def test_one_reboot_serves_all_that_need_one() -> None:
    words = ["slab_nomerge", "init_on_alloc=1"]
    changes = plan(kernel(**PENDING), running="newest-installed", reboot="now", boot_parameters=words)
    (reboot,) = [change for change in changes if isinstance(change, HostReboot)]
    assert f"{NEW} is installed, and for 2 other findings; no container" in reboot.interrupts


WORD = "lockdown=integrity"


@pytest.mark.parametrize("loader", ["grub", "bls"])
def test_words_on_trial_go_after_the_kernel_where_grub_boots_one_entry_once(loader: str) -> None:
    host = kernel(**PENDING, loader=loader, found=Modules({}, Root("ext4", ("ext4",))))
    changes = plan(host, running="newest-installed", reboot="now", boot_parameters=[WORD])
    about = [change for change in changes if WORD in change.what]
    assert isinstance(changes[-1], HostReboot)
    assert [type(change) for change in about] == [Command if loader == "grub" else Blocked]
    if loader == "bls":
        assert "the new kernel comes first: run harden again after that reboot" in about[0].why  # type: ignore[attr-defined]
        assert about[0].controls == ("kernel.boot.lockdown",)
        trying = plan(host, running="newest-installed", reboot="never", boot_parameters=[WORD])
        assert [type(change) for change in trying if WORD in change.what] == [Command], "no new kernel is booted"
        on_trial = replace(host, updates=replace(host.updates, on_trial=NEW))
        still = plan(on_trial, running="newest-installed", reboot="now", boot_parameters=[WORD])
        assert [type(change) for change in still if WORD in change.what] == [Blocked], "it has not been booted yet"


def test_words_that_wait_for_the_boot_make_way_for_the_kernel() -> None:
    host = kernel(**PENDING, loader="bls", found=Modules({}, Root("ext4", ("ext4",))))
    armed = replace(
        host,
        words=BootWords((WORD,), str(host.boot_id)),
        boot=replace(host.boot, once_words=(WORD,)),
    )
    changes = plan(armed, running="newest-installed", reboot="now", boot_parameters=[WORD])
    dropped = [change for change in changes if isinstance(change, Command) and "cancel the trial" in change.what]
    assert [change.script.splitlines()[-1] for change in dropped] == [f"forget_words {WORD}"]


def test_what_is_installed_already_is_booted_and_the_gate_is_not_written_twice() -> None:
    unit = templates.text("kernel/hullproof-boot-gate.service")
    gate = {**dict.fromkeys(GATE_FILES, unit), GATE_SCRIPT: f"{library()}\ngate\n"}
    rules: dict[str, Any] = {"running": "newest-installed", "reboot": "now", "deadline": 90,
                             "drain": {"before": "drain it", "after": "undrain"}}  # fmt: skip
    keep, reboot = plan(kernel(**PENDING, gate=gate), **rules)
    assert isinstance(keep, Command)
    assert isinstance(reboot, HostReboot)
    assert reboot.script.endswith("\nwith_built\narm 90 0 0 'drain it' undrain\n")
    assert (reboot.seconds, reboot.interrupts) == (
        1380,
        f"the host reboots, because {OLD} is running, and the newer {NEW} is installed; no container is running",
    )
    assert plan(kernel(gate=gate), **rules) == []


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "outside of the window": (
        {},
        {"reboot": "window", "window": "02:00-04:00"},
        "maintenance window 02:00-04:00 UTC (kernel.window)",
    ),
    "on LVM": ({"once": "GRUB cannot write its environment on /dev/mapper/vg-root"}, {}, "again and again"),
    "not known": ({"once": Unknown("no findmnt")}, {}, "no findmnt"),
    "no GRUB": ({"loader": "none"}, {}, "does not boot with GRUB"),
    "no entry": ({"releases": (NEW,)}, {}, f"no entry for the running kernel {OLD}"),
    "the same release": ({"packages": (package(OLD, "6.1.176-2"),), "releases": (OLD,)}, {}, IN_THE_PLACE),
    "something else": (
        {"packages": (package(OLD, "6.1.176-1"),)},
        {},
        "something else needs the reboot",
    ),
    "on trial": ({"on_trial": NEW}, {}, "is being booted on trial"),
    "a file of ours cannot be read": ({"gate": {GATE_SCRIPT: Unknown("refused")}}, {}, "refused"),
    "without a module that DKMS built": (
        {"built": {OLD: ("spl", "zfs"), NEW: ("spl",)}},
        {},
        f"{NEW} lacks the modules that DKMS built for {OLD}: zfs. Install its headers",
    ),
    "what DKMS built is not known": ({"built": Unknown("ls: refused")}, {}, "ls: refused"),
    "tried before": (TRIED, {}, "accept=kernel-retry"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_reboot(case: str) -> None:
    reading, rules, words = REFUSED[case]
    (told,) = plan(kernel(**PENDING | reading), **{"running": "newest-installed", "reboot": "now"} | rules)
    assert isinstance(told, Blocked)
    assert words in told.reason, told.reason


def test_a_retry_that_was_accepted_and_a_window_that_is_open() -> None:
    assert isinstance(
        plan(kernel(**PENDING | TRIED), ("kernel-retry",), running="newest-installed", reboot="now")[-1], HostReboot
    )
    rules: dict[str, Any] = {"running": "newest-installed", "reboot": "window", "window": "wed 11:00-12:00"}
    reboot = plan(kernel(**PENDING), **rules)[-1]
    assert isinstance(reboot, HostReboot)
    assert f"arm 600 {NOW - 400 + 3600} 0" in reboot.script  # it began at 11:00, 400 s ago


def test_containers_are_named_and_where_they_cannot_be_nothing_reboots() -> None:
    silent = Unknown("Docker does not answer")
    for unknown in (replace(DOCKER, containers=silent), silent):
        (told,) = plan(kernel(**PENDING), docker=unknown, running="newest-installed", reboot="now")
        assert isinstance(told, Blocked)
        assert "Docker does not answer" in told.why


@pytest.mark.parametrize(
    ("also", "says"),
    [
        ((), "these containers stop and start again: db, web"),
        (
            (listed("own"), listed("job", user=1000)),
            "these containers stop and start again: db, web; these stop, and start again only if their engine or a "
            "unit starts them: podman:job (user 1000), podman:own",
        ),
    ],
)
def test_containers_of_each_engine_are_named_and_those_that_start_again_by_themselves(also: Any, says: str) -> None:
    """Of Podman's nothing but that they run is known, which is no reason to refuse the reboot."""
    docker = replace(DOCKER, containers=(container("web"), container("db")))
    there = beside(docker, listed("web", "docker"), *also, also=("podman",))
    reboot = plan(kernel(**PENDING), docker=docker, containers=there, running="newest-installed", reboot="now")[-1]
    assert isinstance(reboot, HostReboot)
    assert reboot.interrupts.endswith(f"; {says}")


def test_where_podmans_containers_cannot_be_listed_nothing_reboots() -> None:
    there = replace(beside(DOCKER), containers=Unknown("only root sees every container"))
    (told,) = plan(kernel(**PENDING), containers=there, running="newest-installed", reboot="now")
    assert isinstance(told, Blocked)
    assert "only root sees every container" in told.why


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"offers": (replace(META, held=True),)}, "apt-mark unhold linux-image-cloud-amd64"),
        ({"offers": (replace(META, candidate="6.1.176-1"),)}, "a pin in /etc/apt/preferences"),
        ({"offers": (META,), "free": 30_000}, "/boot has 29 MB free, and a kernel needs 31 MB"),
    ],
)
def test_what_is_not_installed_and_why(reading: dict[str, Any], words: str) -> None:
    (told,) = plan(kernel(**reading), update="all", reboot="never")
    assert isinstance(told, Blocked)
    assert words in told.why


def test_an_installation_that_was_cut_off_is_finished_and_old_lists_are_refreshed() -> None:
    (finish,) = plan(kernel(half=(f"linux-image-{NEW}",)), update="security", reboot="never")
    assert finish.what.startswith(f"finish the installation of linux-image-{NEW}")
    (refresh,) = plan(kernel(lists=0), update="security", reboot="never")
    assert refresh.what.endswith("if there is one")


def test_a_default_that_is_older_than_what_runs_is_put_right_where_reboots_are_ours() -> None:
    reading = replace(kernel(), boot=replace(BOOT, release="6.1.0-49-cloud-amd64"))
    (keep,) = plan(reading, running="newest-installed", reboot="now")
    assert isinstance(keep, Command)
    assert keep.script.endswith("\nkeep\n")
    assert isinstance(plan(reading, running="newest-installed", reboot="never")[0], Blocked)


def test_on_rhel_a_new_kernel_is_not_made_the_default_by_its_installation() -> None:
    offer = Offer("kernel-core", "5.14.0-503.el9", "5.14.0-570.el9", "5.14.0-570.el9", True, False)
    reading = replace(kernel(offers=(offer,), loader="bls"))
    reading = replace(
        reading, boot=replace(reading.boot, kernel_defaults="UPDATEDEFAULT=yes\nDEFAULTKERNEL=kernel-core\n")
    )
    changes = plan(reading, update="security", running="newest-installed", reboot="now")
    (write,) = [change for change in changes if isinstance(change, WriteFile) and change.path == KERNEL_DEFAULTS]
    assert write.text == "DEFAULTKERNEL=kernel-core\nUPDATEDEFAULT=no\n"
    assert any(isinstance(c, Command) and c.script.endswith("\nupgrade 1 'kernel*'\n") for c in changes)


@pytest.mark.parametrize(
    ("text", "clock", "minutes"),
    [
        ("11:00-12:00", NOW, 53),
        ("12:00-13:00", NOW, None),
        ("wed 11:00-12:00", NOW, 53),
        ("tue,thu 11:00-12:00", NOW, None),
        ("tue 22:00-12:00", NOW, 53),  # it began the day before
        ("wed 22:00-12:00", NOW, None),
        ("11:06-11:06", NOW, 24 * 60),
    ],
)
def test_windows(text: str, clock: int, minutes: int | None) -> None:
    end = Window.parse(text).end(clock)
    assert (None if end is None else (end - clock) // 60) == (minutes if minutes != 24 * 60 else 24 * 60 - 1)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"reboot": "window"}, "go together"),
        ({"window": "02:00-04:00"}, "go together"),
        ({"reboot": "window", "window": "2-4"}, "is not a window"),
        ({"reboot": "window", "window": "sam 02:00-04:00"}, "sam is not a day"),
        ({"reboot": "window", "window": "25:00-26:00"}, "no such time"),
        ({"keep": 1}, "greater than or equal to 2"),
        ({"update": "some"}, "'security', 'all' or 'none'"),
    ],
)
def test_a_policy_that_is_wrong_is_refused(rules: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KernelRules(**rules)
