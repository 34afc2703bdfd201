"""Boot parameters that may keep a kernel from booting: judged, blocked where they would, tried before they last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from deploys.core.change import ACCEPT_RETRY, Blocked, Change, Command, Context, WriteFile
from deploys.core.control import State, judge
from deploys.core.policy import Policy
from deploys.kernel import grub
from deploys.kernel.boot_parameters import ROWS
from deploys.kernel.controls import CONTROLS
from deploys.kernel.rules import KernelRules
from facts.core.reading import Unknown
from facts.kernel.boot import DROP_IN
from facts.kernel.boot_words import BootWords, TriedWords
from facts.kernel.kernel import KernelReading
from facts.kernel.modules import Modules, Root
from facts.kernel.updates import GATE_FILES, GATE_SCRIPT, GATE_UNIT, NeedRestart, Updates
from tests.support.kernel_host import KERNEL, SUBJECT, survey_of, verdict_of

WORD = "lockdown=integrity"
RULES: dict[str, Any] = {"boot_parameters": ["slab_nomerge", WORD]}
SIGNED = Modules({"wireguard": "O"}, Root("ext4", ("ext4",)))
UPDATES = Updates((), 0, "", (), 0, 0, {}, NeedRestart.SILENT, "", None, (), dict.fromkeys(GATE_FILES))
BOOT = replace(KERNEL.boot, once="", releases=(KERNEL.release,))
HOST = replace(KERNEL, found=SIGNED, updates=UPDATES, boot=BOOT)
RUNS = ("ro", WORD)


def plan(kernel: KernelReading, *accept: str, **rules: Any) -> list[Change]:
    policy = Policy("test", {KernelRules: KernelRules(**{**RULES, **rules})}, accept=frozenset(accept))
    survey = survey_of(kernel)
    return list(SUBJECT.plan(Context(survey, policy, {f.control.id: f for f in judge(CONTROLS, survey, policy)})))


def about(changes: Sequence[Change]) -> list[Change]:
    """Those that are about the word."""
    return [change for change in changes if "lockdown" in change.what]


def lockdown(kernel: KernelReading) -> Any:
    return verdict_of("kernel.boot.lockdown", survey_of(kernel), **RULES)


def test_what_is_risky() -> None:
    assert [row.name for row in ROWS if row.risky] == ["lockdown", "module.sig_enforce", "iommu"]
    assert [row.name for row in ROWS if row.signed] == ["lockdown", "module.sig_enforce"]


def test_it_is_tried_and_on_no_entry_for_good() -> None:
    changes = plan(HOST)
    (drop_in,) = (change for change in changes if isinstance(change, WriteFile) and change.path == DROP_IN)
    assert 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX slab_nomerge"' in drop_in.text
    assert [change.path for change in changes if isinstance(change, WriteFile)][1:] == [GATE_SCRIPT, GATE_UNIT]
    (trial,) = about(changes)
    assert isinstance(trial, Command)
    assert trial.script.endswith(f"\ntry_words 600 0 {WORD}\n")
    assert trial.undo.endswith(f"\nforget_words {WORD}\n")
    for words in (
        "that boot only",
        "if the boot health check passes",
        "reset the host",
        "the boot after it is without",
    ):
        assert words in trial.what
    (trial,) = about(plan(HOST, reboot="now"))
    assert isinstance(trial, Command)
    assert trial.script.endswith(f"\ntry_words 600 1 {WORD}\n")
    assert "the host reboots without it by itself" in trial.what


ARMED = replace(HOST, words=BootWords((WORD,), "b"), boot=replace(BOOT, once_words=(WORD, "panic=30")))


def test_while_it_waits_for_the_boot() -> None:
    verdict = lockdown(ARMED)
    assert (verdict.state, verdict.disk) == (State.PENDING_REBOOT, f"{WORD}, once")
    assert about(plan(ARMED)) == []
    lost = replace(ARMED, boot=BOOT)
    assert lockdown(lost).state is State.FAIL, "somebody has taken it out of GRUB's environment"
    assert isinstance(about(plan(lost))[0], Command)


def test_while_the_host_checks_the_boot() -> None:
    checking = replace(HOST, words=BootWords((WORD,), "before"), cmdline=RUNS)
    assert lockdown(checking).state is State.UNKNOWN
    assert about(plan(checking)) == []
    silent = replace(HOST, words=BootWords((WORD,), "before"))
    assert lockdown(silent).state is State.FAIL
    assert "hullproof-boot-gate" in lockdown(silent).reason


KEPT = TriedWords((WORD,), "kept", "", "", "2027-01-02T03:04:05Z", "b")


def test_kept_it_is_like_any_other() -> None:
    kept = replace(HOST, words=BootWords(last=KEPT), cmdline=RUNS, boot=replace(BOOT, configured=RUNS))
    assert lockdown(kept).state is State.PASS
    assert about(plan(kept)) == []


@pytest.mark.parametrize("cmdline", [("ro",), RUNS], ids=["gone", "until the next boot"])
def test_what_did_not_pass_waits_for_a_word(cmdline: tuple[str, ...]) -> None:
    last = replace(KEPT, result="refused", gate="modules", why="the kernel refused zfs")
    refused = replace(HOST, words=BootWords(last=last), cmdline=cmdline)
    verdict = lockdown(refused)
    assert verdict.state is State.FAIL
    assert "failed its trial on 2027-01-02 (modules: the kernel refused zfs)" in verdict.reason
    (change,) = about(plan(refused))
    assert isinstance(change, Blocked)
    assert change.accepts == (ACCEPT_RETRY,)
    (change,) = about(plan(refused, ACCEPT_RETRY))
    assert isinstance(change, Command)
    assert "try_words" in change.script


ZFS = Modules({"zfs": "POE", "spl": "OE", "vboxdrv": "OE", "wireguard": "O"}, Root("zfs", ("spl", "zfs")))


@pytest.mark.parametrize("word", [WORD, "module.sig_enforce=1"])
def test_modules_without_a_signature_block_it(word: str) -> None:
    built = replace(UPDATES, built={KERNEL.release: ("vboxdrv", "v4l2-loopback")})
    host = replace(HOST, found=ZFS, updates=built, config={**HOST.config, "MODULE_SIG": "y"})  # type: ignore[dict-item]
    changes = plan(host, boot_parameters=["slab_nomerge", word])
    (blocked,) = (change for change in changes if isinstance(change, Blocked))
    for words in ("spl, vboxdrv, zfs", "the root file system (zfs) needs spl, zfs", "DKMS built vboxdrv", "mokutil",
                  f"remove {word} from the policy (kernel.boot_parameters)"):  # fmt: skip
        assert words in blocked.why, blocked.why
    assert not any(isinstance(change, Command) for change in changes)
    (drop_in,) = (change for change in changes if isinstance(change, WriteFile))
    assert word not in drop_in.text
    assert lockdown(host).state is State.FAIL


def test_a_module_that_came_after_ends_the_trial() -> None:
    command, blocked = about(plan(replace(ARMED, found=ZFS)))
    assert isinstance(command, Command)
    assert command.script.endswith(f"\nforget_words {WORD}\n")
    assert isinstance(blocked, Blocked)


def test_where_modules_could_not_be_read() -> None:
    (blocked,) = about(plan(replace(HOST, found=Modules(Unknown("no answer"), Unknown("no answer")))))
    assert isinstance(blocked, Blocked)
    assert "modules are signed (no answer)" in blocked.why


def test_modules_matter_to_what_refuses_them_alone() -> None:
    changes = plan(replace(HOST, found=ZFS), boot_parameters=["iommu=force"])
    assert any(isinstance(change, Command) and "try_words 600 0 iommu=force" in change.script for change in changes)


def test_modules_that_are_built_and_not_loaded_are_named() -> None:
    (trial,) = about(plan(replace(HOST, updates=replace(UPDATES, built={KERNEL.release: ("v4l2-loopback",)}))))
    assert "v4l2_loopback, built by DKMS" in trial.interrupts


@pytest.mark.parametrize(
    ("once", "releases", "words"),
    [
        ("GRUB cannot write its environment on zfs", (KERNEL.release,), "cannot write its environment on zfs"),
        (Unknown("no findmnt"), (KERNEL.release,), "no findmnt"),
        ("", ("6.1.0-49-amd64",), "no entry for the running"),
    ],
)
def test_a_host_that_cannot_try(once: Any, releases: tuple[str, ...], words: str) -> None:
    cannot = replace(HOST, boot=replace(BOOT, once=once, releases=releases))
    changes = plan(cannot)
    (blocked,) = about(changes)
    assert isinstance(blocked, Blocked)
    assert words in blocked.why
    assert f"add {WORD} to the line that begins with linux" in blocked.by_hand
    assert WORD not in "".join(change.text for change in changes if isinstance(change, WriteFile))
    by_hand = replace(cannot, cmdline=RUNS)
    (keep,) = about(plan(by_hand))
    assert isinstance(keep, Command)
    assert keep.script.endswith(f"\nkeep_words {WORD}\n")


def test_what_an_earlier_version_put_on_every_entry() -> None:
    text = grub.drop_in(f"slab_nomerge {WORD}", "GRUB_CMDLINE_LINUX")
    there = replace(BOOT, configured=("ro", "slab_nomerge", WORD), defaults={DROP_IN: text})
    waits = replace(HOST, boot=there, cmdline=("ro", "slab_nomerge"))
    changes = plan(waits)
    (file,) = (change for change in changes if isinstance(change, WriteFile) and change.path == DROP_IN)
    assert WORD not in file.text, "the host has not booted with it: it goes on trial like any other"
    assert "slab_nomerge" in file.text
    assert [type(change) for change in about(changes)] == [WriteFile, Command]
    blocked = plan(replace(waits, found=ZFS))
    assert any(isinstance(change, WriteFile) and change.path == DROP_IN for change in blocked)
    assert any(isinstance(change, Blocked) for change in about(blocked))
    booted = replace(HOST, boot=there, cmdline=("ro", "slab_nomerge", WORD))
    assert plan(booted) == []


def test_boot_loader_entries_too() -> None:
    bls = replace(HOST, boot=replace(BOOT, loader="bls"))
    command, *files, trial = plan(bls)
    assert isinstance(command, Command)
    assert isinstance(trial, Command)
    assert "--args=slab_nomerge" in command.script
    assert WORD not in command.script
    assert f"try_words 600 0 {WORD}" in trial.script
    assert len(files) == 2
