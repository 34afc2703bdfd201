"""The way back, as the host's own shell runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.core import templates
from facts.kernel.boot_words import WORDS
from facts.kernel.updates import TRIAL
from tests.support.kernel_trial_host import NEW, NEW_ENTRY, NEW_VERSION, OLD, OLD_ENTRY, OLD_VERSION, Host, menu


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_running_kernel_is_kept_as_default_before_anything_else_happens(host: Host) -> None:
    assert host.sh("keep").returncode == 0
    assert host.grub() == {"saved_entry": OLD_ENTRY}
    assert 'set default="${saved_entry}"' in host.get("boot/grub/grub.cfg")
    assert "panic=30" in host.get("etc/default/grub.d/98-hullproof-boot.cfg")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("abstraction", "lvm", "cannot write its environment on lvm"),
        ("abstraction", "diskfilter", "diskfilter"),
        ("boot/grub/grub.cfg", menu(NEW), f"no entry for {OLD}"),
    ],
)
def test_nothing_is_kept_where_there_is_no_way_back(host: Host, name: str, text: str, words: str) -> None:
    host.put(name, text)
    done = host.sh("keep")
    assert done.returncode != 0
    assert words in done.stdout
    assert host.grub() == {}


def test_armed_it_boots_the_newest_kernel_of_its_kind_once(host: Host) -> None:
    host.armed()
    assert host.grub() == {"saved_entry": OLD_ENTRY, "next_entry": NEW_ENTRY}
    assert "systemctl reboot" in host.get("systemctl")
    trial = {path.name: path.read_text().split() for path in host.trial.iterdir()}
    assert (trial["release"], trial["version"], trial["old"]) == ([NEW], [NEW_VERSION], [OLD])
    assert (trial["containers"], trial["ports"], trial["ways"]) == (
        ["c1", "any", "webc1", "c2", "any", "webc2"],
        ["22"],
        ["IPv4", "default", "route", "via", "10.0.2.2", "on", "ens3"],
    )
    assert "apparmor" in trial["lsm"]
    assert host.sh("settled boot-1").stdout == ""


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("rm $ROOT/boot/initrd.img-NEW", "initrd.img-NEW does not exist"),
        ("echo '(cut short)' >$ROOT/boot/initrd.img-NEW", "has no init"),
        (": >$ROOT/lib/modules/NEW/modules.dep", "is incomplete"),
        ("environment set saved_entry=0", "is not GRUB's default"),
        ("rm -r $ROOT/etc/systemd", "(hullproof-boot-gate.service) is not enabled"),
        ("rm $ROOT/docker-up", "could not be recorded"),
        (": >$ROOT/route", "could not be recorded: there is no default route, and none to the SSH client"),
        ("sed -i 's/panic=30/panic=0/' $ROOT/boot/grub/grub.cfg", "would not reboot after a panic of NEW"),
        ("echo lvm >$ROOT/abstraction", "lvm"),
        ("mkdir -p $S; echo 'NEW VERSION' >$S/rejected", "failed its boot health check before"),
    ],
)
def test_it_does_not_reboot_where_something_is_wrong(host: Host, spoil: str, words: str) -> None:
    host.sh("keep")
    host.sh(spoil.replace("NEW", NEW).replace("VERSION", NEW_VERSION))
    done = host.sh("arm 60 0 0 '' ''")
    assert done.returncode != 0
    assert words.replace("NEW", NEW) in done.stdout
    assert "next_entry" not in host.grub()
    assert "reboot" not in host.get("systemctl")


def test_a_window_that_is_over_and_nothing_newer(host: Host) -> None:
    host.sh("keep")
    assert "the maintenance window is over" in host.sh("arm 60 1000 0 '' ''").stdout
    host.put("uname", NEW)
    done = host.sh("arm 60 0 0 '' ''")
    assert (done.returncode, "is running already" in done.stdout) == (0, True)
    assert host.sh("settled boot-1").stdout.startswith("ok not rebooted: no newer")
    assert "reboot" not in host.get("systemctl")


def test_a_command_before_the_reboot_that_fails_keeps_the_host_up(host: Host) -> None:
    host.sh("keep")
    done = host.sh("arm 60 0 0 'echo no; false' 'echo back >$ROOT/after'")
    assert done.returncode != 0
    assert "the command before the reboot (kernel.drain.before) failed: no" in done.stdout
    assert host.get("after") == "back\n"
    assert "reboot" not in host.get("systemctl")


def test_where_systemd_does_not_reboot_all_is_taken_back(host: Host) -> None:
    (host.root / "bin/systemd-run").write_text("#!/bin/sh\nexit 1\n")
    host.sh("keep")
    done = host.sh("arm 60 0 0 true 'echo back >$ROOT/after'")
    assert (done.returncode, "systemd could not schedule the reboot" in done.stdout) == (1, True)
    assert (host.get("after"), host.grub()) == ("back\n", {"saved_entry": OLD_ENTRY})
    assert not host.trial.exists()


def test_security_modules_that_the_next_boot_was_to_change_are_no_fault_of_the_kernel(host: Host) -> None:
    host.sh("keep; sed -i 's/ ro / ro security=selinux /' $ROOT/boot/grub/grub.cfg")
    assert host.sh("arm 60 0 0 '' ''").returncode == 0
    host.put("sys/kernel/security/lsm", "lockdown,capability,yama,selinux")
    host.put("sys/kernel/security/apparmor/profiles", "")
    host.boots(NEW).sh("gate")
    assert host.last()["result"] == "confirmed"


def lasting(host: Host, now: str, new: str) -> list[str]:
    """What the next boot has to show, where this one was given `now` and the new kernel is given `new`."""
    host.put("sys/kernel/security/lsm", "lockdown,capability,landlock,yama,apparmor")
    host.put("proc/cmdline", f"ro {now}")
    host.sh(f"sed -i 's/ ro/ ro {new}/' $R/boot/grub/grub.cfg")
    return [line for line in host.sh(f"lsms | lasting {NEW}").stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("now", "new", "gone"),
    [
        ("", "", []),
        ("", "security=selinux", ["apparmor", "AppArmor profiles"]),
        ("lsm=a,b", "lsm=a,b apparmor=0", ["apparmor", "AppArmor profiles"]),
        ("", "lsm=lockdown,yama,selinux", ["capability", "landlock", "apparmor", "AppArmor profiles"]),
    ],
)
def test_only_modules_that_the_next_boot_was_to_change_may_be_gone(
    host: Host, now: str, new: str, gone: list[str]
) -> None:
    there = ["lockdown", "capability", "landlock", "yama", "apparmor", "AppArmor profiles"]
    assert lasting(host, now, new) == [name for name in there if name not in gone]


@pytest.mark.parametrize(("before", "after", "words"), [("0", "1", ""), ("1", "0", "gone: SELinux enforcing")])
def test_selinux_may_become_stricter_and_not_laxer(host: Host, before: str, after: str, words: str) -> None:
    host.put("sys/fs/selinux/enforce", before)
    host.armed("60", "0", "0", "''", "''").boots(NEW).put("sys/fs/selinux/enforce", after)
    host.sh("gate")
    assert (host.last().get("result") == "confirmed") is (words == "")
    assert words in host.get(f"{host.trial}/failed")


def test_a_good_boot_is_confirmed_and_becomes_the_default(host: Host) -> None:
    host.armed("60", "0", "0", "'echo drained >>$ROOT/hooks'", "'echo back >>$ROOT/hooks'").boots(NEW)
    done = host.sh("gate")
    assert done.returncode == 0, done.stderr
    assert host.grub() == {"saved_entry": NEW_ENTRY}
    assert (host.last()["result"], host.last()["release"]) == ("confirmed", NEW)
    assert host.get("started").split() == ["c1", "c2"]
    assert host.get("hooks").split() == ["drained", "back"]
    assert host.sh("settled boot-1").stdout.startswith(f"ok {NEW} {NEW_VERSION} is running")
    assert not host.trial.exists()
    assert host.sh("gate").returncode == 0, "there is nothing more to confirm"


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        ("mkdir $T/began", "disk", "etc/hullproof/trial cannot be written"),
        ("mv $S $ROOT/unmounted", "disk", "/var may not be mounted"),
        ("mv $ROOT/boot $ROOT/unmounted", "disk", "/boot may not be mounted"),
        ("rm $ROOT/docker-up", "engine", "Cannot connect to the Docker daemon"),
        (": >$ROOT/broken", "containers", "webc1 is not running, webc2 is not running"),
        ("echo lockdown,capability,yama >$ROOT/sys/kernel/security/lsm", "lsm", "gone: apparmor"),
        (": >$ROOT/sys/kernel/security/apparmor/profiles", "lsm", "AppArmor profiles"),
        (": >$ROOT/route", "network", "no IPv4 default route via 10.0.2.2 on ens3"),
        (": >$ROOT/listens", "ssh", "no program listens on port 22"),
    ],
)
def test_a_boot_that_does_not_pass_goes_back_and_says_why(host: Host, spoil: str, check: str, words: str) -> None:
    host.armed("60", "0", "0", "''", "''").boots(NEW)
    host.sh(spoil)
    host.sh("gate")
    assert host.get("systemctl").splitlines()[-1] == "reboot"
    host.sh(
        "touch $ROOT/docker-up; rm -f $ROOT/broken;"
        "[ ! -e $ROOT/unmounted ] || [ -e $S ] || mv $ROOT/unmounted $S; [ -e $G ] || mv $ROOT/unmounted $ROOT/boot"
    )
    assert host.grub() == {"saved_entry": OLD_ENTRY}
    host.boots(OLD, 3).sh("gate")
    assert (host.last()["result"], host.last()["gate"]) == ("returned", check)
    assert words in host.last()["why"]
    assert host.get("var/lib/hullproof/boot/rejected") == f"{NEW} {NEW_VERSION}\n"
    assert host.running() == ["c1", "c2"], "its containers run again"
    assert host.sh("settled boot-1").stdout.startswith(
        f"fail {NEW} {NEW_VERSION} failed its boot health check ({check}"
    )


def test_a_kernel_that_never_came_up_and_one_that_crashed(host: Host) -> None:
    host.armed().boots(OLD).sh("gate")
    assert (host.last()["result"], host.last()["gate"]) == ("returned", "boot")
    host.armed("60", "0", "1", "''", "''").boots(NEW, 3).sh(": >$T/began")
    host.boots(OLD, 4).sh("gate")
    assert (host.last()["result"], host.last()["gate"]) == ("returned", "crash")
    assert host.get("var/lib/hullproof/boot/rejected") == f"{NEW} {NEW_VERSION}\n", "named once"


def test_a_kernel_that_passes_at_the_second_try_is_rejected_no_more(host: Host) -> None:
    host.put("var/lib/hullproof/boot/rejected", f"{NEW} {NEW_VERSION}\n6.1.0-40-cloud-amd64 6.1.40-1")
    host.armed("60", "0", "1", "''", "''").boots(NEW).sh("gate")
    assert host.last()["result"] == "confirmed"
    assert host.get("var/lib/hullproof/boot/rejected").split("\n")[0] == "6.1.0-40-cloud-amd64 6.1.40-1"


def test_a_kernel_that_grub_was_not_told_of_or_did_not_take_is_not_rejected(host: Host) -> None:
    host.armed().sh("rm $T/armed")
    host.boots(OLD).sh("gate")
    assert host.last()["result"] == "not-tried"
    host.armed().boots(OLD, 3)
    host.sh(f"environment set next_entry='{NEW_ENTRY}'; gate")
    assert (host.last()["result"], host.last()["gate"]) == ("not-tried", "grub")
    assert "next_entry" not in host.grub()
    assert not (host.state / "rejected").exists()


def test_the_gate_does_nothing_before_the_reboot(host: Host) -> None:
    host.armed().sh("gate")
    assert host.trial.exists()
    assert host.last() == {}


def test_restoring_after_a_confirmed_kernel_keeps_the_old_one_as_default(host: Host) -> None:
    host.armed().boots(NEW).sh("gate")
    assert host.sh(f"restore {OLD}").returncode == 0
    assert host.grub() == {"saved_entry": OLD_ENTRY}
    assert 'set default="${saved_entry}"' in host.get("boot/grub/grub.cfg")


def test_restoring_where_the_old_kernel_is_the_newest_leaves_no_trace(host: Host) -> None:
    host.put("packages", f"installed linux-image-{OLD} {OLD_VERSION}")
    host.sh("keep")
    assert host.sh(f"restore {OLD}").returncode == 0
    assert host.grub() == {}
    assert 'set default="0"' in host.get("boot/grub/grub.cfg")
    assert not (host.root / "etc/default/grub.d/98-hullproof-boot.cfg").exists()


def reboots(host: Host) -> int:
    return host.get("systemctl").splitlines().count("reboot")


def test_the_gate_needs_nothing_but_the_root() -> None:
    unit = templates.text("kernel/hullproof-boot-gate.service").splitlines()
    assert [f"ConditionPathExists=|{path}" for path in (TRIAL, WORDS)] == [
        line for line in unit if line.startswith("Condition")
    ], "either of them"
    assert not [line for line in unit if line.startswith(("Requires", "BindsTo", "Requisite"))]


def test_a_root_that_stays_read_only_is_left_though_nothing_can_be_noted(host: Host) -> None:
    host.armed().boots(NEW).sh("put() { false; }; mkdir $T/began; gate")
    assert (reboots(host), host.get(f"{host.trial}/failed")) == (1, "")


@pytest.mark.parametrize(
    "spoil", ["mv $S $ROOT/unmounted", "rm $ROOT/docker-up; mkdir $T/began", "mv $ROOT/boot $ROOT/x"]
)
def test_a_host_that_is_not_on_trial_never_reboots(host: Host, spoil: str) -> None:
    host.armed().boots(OLD).sh(f"{spoil}; gate")
    assert reboots(host) == 0
    host.sh("rm -r $T")
    host.boots(NEW, 3).sh(f"{spoil}; gate")
    assert reboots(host) == 0


def test_under_the_old_kernel_a_var_that_is_not_mounted_leaves_the_trial_for_the_next_boot(host: Host) -> None:
    host.armed().boots(OLD).sh("mv $S $ROOT/unmounted; gate")
    assert host.trial.exists()
    assert not host.state.exists(), "nothing is written where it would be mounted over"
    host.boots(OLD, 3).sh("mv $ROOT/unmounted $S; gate")
    assert (host.last()["result"], host.last()["gate"]) == ("returned", "boot")


def test_it_goes_back_once_only(host: Host) -> None:
    host.armed().boots(NEW).sh("rm $ROOT/docker-up; gate")
    assert reboots(host) == 1
    host.boots(NEW, 3).sh("gate")
    assert reboots(host) == 1
    assert (host.last()["result"], host.last()["gate"]) == ("remained", "engine")
    assert "GRUB booted the same kernel again" in host.sh("settled boot-1").stdout
    assert host.get("var/lib/hullproof/boot/rejected") == f"{NEW} {NEW_VERSION}\n"


@pytest.mark.parametrize(
    "spoil", [f"environment set 'next_entry={NEW_ENTRY}'", "environment set saved_entry=0"], ids=["once", "default"]
)
def test_it_does_not_go_back_where_grub_would_boot_the_new_kernel_again(host: Host, spoil: str) -> None:
    host.armed().boots(NEW)
    host.sh(
        f"{spoil}; rm $ROOT/docker-up; printf '#!/bin/sh\\n[ $2 = list ] && cat $1\\n' >$ROOT/bin/grub-editenv; gate"
    )
    assert reboots(host) == 0
    assert host.last()["result"] == "remained"
    assert host.sh("settled boot-1").stdout.startswith(
        f"fail {NEW} {NEW_VERSION} failed its boot health check (engine: "
    )


@pytest.mark.parametrize("well", [True, False])
def test_an_undo_meanwhile_ends_the_trial(host: Host, well: bool) -> None:
    host.armed().boots(NEW)
    undo = f"set_default {OLD}; rm -r $T" if well else "rm -r $T"
    hook = f"check_ssh() {{ [ $(uptime) -lt 30 ] || {{ {undo}; }} 2>/dev/null; {'true' if well else 'false'}; }}"
    host.sh(f"{hook}; gate")
    assert reboots(host) == 0
    assert (host.grub(), host.last()) == ({"saved_entry": OLD_ENTRY}, {})
    assert not host.trial.exists()


def test_without_a_place_for_the_trial_nothing_reboots(host: Host) -> None:
    done = host.sh("keep; mv() { [ $1 != $T.new ]; }; arm 60 0 0 true 'echo back >$ROOT/after'")
    assert (done.returncode, host.get("after"), host.grub()) == (1, "back\n", {"saved_entry": OLD_ENTRY})
    assert "could not be written" in done.stdout
