"""Boot parameters that switch protections off: live, at the next boot, and as soon as the menu is made again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploys.core.change import Blocked
from deploys.core.control import State
from deploys.kernel.boot_parameters import by_hand_entry
from deploys.kernel.weakening import weakening
from facts.core.reading import Block, Section, Unknown
from facts.kernel.boot import DEFAULTS, parse
from tests.support.kernel_host import KERNEL, planned, policy_of, survey_of, verdict_of

CONTROL = "kernel.weakening-parameters"

# next boot, live, /etc/default/grub, accepted
LINES = {
    "none": ("ro quiet", "ro quiet", "quiet", [], State.PASS, "no word"),
    "now and then": ("ro nokaslr", "ro nokaslr", "nokaslr", [], State.FAIL, "nokaslr switches protections off now and"),
    "from the next boot on": ("ro mitigations=off", "ro", "", [], State.FAIL, "from the next boot on"),
    "until the next boot": ("ro", "ro nosmep", "", [], State.PENDING_REBOOT, "until the next boot"),
    "with the next menu": ("ro", "ro", "pti=off", [], State.FAIL, f"is made again ({DEFAULTS})"),
    "accepted": ("ro nokaslr", "ro nokaslr", "nokaslr", ["nokaslr"], State.PASS, "no word"),
    "another is not": ("ro nokaslr nopti", "ro", "", ["nokaslr"], State.FAIL, "nopti switches"),
    "not known": (None, "ro", "", [], State.UNKNOWN, "no menu"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_words_on_the_command_lines(case: str) -> None:
    disk, live, default, accepted, state, words = LINES[case]
    boot = replace(
        KERNEL.boot,
        configured=Unknown("no menu") if disk is None else tuple(disk.split()),
        defaults={DEFAULTS: f'# GRUB_CMDLINE_LINUX="nokaslr"\nGRUB_CMDLINE_LINUX="{default}"\n'},
    )
    host = survey_of(replace(KERNEL, cmdline=tuple(live.split()), boot=boot))
    verdict = verdict_of(CONTROL, host, weakening_parameters=accepted)
    assert (verdict.state, words in verdict.reason) == (state, True), verdict.reason


def test_without_the_key_nothing_is_judged() -> None:
    assert verdict_of(CONTROL, survey_of()).state is State.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mitigations=auto spectre_v2=off vsyscall=emulate", ["spectre_v2=off", "vsyscall=emulate"]),
        ("mitigations=off mitigations=auto", []),
        ("mitigations=auto mitigations=off", ["mitigations=off"]),
        ("clearcpuid=514,smap clearcpuid=rdrand", ["clearcpuid=514,smap"]),
        ("systemd.mask=systemd-sysctl.service systemd.mask=x.service", ["systemd.mask=systemd-sysctl.service"]),
        ("apparmor.mode=complain apparmor=1 security=selinux", ["apparmor.mode=complain"]),
        ("init_on_alloc=1 randomize_kstack_offset=0 root=/dev/off ro", ["randomize_kstack_offset=0"]),
    ],
)
def test_which_words_weaken(line: str, found: list[str]) -> None:
    assert list(weakening(line.split())) == found


MENU = """\
### BEGIN /etc/grub.d/00_header ###
   set default="0"
}
### BEGIN /etc/grub.d/10_linux ###
menuentry 'Debian' $menuentry_id_option 'simple' {
	linux	/boot/vmlinuz-6.12.1-amd64 root=/dev/vda1 ro quiet
}
### BEGIN /etc/grub.d/40_custom ###
%s
### BEGIN /etc/grub.d/41_custom ###
  source ${config_directory}/custom.cfg
"""
ENTRY = "menuentry 'mine' {\nlinux /boot/vmlinuz-6.12.1-amd64 root=/dev/vda1 ro apparmor=0\n}\n"


@pytest.mark.parametrize(
    ("script", "custom", "words", "file"),
    [
        ("", None, "ro quiet", ""),
        ("", ENTRY, "ro quiet", ""),
        ("", f"{ENTRY}set default=mine\n", "ro apparmor=0", "/boot/grub/custom.cfg"),
        ("", f"{ENTRY}default='mine'\n", "ro apparmor=0", "/boot/grub/custom.cfg"),
        (f"{ENTRY}set default=mine\n", None, "ro apparmor=0", "/etc/grub.d/40_custom"),
        (f"{ENTRY}set default=mine\n", "set default=simple\n", "ro quiet", ""),
    ],
)
def test_entries_written_by_hand(script: str, custom: str | None, words: str, file: str) -> None:
    blocks = {"menu /boot/grub": Block(0, MENU % script), "grubenv /boot/grub": Block(0, "# GRUB\n")}
    blocks |= {} if custom is None else {"custom /boot/grub": Block(0, custom)}
    boot = parse(Section(blocks))
    assert boot.configured == ("root=/dev/vda1", *words.split())
    assert boot.entry_file == file


def test_custom_cfg_that_cannot_be_read_leaves_the_next_boot_unknown() -> None:
    blocks = {"menu /boot/grub": Block(0, MENU % ""), "custom /boot/grub": Block(2, "grep: Permission denied")}
    assert isinstance(parse(Section(blocks)).configured, Unknown)


def test_an_entry_written_by_hand_gets_no_parameters_of_ours() -> None:
    boot = replace(KERNEL.boot, entry="mine", entry_file="/boot/grub/custom.cfg")
    (change,) = planned(survey_of(replace(KERNEL, boot=boot)), policy_of(boot_parameters=["slab_nomerge"]))
    assert isinstance(change, Blocked)
    assert change == by_hand_entry("kernel", "add slab_nomerge to the boot parameters", boot)
