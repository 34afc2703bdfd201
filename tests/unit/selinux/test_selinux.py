"""SELinux: the readings and their disagreement, and the stages from nothing to enforcing."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from deploys.core.change import Blocked, Command, Context, Install, WriteFile
from deploys.core.control import State
from deploys.core.policy_file import load_policy
from deploys.kernel.grub import drop_in
from deploys.lsm.controls import LsmRules
from deploys.selinux.controls import SELinuxRules
from deploys.selinux.stages import ACCEPT_DENIALS, ACCEPT_RETRY, DROP_IN, WORDS
from deploys.subjects import SUBJECTS
from facts.core.reverted import Reverted
from facts.denials import Denial, Gap
from facts.selinux import CONFIG, Labelled, SELinuxReading
from tests.support.apparmor import kernel
from tests.support.selinux import (
    BARE,
    BOOTED,
    CLOCK,
    DENIED,
    ENFORCING,
    PERMISSIVE,
    RULES,
    SELINUX_BOOT,
    changes,
    context,
    finding,
    selinux,
)

READ = Denial("selinux", "allowed", "sshd_t", "read", "shadow_t", "file", ("sshd",), (CLOCK - 60,))


INSTALLED = selinux("disabled")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (context(rules=SELinuxRules()), "does not declare"),
        (context(lsm=LsmRules(module="apparmor")), "does not want SELinux"),
        (context(lsm=LsmRules(module="auto"), live="apparmor"), "does not want SELinux"),
        (context(lsm=LsmRules()), "does not want SELinux"),
        (context(inside="lxc"), "a container (lxc)"),
    ],
)
def test_where_selinux_is_not_the_answer(where: Context, says: str) -> None:
    found = [f for f in where.findings.values() if f.control.subject == "selinux"]
    assert {f.state for f in found} == {State.NOT_APPLICABLE}
    assert all(says in f.verdict.reason for f in found)
    assert changes(where) == []


def test_a_permissive_host_does_not_pass_the_baseline() -> None:
    baseline = load_policy("baseline", SUBJECTS)
    rules: dict[str, Any] = {"rules": baseline[SELinuxRules], "lsm": baseline[LsmRules]}
    for family in ("rhel", "debian"):
        assert finding(context(selinux("permissive"), family=family, **rules)).state is State.FAIL
        assert finding(context(family=family, **rules)).state is State.PASS
    assert finding(context(BARE, live="apparmor", **rules)).state is State.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("reading", "boot", "says"),
    [
        (selinux("permissive", "enforcing"), SELINUX_BOOT, "SELinux is permissive in the kernel"),
        (selinux("enforcing", "permissive"), SELINUX_BOOT, "/etc/selinux/config has SELINUX=permissive"),
        (selinux("enforcing", "disabled"), SELINUX_BOOT, "/etc/selinux/config has SELINUX=disabled"),
        (ENFORCING, kernel(("selinux=0",)), "the next boot's command line has selinux=0"),
        (ENFORCING, kernel(("security=selinux", "enforcing=0")), "command line has enforcing=0"),
        (ENFORCING, kernel(("security=apparmor",)), "command line has security=apparmor"),
        (selinux("enforcing", "enforcing", policy_loaded=False), SELINUX_BOOT, "no SELinux policy loaded"),
        (selinux("enforcing", "enforcing", type="mls"), SELINUX_BOOT, "the policy mls, which is not installed"),
        (selinux("enforcing", "enforcing", relabel_pending=True), SELINUX_BOOT, "/.autorelabel"),
        (selinux("enforcing", "enforcing", labelled=False), SELINUX_BOOT, "files of this host have no SELinux labels"),
        (selinux("disabled", "enforcing"), SELINUX_BOOT, "SELinux is disabled"),
    ],
)
def test_the_reading_that_moved_is_named(reading: SELinuxReading, boot: Any, says: str) -> None:
    found = finding(context(reading, boot))
    assert found.state is State.FAIL
    assert says in found.verdict.reason
    assert "; " not in found.verdict.reason.split("; the policy wants enforcing (selinux.enforcing)")[0]


@pytest.mark.parametrize("field", ["mode", "config_mode", "policy_loaded", "policies", "labelled"])
def test_what_cannot_be_read_is_unknown(field: str) -> None:
    where = context(selinux(**{"mode": "enforcing", "says": "enforcing", field: DENIED}))
    assert finding(where).state is State.UNKNOWN
    assert finding(context(ENFORCING, kernel(DENIED))).state is State.UNKNOWN


def test_all_readings_agree() -> None:
    where = context()
    assert finding(where).state is State.PASS
    assert changes(where) == []


def test_first_the_packages_and_with_them_all_that_a_boot_needs() -> None:
    where = context(BARE, kernel(("ro",)))
    install, label, boot = changes(where)
    assert isinstance(install, Install)
    assert "selinux-policy-default" in install.packages
    assert "stage 1 of 5, one reboot to come" in install.what
    assert "one reboot to come" in finding(where).verdict.reason
    assert isinstance(label, Command)
    assert "does not say permissive: run harden again" in label.script, "what the package brings"
    assert isinstance(boot, WriteFile)
    red_hat = changes(context(BARE, kernel(("ro",), "bls"), family="rhel"))
    assert "container-selinux" in red_hat[0].packages  # type: ignore[attr-defined]
    (blocked,) = changes(context(BARE, family="arch"))
    assert isinstance(blocked, Blocked)
    (tools,) = changes(context(selinux(setfiles=False)))
    assert isinstance(tools, Install), "SELinux runs: it is not the time to label everything"
    config, *_ = changes(context(selinux("disabled", "enforcing", setfiles=False), kernel(("ro",))))[1:]
    assert isinstance(config, WriteFile)
    assert config.path == CONFIG


def test_then_labels_and_the_command_line_with_permissive_on_disk_first() -> None:
    config, label, boot = changes(context(selinux("disabled", "enforcing"), kernel(("ro",))))
    assert isinstance(config, WriteFile)
    assert config.path == CONFIG
    assert config.text == PERMISSIVE
    assert isinstance(label, Command)
    assert label.script.startswith("TYPE=default unshare --mount ")
    assert isinstance(boot, WriteFile)
    assert (boot.path, boot.text) == (DROP_IN, drop_in(WORDS))
    assert "without AppArmor" in boot.what
    assert [type(change) for change in changes(context(INSTALLED, kernel(("ro",))))] == [Command, WriteFile]


def test_red_hats_boot_loader_and_its_kernel_without_a_policy() -> None:
    reading = selinux("permissive", "disabled", policy_loaded=False, type="targeted", policies=("targeted",))
    assert [type(change) for change in changes(context(reading, kernel(("ro",), "bls"), family="rhel"))] == [
        WriteFile, Command,
    ]  # fmt: skip
    config, _, boot = changes(context(reading, kernel(("selinux=0",), "bls"), family="rhel"))
    assert isinstance(config, WriteFile)
    assert isinstance(boot, Command)
    assert f"--args='{WORDS}'" in boot.script


@pytest.mark.parametrize(
    ("words", "back"),
    [
        ("selinux=0", "selinux=0"),
        ("enforcing=0", "enforcing=0"),
        ("selinux=0 enforcing=0 security=apparmor", "selinux=0 enforcing=0 security=apparmor"),
        ("selinux=1 selinux=0", "selinux=0"),  # the last counts
    ],
)
def test_an_undo_gives_red_hats_boot_loader_its_old_words_back(words: str, back: str) -> None:
    reading = selinux("permissive", policy_loaded=False, type="targeted", policies=("targeted",))
    boot = changes(context(reading, kernel(("ro", *words.split()), "bls"), family="rhel"))[-1]
    assert isinstance(boot, Command)
    assert boot.undo.startswith(f"grubby --update-kernel=ALL --remove-args='{WORDS}' && ")
    assert boot.undo.endswith(f" && grubby --update-kernel=ALL --args={shlex.quote(back)}")


def test_an_undo_on_debian_takes_away_the_words_of_ours_alone() -> None:
    """Theirs, which ours came after, stand where they stood."""
    defaults = {"/etc/default/grub": 'GRUB_CMDLINE_LINUX="selinux=0"\n'}
    boot = changes(context(INSTALLED, kernel(("selinux=0",), defaults=defaults)))[-1]
    assert isinstance(boot, WriteFile)
    assert (boot.path, boot.before) == (DROP_IN, None)


@pytest.mark.parametrize(
    ("boot", "says"),
    [
        (kernel(("ro",), "none"), "did not write"),
        (kernel(("lsm=landlock,apparmor",)), "ignores security= then"),
    ],
)
def test_a_command_line_that_is_not_ours(boot: Any, says: str) -> None:
    (blocked,) = changes(context(INSTALLED, boot))
    assert isinstance(blocked, Blocked)
    assert says in blocked.why


def test_then_one_reboot() -> None:
    where = context(INSTALLED, SELINUX_BOOT)
    assert finding(where).state is State.PENDING_REBOOT
    assert "Next, reboot the host" in finding(where).verdict.reason
    assert "stage 2 of 5, one reboot to come" in finding(where).verdict.reason
    assert changes(where) == []
    bare = changes(context(selinux("disabled", labelled=False), SELINUX_BOOT))
    assert [type(change) for change in bare] == [Command], "somebody set the words, and nobody labelled"


def test_then_it_is_observed_from_this_boot_on() -> None:
    (command,) = changes(context(selinux()))
    assert isinstance(command, Command)
    assert "begin to observe" in command.what
    assert "MARK=/run/" in command.script, "which a reboot forgets"
    watching = context(selinux(observed_since=CLOCK - 3600), denials=(READ,))
    (blocked,) = changes(watching)
    assert isinstance(blocked, Blocked)
    assert "Denials are observed until 1970-01-13" in blocked.why
    assert (blocked.accepts, blocked.by_hand) == ((), ""), "there is nothing but to wait"
    assert "Denials are observed until 1970-01-13" in finding(watching).verdict.reason
    assert "stage 3 of 5, no reboot to come" in finding(watching).verdict.reason
    assert "sshd (sshd_t) the permission read on shadow_t:file" in finding(watching).verdict.reason


def test_records_that_were_lost_have_it_watched_longer() -> None:
    lost, before = Gap(CLOCK - 20 * 3600, "auditd's log begins only then"), Gap(CLOCK - 26 * 3600, "too early")
    over = {"observed_since": CLOCK - 25 * 3600}
    again = context(selinux(**over), gaps=(lost, before))
    assert [type(c) for c in changes(again)] == [Blocked]
    said = "until 1970-01-12 17:46 UTC, since the record of denials before 1970-01-11 17:46 UTC is incomplete: auditd"
    assert said in finding(again).verdict.reason
    assert [type(c) for c in changes(context(selinux(**over), gaps=(before,)))] == [Command]
    at_once = SELinuxRules(enforcing=True, observe_hours=0)
    assert [type(c) for c in changes(context(selinux(**over), gaps=(lost,), rules=at_once))] == [Command]


def test_denials_keep_it_permissive_and_the_ways_out_are_said() -> None:
    over = selinux(observed_since=CLOCK - 25 * 3600)
    held = context(over, denials=(READ,))
    (blocked,) = changes(held)
    assert isinstance(blocked, Blocked)
    for words in ("stays permissive", "audit2allow", "semanage permissive -a sshd_t"):
        assert words in finding(held).verdict.reason
        assert words in blocked.why
    assert blocked.by_hand.startswith("change the policy or the labels")
    assert blocked.accepts == (ACCEPT_DENIALS,)
    (command,) = changes(context(over, denials=(READ,), accept=ACCEPT_DENIALS))
    assert isinstance(command, Command)
    assert command.commit_confirmed


def test_the_ways_out_lead_out() -> None:
    """A domain made permissive is not in the way; and what another policy refused says nothing of the one of now."""
    over = {"observed_since": CLOCK - 50 * 3600}
    assert [type(c) for c in changes(context(selinux(**over, permissive=("sshd_t",)), denials=(READ,)))] == [Command]
    mended = selinux(**over, policy_changed=CLOCK - 30)
    assert [type(c) for c in changes(context(mended, denials=(READ,)))] == [Blocked]
    assert "so far there are none" in finding(context(mended, denials=(READ,))).verdict.reason
    at_once = SELinuxRules(enforcing=True, observe_hours=0)
    assert [type(c) for c in changes(context(mended, rules=at_once, denials=(READ,)))] == [Command]


def test_what_this_boot_showed_counts_too_but_for_files_that_have_their_label_now() -> None:
    early = {"observed_since": CLOCK - 50 * 3600}
    at_boot = Denial(
        "selinux", "allowed", "systemd_networkd_t", "map_create", "systemd_networkd_t", "bpf", (), (BOOTED,)
    )
    bare = Denial("selinux", "allowed", "sshd_t", "read", "unlabeled_t", "file", (), (BOOTED,))
    assert "map_create" in finding(context(selinux(**early), denials=(at_boot,))).verdict.reason
    assert [type(c) for c in changes(context(selinux(**early), denials=(bare,)))] == [Command]
    again = Denial("selinux", "allowed", "sshd_t", "read", "unlabeled_t", "file", (), (BOOTED, CLOCK - 60))
    assert "(once): the file has no proper label" in finding(context(selinux(**early), denials=(again,))).verdict.reason


def test_what_the_host_took_back_is_not_tried_again_unasked() -> None:
    over = {"observed_since": CLOCK - 25 * 3600}
    taken = Reverted("r", "1970-01-12T12:00:00Z", "")
    held = context(selinux(**over, reverted=taken))
    (blocked,) = changes(held)
    assert isinstance(blocked, Blocked)
    for words in (
        "by itself at 1970-01-12T12:00:00Z: no connection to the host",
        "SELinux stays permissive (stage 3 of 5",
    ):
        assert words in finding(held).verdict.reason
    assert blocked.by_hand.startswith("find out why the host went back")
    assert blocked.accepts == (ACCEPT_RETRY,)
    back, both = selinux(**over, reverted=taken), {"denials": (READ,)}
    assert [type(c) for c in changes(context(back, accept=ACCEPT_RETRY))] == [Command]
    assert [type(c) for c in changes(context(back, accept=ACCEPT_RETRY, **both))] == [Blocked]
    assert [type(c) for c in changes(context(back, accept=f"{ACCEPT_RETRY} {ACCEPT_DENIALS}", **both))] == [Command]
    at_boot = Reverted("boot", "1970-01-12T12:00:00Z", "docker.service does not run")
    assert "docker.service does not run" in finding(context(selinux(reverted=at_boot))).verdict.reason
    mended = selinux(observed_since=taken.clock, reverted=taken, policy_changed=taken.clock + 1)
    (command,) = changes(context(mended, rules=SELinuxRules(enforcing=True, observe_hours=0)))
    assert isinstance(command, Command)
    assert command.commit_confirmed
    unread = context(selinux(**over, reverted=DENIED))
    assert finding(unread).state is State.UNKNOWN


def test_without_denials_it_enforces_with_a_way_back() -> None:
    for rules, since in ((RULES, CLOCK - 25 * 3600), (SELinuxRules(enforcing=True, observe_hours=0), CLOCK)):
        (command,) = changes(context(selinux(observed_since=since), rules=rules))
        assert isinstance(command, Command)
        assert command.script == "echo 1 >/sys/fs/selinux/enforce"
        assert command.commit_confirmed
        assert command.undo == "echo 0 >/sys/fs/selinux/enforce"
        assert command.interrupts == ""


def test_whose_output_will_be_lost_is_said_before() -> None:
    label = "system_u:system_r:container_t:s0:c1,c2"
    login = Labelled("a1", "", label, "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023")
    service = Labelled("a2", "", label, "system_u:system_r:container_runtime_t:s0")
    (command,) = changes(context(selinux(observed_since=CLOCK - 25 * 3600, podman=(login, service))))
    assert command.interrupts.startswith("the output of Podman's containers a1 is lost, since a login session")


def test_at_last_it_is_on_disk() -> None:
    gate, write = changes(context(selinux("enforcing", "permissive")))
    assert isinstance(gate, Command)
    assert "the first boot in enforcing goes back" in gate.what
    assert isinstance(write, WriteFile)
    assert write.text == PERMISSIVE.replace("permissive", "enforcing")
    (blocked,) = changes(context(ENFORCING, kernel(("security=selinux", "enforcing=0"))))
    assert isinstance(blocked, Blocked)
