"""Boot parameters on trial, as the host's own shell runs it: given once, kept only once the boot was found well."""

from __future__ import annotations

from pathlib import Path

import pytest

from facts.core.reading import Block, Section, Unknown
from facts.kernel import boot_words, modules
from facts.kernel.boot_words import WORDS
from tests.support.kernel_bls import ENTRIES, options
from tests.support.kernel_bls import rhel as rhel  # a fixture
from tests.support.kernel_trial_host import NEW, NEW_ENTRY, OLD, Host

WORD = "lockdown=integrity"
LEAD, REFERENCE = "etc/grub.d/01_hullproof", "etc/default/grub.d/97-hullproof-words.cfg"
LAST = "var/lib/hullproof/boot/words-last"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def tried(host: Host, *words: str, back: int = 0) -> Host:
    done = host.sh(f"try_words 60 {back} {' '.join(words or (WORD,))}")
    assert done.returncode == 0, done.stdout + done.stderr
    return host


def boots(host: Host, number: int = 2, words: str = WORD, release: str = OLD) -> Host:
    """GRUB takes what it gives once out of its environment, as our line in its menu says."""
    host.boots(release, number)
    host.sh("environment set hullproof_once=")
    host.put("proc/cmdline", f"root=/dev/vda1 ro {words}")
    return host


def reboots(host: Host) -> int:
    return host.get("systemctl").count("\nreboot") + host.get("systemctl").startswith("reboot")


def last(host: Host) -> dict[str, str]:
    return dict(line.split("=", 1) for line in host.get(LAST).splitlines())


def lines(host: Host) -> dict[str, list[str]]:
    """The command lines in GRUB's menu: normal entries and those for recovery."""
    found = [line for line in host.get("boot/grub/grub.cfg").splitlines() if "\tlinux\t" in line]
    return {"normal": [line for line in found if " single" not in line],
            "recovery": [line for line in found if " single" in line]}  # fmt: skip


def test_the_next_boot_has_them_once_and_no_entry_has_them_for_good(host: Host) -> None:
    tried(host)
    assert host.grub() == {"hullproof_once": f"{WORD} panic=30"}
    assert WORD not in host.get("boot/grub/grub.cfg"), "neither the default's entry nor the fallback's"
    assert all(line.endswith(" $hullproof") for line in lines(host)["normal"])
    assert not any("hullproof" in line for line in lines(host)["recovery"])
    assert (host.root / LEAD).stat().st_mode & 0o111
    menu = host.sh(f"sh $R/{LEAD}").stdout
    assert menu.index("save_env hullproof_once") < menu.index('hullproof="${hullproof} ${hullproof_now}"')
    assert reboots(host) == 0


def test_found_well_they_are_kept(host: Host) -> None:
    boots(tried(host, WORD, "iommu=force"), words=f"{WORD} iommu=force panic=30").sh("gate")
    assert host.grub()["hullproof"] == f"{WORD} iommu=force"
    assert (last(host)["result"], last(host)["words"]) == ("kept", f"{WORD} iommu=force")
    assert not (host.root / "etc/hullproof/words").exists()
    assert reboots(host) == 0


def test_a_stricter_one_takes_the_place_of_what_was_kept(host: Host) -> None:
    boots(tried(host, WORD, "iommu=force"), words=f"{WORD} iommu=force").sh("gate")
    boots(tried(host, "lockdown=confidentiality"), 3, f"{WORD} iommu=force lockdown=confidentiality").sh("gate")
    assert host.grub()["hullproof"] == "iommu=force lockdown=confidentiality"


def test_the_gate_waits_for_the_reboot(host: Host) -> None:
    tried(host).sh("gate")
    assert last(host) == {}
    assert (host.root / "etc/hullproof/words").exists()


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        ("rm $ROOT/docker-up", "docker", "Cannot connect"),
        ("echo '[    7.1] Lockdown: modprobe: unsigned module loading is restricted; see man' >$ROOT/dmesg",
         "modules", "Lockdown: modprobe: unsigned module loading is restricted"),
        ("echo '[    7.1] zfs: loading of unsigned module is rejected' >$ROOT/dmesg", "modules", "zfs: loading of"),
        ("echo ens3 >$ROOT/no-link", "way_in", "no default route has a device with a link"),
        ("printf '#!/bin/sh\\n' >$ROOT/bin/ss", "way_in", "sshd is not listening"),
    ],
)  # fmt: skip
def test_found_amiss_they_are_not(host: Host, spoil: str, check: str, words: str) -> None:
    host.sh("printf '#!/bin/sh\\ncase $* in is-enabled*) echo enabled ;; *MainPID*) echo 1 ;; esac\\n"
            "echo \"$*\" >>$ROOT/systemctl\\n' >$ROOT/bin/systemctl")  # fmt: skip
    boots(tried(host)).sh(f"{spoil}; gate")
    assert "hullproof" not in host.grub()
    assert (last(host)["result"], last(host)["gate"], last(host)["boot"]) == ("refused", check, "boot-2")
    assert words in last(host)["why"]
    assert reboots(host) == 0, "the policy says that nothing reboots by itself"


def test_where_the_policy_lets_it_reboot_the_host_leaves_such_a_boot_by_itself(host: Host) -> None:
    boots(tried(host, back=1)).sh("echo 'x: loading of unsigned module is rejected' >$ROOT/dmesg; gate")
    assert (reboots(host), last(host)) == (1, {})
    host.put("dmesg", "")
    boots(host, 3, "").sh("gate")
    assert (reboots(host), last(host)["result"], last(host)["gate"]) == (1, "refused", "modules")
    assert "without them" in last(host)["why"]


def test_a_boot_that_did_not_come_as_far(host: Host) -> None:
    boots(tried(host), words="").sh("gate")
    assert (last(host)["result"], last(host)["gate"]) == ("returned", "boot")
    assert "hullproof" not in host.grub()


def test_a_boot_by_kexec_is_none(host: Host) -> None:
    """GRUB did not run: what the next boot has once is still there."""
    tried(host).boots(OLD).sh("gate")
    assert last(host) == {}
    assert host.grub()["hullproof_once"] == f"{WORD} panic=30"


def test_a_new_kernel_that_does_not_pass_takes_them_along(host: Host) -> None:
    tried(host).armed()
    boots(host, release=NEW).sh("rm $ROOT/docker-up; gate")
    assert (reboots(host), last(host)) == (1, {})
    boots(host, 3, "").sh("touch $ROOT/docker-up; gate")
    assert (host.last()["result"], last(host)["result"], last(host)["gate"]) == ("returned", "refused", "kernel")


def test_beside_a_new_kernel_that_passes(host: Host) -> None:
    tried(host).armed()
    assert host.grub()["next_entry"] == NEW_ENTRY
    boots(host, release=NEW).sh("gate")
    assert (host.last()["result"], last(host)["result"]) == ("confirmed", "kept")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("echo lvm >$ROOT/abstraction", "cannot write its environment on lvm"),
        ("touch $ROOT/theirs", "sets GRUB_CMDLINE_LINUX_DEFAULT after ours"),
        ("printf '#!/bin/sh\\n' >$ROOT/bin/grub-editenv", "could not be written"),
    ],
)
def test_what_cannot_be_tried_is_not(host: Host, spoil: str, words: str) -> None:
    done = host.sh(f"{spoil}; try_words 60 0 {WORD}")
    assert done.returncode != 0
    assert words in done.stdout
    assert host.grub() == {}
    assert not (host.root / "etc/hullproof/words").exists()


def test_an_undo_leaves_nothing(host: Host) -> None:
    before = host.get("boot/grub/grub.cfg")
    tried(host).sh(f"forget_words {WORD}")
    assert (host.grub(), host.get("boot/grub/grub.cfg")) == ({}, before)
    boots(tried(host)).sh("gate")
    assert host.sh(f"forget_words {WORD}").returncode == 0
    assert (host.grub(), host.get("boot/grub/grub.cfg")) == ({}, before)
    assert not (host.root / LEAD).exists()
    assert not (host.root / REFERENCE).exists()
    assert host.sh(f"forget_words {WORD}").returncode == 0, "twice is once"


def test_an_undo_keeps_what_an_earlier_run_brought(host: Host) -> None:
    boots(tried(host, "iommu=force"), words="iommu=force").sh("gate")
    boots(tried(host), 3).sh(f"gate; forget_words {WORD}")
    assert host.grub() == {"hullproof_once": "", "hullproof": "iommu=force"} or host.grub() == {
        "hullproof": "iommu=force"
    }
    assert (host.root / LEAD).exists()


@pytest.mark.parametrize("well", [True, False])
def test_an_undo_meanwhile_ends_the_trial(host: Host, well: bool) -> None:
    hook = (
        f"check_way_in() {{ [ $(uptime) -lt 30 ] || forget_words {WORD} >/dev/null; {'true' if well else 'false'}; }}"
    )
    boots(tried(host)).sh(f"{hook}; gate")
    assert "hullproof" not in host.grub()
    assert last(host) == {}
    assert reboots(host) == 0


def test_what_the_host_runs_with_already_is_kept_at_once(host: Host) -> None:
    host.sh("echo lvm >$ROOT/abstraction")
    assert host.sh(f"keep_words {WORD}").returncode == 0
    assert host.grub() == {"hullproof": WORD}
    assert all(line.endswith(" $hullproof") for line in lines(host)["normal"])


# --- Boot Loader entries


def test_an_entry_of_its_own_has_them_once(rhel: Host) -> None:
    before = options(rhel)
    tried(rhel)
    own = rhel.get(f"{ENTRIES}/hullproof-words.conf")
    assert f"{WORD} panic=30" in own
    assert "vmlinuz-5.14.0-503.40.1.el9_5.x86_64" in own
    grubenv = rhel.get("boot/grub2/grubenv").splitlines()
    assert "next_entry=hullproof-words" in grubenv
    assert "saved_entry=m-5.14.0-503.40.1.el9_5.x86_64" in grubenv, "and never is the default"
    others = [line for path in sorted((rhel.root / ENTRIES).iterdir()) if path.name[0] == "m"
              for line in path.read_text().splitlines() if line.startswith("options ")]  # fmt: skip
    assert [line.removeprefix("options ").split()[:2] for line in others] == [line.split() for line in before]
    assert WORD not in " ".join(others)


def test_found_well_every_entry_but_rescue_has_them(rhel: Host) -> None:
    tried(rhel)
    rhel.sh("environment unset next_entry")
    rhel.put("proc/cmdline", f"ro {WORD}")
    rhel.put("proc/sys/kernel/random/boot_id", "boot-2")
    rhel.put(f"{ENTRIES}/m-0-rescue-m.conf", "title Rescue\nlinux /vmlinuz-0-rescue-m\noptions ro")
    rhel.put("boot/vmlinuz-0-rescue-m", "x")
    rhel.sh("gate")
    assert last(rhel)["result"] == "kept"
    assert not (rhel.root / ENTRIES / "hullproof-words.conf").exists()
    assert [WORD in line for line in options(rhel)] == [False, True, True]
    assert rhel.sh(f"forget_words {WORD}").returncode == 0
    assert WORD not in " ".join(options(rhel))


# --- What the survey makes of it


def section(**texts: str) -> Section:
    names = {"words": f"{WORDS}/words", "boot_id": f"{WORDS}/boot_id", "last": boot_words.LAST}
    return Section({names.get(name, name): Block(0, text + "\n") for name, text in texts.items()})


def test_reading_a_trial() -> None:
    found = boot_words.parse(section(words=f"{WORD} iommu=force", boot_id="b1", last="words=a b\nresult=refused\n"
                                     "gate=modules\nwhy=x=y\nboot=b0\ntime=t"))  # fmt: skip
    assert (found.on_trial, found.armed_in) == ((WORD, "iommu=force"), "b1")
    assert found.last == boot_words.TriedWords(("a", "b"), "refused", "modules", "x=y", "t", "b0")
    assert boot_words.parse(section()) == boot_words.NONE
    assert boot_words.parse(section(last="nonsense")).last is None


MODULES = "zfs - (POE)\nspl zfs, (OE)\nwireguard - (O)\next4 -\njbd2 ext4,\nvboxdrv vboxnetflt, (OE+)\ncrc16 ext4,\n"
MOUNTS = "rw - rootfs none rw\nrw,relatime shared:1 - {} {} rw\n"


@pytest.mark.parametrize(
    ("kind", "source", "needed"),
    [("zfs", "rpool/ROOT/debian", ("spl", "zfs")), ("ext4", "/dev/mapper/root", ("crc16", "ext4", "jbd2")),
     ("btrfs", "/dev/sda1", ())],
)  # fmt: skip
def test_reading_modules_and_the_root(kind: str, source: str, needed: tuple[str, ...]) -> None:
    found = modules.parse(section(modules=MODULES, root=MOUNTS.format(kind, source)))
    assert found.unsigned == ("spl", "vboxdrv", "zfs"), "one that is signed may come from elsewhere"
    assert found.root == modules.Root(kind, needed)


def test_modules_that_could_not_be_read() -> None:
    assert isinstance(modules.parse(section()).unsigned, Unknown)
    assert isinstance(modules.parse(section(modules="ext4 -")).root, Unknown)
    assert isinstance(modules.parse(section(modules="ext4 -", root="nonsense")).root, Unknown)
