"""Boot parameters: judged three ways, brought on the next boot's command line, never by a reboot of ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from deploys.core.change import Activate, Blocked, Command
from deploys.core.control import State, judge
from deploys.core.policy import Policy, Waiver
from deploys.kernel import grub
from deploys.kernel.controls import CONTROLS
from facts.core.reading import Unknown
from facts.kernel.boot import DROP_IN, Boot
from tests.support.kernel_host import KERNEL, applied, planned, policy_of, survey_of, verdict_of, written

BOOT: dict[str, tuple[str, str | None, str | None, dict[str, str] | Unknown, State]] = {
    "agree": ("slab_nomerge", "ro slab_nomerge", "ro slab_nomerge", {}, State.PASS),
    "after a reboot": ("slab_nomerge", "ro slab_nomerge", "ro", {}, State.PENDING_REBOOT),
    "nowhere": ("slab_nomerge", "ro", "ro", {}, State.FAIL),
    "only live": ("slab_nomerge", "ro", "ro slab_nomerge", {}, State.FAIL),
    "built in": ("slab_nomerge", "ro", "ro", {"SLAB_MERGE_DEFAULT": "n"}, State.PASS),
    "built in, and switched off": (
        "init_on_alloc=1", "init_on_alloc=0", "init_on_alloc=0", {"INIT_ON_ALLOC_DEFAULT_ON": "y"}, State.FAIL,
    ),
    "the last one counts": (
        "init_on_alloc=1", "init_on_alloc=1 init_on_alloc=0", "init_on_alloc=0 init_on_alloc=1", {}, State.FAIL,
    ),
    "stricter is fine": ("lockdown=integrity", "lockdown=confidentiality", "lockdown=confidentiality",
                         {"SECURITY_LOCKDOWN_LSM": "y"}, State.PASS),
    "not in this kernel": ("lockdown=integrity", "ro", "ro", {"SECURITY_LOCKDOWN_LSM": "n"}, State.NOT_APPLICABLE),
    "not known what is configured": ("slab_nomerge", None, "slab_nomerge", {}, State.UNKNOWN),
    "not known what runs": ("slab_nomerge", "slab_nomerge", None, {}, State.UNKNOWN),
    "not known what is built in": ("slab_nomerge", "ro", "ro", Unknown("no config"), State.UNKNOWN),
    "not known what is built in, and given": ("slab_nomerge", "slab_nomerge", "slab_nomerge", Unknown("no config"),
                                              State.PASS),
    "not known whether this kernel has it": ("lockdown=integrity", "ro", "ro", Unknown("no config"), State.UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("case", BOOT)
def test_boot_parameter(case: str) -> None:
    word, disk, live, config, state = BOOT[case]
    configured = Unknown("no menu") if disk is None else tuple(disk.split())
    reading = replace(
        KERNEL,
        cmdline=Unknown("no cmdline") if live is None else tuple(live.split()),
        boot=replace(KERNEL.boot, configured=configured),
        config=config,
    )
    assert (
        verdict_of(f"kernel.boot.{word.partition('=')[0]}", survey_of(reading), boot_parameters=[word]).state is state
    )


BOOT_RULES: dict[str, Any] = {"boot_parameters": ["page_alloc.shuffle=1", "randomize_kstack_offset=on"]}


def test_boot_parameters_on_grub_converge_to_pending() -> None:
    policy = policy_of(**BOOT_RULES)
    changes = planned(survey_of(), policy)
    write = written(changes)
    assert (write.path, write.before) == (DROP_IN, None)
    assert 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX page_alloc.shuffle=1 randomize_kstack_offset=on"' in write.text
    after = applied(KERNEL, changes)
    pending = [f.state for f in judge(CONTROLS, survey_of(after), policy) if not f.state.holds]
    assert pending == [State.PENDING_REBOOT, State.PENDING_REBOOT]
    assert planned(survey_of(after), policy) == []


def test_a_word_that_comes_after_ours_is_told_and_a_stale_menu_is_made_anew() -> None:
    policy = policy_of(boot_parameters=["init_on_alloc=1"])
    text = grub.drop_in("init_on_alloc=1", "GRUB_CMDLINE_LINUX")
    defaults = {"/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="init_on_alloc=0"\n', DROP_IN: text}
    beaten = replace(KERNEL, boot=Boot("grub", "", ("init_on_alloc=1", "init_on_alloc=0"), defaults))
    (told,) = planned(survey_of(beaten), policy)
    assert isinstance(told, Blocked)
    assert "init_on_alloc=0 in /etc/default/grub" in told.why
    stale = replace(KERNEL, boot=Boot("grub", "", ("ro",), {DROP_IN: text}))
    (again,) = planned(survey_of(stale), policy)
    assert isinstance(again, Activate)
    assert "update-grub" in again.service.activate


def test_boot_parameters_on_rhel_and_without_grub() -> None:
    policy = policy_of(boot_parameters=["init_on_alloc=1", "slab_nomerge"])
    bls = replace(KERNEL, boot=Boot("bls", "m", ("ro", "init_on_alloc=0"), {}))
    (command,) = planned(survey_of(bls), policy)
    assert isinstance(command, Command)
    assert "--args='init_on_alloc=1 slab_nomerge'" in command.script
    assert "--remove-args='init_on_alloc=1 slab_nomerge'" in command.undo
    assert "--args=init_on_alloc=0" in command.undo
    none = replace(KERNEL, boot=Boot("none", "", Unknown("no boot loader is there"), {}))
    assert planned(survey_of(none), policy) == []


@pytest.mark.parametrize("waived", [False, True])
def test_a_word_of_ours_that_cannot_be_judged_or_is_waived_stays(waived: bool) -> None:
    """Another word fails: that is no reason to take this one off."""
    word = "page_alloc.shuffle=1"
    ours = grub.drop_in(word, "GRUB_CMDLINE_LINUX")
    reading = replace(
        KERNEL,
        boot=replace(KERNEL.boot, configured=("ro",) if waived else ("ro", word), defaults={DROP_IN: ours}),
        cmdline=("ro",) if waived else ("ro", word),
        config=KERNEL.config if waived else Unknown("no config"),
    )
    waiver = Waiver(control="kernel.boot.page_alloc.shuffle", reason="r", owner="o", until=date.max)
    policy = policy_of(boot_parameters=[word, "debugfs=off"])
    policy = Policy("test", policy.rules, (waiver,) if waived else ())
    write = written(planned(survey_of(reading), policy))
    assert write.what == "add debugfs=off to the boot parameters (in force after the next reboot)"
    assert f'$GRUB_CMDLINE_LINUX {word} debugfs=off"' in write.text
    bare = replace(reading, boot=replace(reading.boot, defaults={}))
    assert word not in written(planned(survey_of(bare), policy)).text, "nor is it added"
