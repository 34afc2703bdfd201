"""Kernel packages, versions, GRUB menus and Boot Loader entries: what is read out of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facts.core.reading import Block, Section, Unknown, known
from facts.core.versions import compare_versions
from facts.kernel import boot
from facts.kernel import packages as kernel_packages
from facts.kernel import updates as kernel_updates
from facts.kernel.boot import read_menu
from facts.kernel.kernel import _blocked, _livepatches
from facts.kernel.packages import Package, Reboot, Running, brought, built_version, candidate, flavour, release_of


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.1.9-1", "6.1.10-1"),
        ("6.1.192-1", "6.1.192-2"),
        ("6.1.192-1~bpo11+1", "6.1.192-1"),
        ("6.12.43-1", "6.12.43-1+b1"),
        ("6.8.0-71.71~22.04.1", "6.8.0-71.71"),
        ("5.14.0-427.el9", "5.14.0-503.40.1.el9_5"),
        ("9.0", "1:1.0"),
    ],
)
def test_versions_in_order(older: str, newer: str) -> None:
    assert compare_versions(older, newer) < 0 < compare_versions(newer, older)
    assert compare_versions(newer, newer) == 0


@pytest.mark.parametrize(
    ("release", "build", "version", "kind"),
    [
        ("6.1.0-50-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-08-01)", "6.1.192-2", "cloud-amd64"),
        ("6.12.43+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.43-1 (2025-08-27)", "6.12.43-1", "amd64"),
        ("6.8.0-71-generic", "#71-Ubuntu SMP PREEMPT_DYNAMIC Tue Jul 22", "6.8.0-71.71", "generic"),
        ("6.8.0-71-generic", "#71~22.04.1-Ubuntu SMP PREEMPT", "6.8.0-71.71~22.04.1", "generic"),
        ("6.8.0-1021-aws", "#23-Ubuntu SMP", "6.8.0-1021.23", "aws"),
        ("5.14.0-503.40.1.el9_5.x86_64", "#1 SMP PREEMPT_DYNAMIC Thu Apr 24", "5.14.0-503.40.1.el9_5", ""),
        ("6.18.44-custom", "#1 SMP", "", "custom"),
    ],
)
def test_what_uname_tells(release: str, build: str, version: str, kind: str) -> None:
    assert (built_version(release, build), flavour(release)) == (version, kind)


@pytest.mark.parametrize(
    ("package", "release"),
    [
        ("linux-image-6.1.0-50-amd64", "6.1.0-50-amd64"),
        ("linux-image-6.1.0-50-amd64-unsigned", "6.1.0-50-amd64"),
        ("linux-image-unsigned-6.8.0-71-generic", "6.8.0-71-generic"),
        ("linux-image-6.1.0-50-amd64-dbg", ""),
        ("linux-image-amd64", ""),
    ],
)
def test_image_packages(package: str, release: str) -> None:
    assert release_of(package) == release


OLD = Package("linux-image-6.1.0-49-amd64", "6.1.190-1", "6.1.0-49-amd64", False)
NEW = Package("linux-image-6.1.0-50-amd64", "6.1.192-2", "6.1.0-50-amd64", False)


def _running(version: str, release: str = "6.1.0-50-amd64") -> Running:
    return Running(release, f"#1 SMP Debian {version} (2026)", "x86_64", version)


EMPTY = Section({})
ASKED = Section({"/run/reboot-required": Block(0, "***"), "/run/reboot-required.pkgs": Block(0, "libc6\nlibc6\n")})
LATER = Section({"btime": Block(0, "btime 1000"), "rpm": Block(0, "glibc|2.34-1|x86_64|2000\nsystemd|1-1|x86_64|900")})


@pytest.mark.parametrize(
    ("section", "now", "packages", "needed", "words"),
    [
        (EMPTY, _running("6.1.192-2"), (OLD, NEW), False, "newest installed"),
        (EMPTY, _running("6.1.190-1", "6.1.0-49-amd64"), (OLD, NEW), True, "6.1.0-50-amd64 6.1.192-2 is installed"),
        (EMPTY, _running("6.1.192-1"), (OLD, NEW), True, "6.1.192-1 is running"),  # the release is the same
        (EMPTY, _running("6.1.193-1"), (OLD, NEW), None, "newer than any installed"),
        (EMPTY, _running("6.1.1-1", "6.1.0-1-cloud-amd64"), (OLD, NEW), None, "no installed package"),  # other flavour
        (EMPTY, _running(""), (OLD, NEW), None, "does not tell"),
        (EMPTY, _running("6.1.192-2"), Unknown("dpkg: locked"), None, "dpkg: locked"),
        (EMPTY, Unknown("no uname"), (OLD, NEW), None, "no uname"),
        (ASKED, _running("6.1.192-2"), (OLD, NEW), True, "(/run/reboot-required) for libc6"),
        (ASKED, _running("6.1.192-2"), Unknown("dpkg: locked"), True, "(/run/reboot-required)"),
        (LATER, _running("6.1.192-2"), (OLD, NEW), True, "glibc was installed after this boot"),
    ],
)
def test_reboot(section: Section, now: Running | Unknown, packages: object, needed: bool | None, words: str) -> None:
    answer = kernel_packages.reboot(section, now, packages)  # type: ignore[arg-type]
    if needed is None:
        assert isinstance(answer, Unknown)
        assert words in answer.unknown
    else:
        assert isinstance(answer, Reboot)
        assert answer.needed is needed
        assert words in answer.why


DEBIAN = """\
Package: linux-image-amd64
Version: 6.1.193-1
Depends: linux-image-6.1.0-51-amd64 (= 6.1.193-1)
Package: linux-image-6.1.0-50-amd64
Version: 6.1.192-2
Depends: kmod, initramfs-tools | linux-initramfs-tool
"""
UBUNTU = """\
Package: linux-image-generic
Version: 6.8.0-78.78
Depends: linux-image-6.8.0-78-generic, linux-modules-extra-6.8.0-78-generic, linux-firmware
Package: linux-image-6.8.0-71-generic
Version: 6.8.0-71.71
Depends: kmod
"""


@pytest.mark.parametrize(
    ("blocks", "release", "expected"),
    [
        ({"apt": Block(0, DEBIAN)}, "6.1.0-50-amd64", "6.1.193-1"),
        ({"apt": Block(0, UBUNTU)}, "6.8.0-71-generic", "6.8.0-78.78"),
        ({"apt": Block(0, DEBIAN)}, "6.1.0-50-cloud-amd64", None),
        ({}, "6.1.0-50-amd64", None),
        ({"rpm": Block(0, ""), "dnf": Block(0, "kernel-core|5.14.0-570.el9|x86_64\n")}, "5.14.0-503.el9.x86_64",
         "5.14.0-570.el9"),
        ({"rpm": Block(0, ""), "dnf": Block(1, "Error: no cache")}, "5.14.0-503.el9.x86_64", None),
    ],
)  # fmt: skip
def test_candidate(blocks: dict[str, Block], release: str, expected: str | None) -> None:
    answer = candidate(Section(blocks), release)
    assert isinstance(answer, Unknown) if expected is None else answer == expected


def test_the_release_that_a_candidate_brings() -> None:
    assert brought(Section({"apt": Block(0, UBUNTU)}), "generic") == {
        ("linux-image-generic", "6.8.0-78.78"): "6.8.0-78-generic",
        ("linux-image-6.8.0-71-generic", "6.8.0-71.71"): "6.8.0-71-generic",
    }


MENU = """\
set default="${next_entry}"
set default="%s"
function savedefault {
}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-1' {
\tlinux\t/boot/vmlinuz-6.1.0-50-amd64 root=UUID=1 ro a=1 quiet
}
submenu 'Advanced options' $menuentry_id_option 'gnulinux-advanced-1' {
\tmenuentry 'Debian, with Linux 50' $menuentry_id_option 'gnulinux-50-1' {
\t\tlinux\t/boot/vmlinuz-50 root=UUID=1 ro a=2
\t}
\tmenuentry 'Debian, 50 (recovery mode)' $menuentry_id_option 'gnulinux-50-rec' {
\t\tlinux\t/boot/vmlinuz-50 root=UUID=1 ro single a=3
\t}
}
menuentry "Memory test" {
\tlinux16\t/boot/memtest a=4
}
"""


@pytest.mark.parametrize(
    ("default", "grubenv", "word"),
    [
        ("0", "", "a=1"),
        ("1>1", "", "a=3"),
        ("1", "", "a=2"),
        ("Memory test", "", "a=4"),
        ("gnulinux-advanced-1>gnulinux-50-rec", "", "a=3"),
        ("${saved_entry}", "saved_entry=gnulinux-advanced-1>gnulinux-50-1", "a=2"),
        ("${saved_entry}", "", "a=1"),
        ("7", "", None),
        ("gone", "", None),
    ],
)
def test_the_entry_that_grub_boots(default: str, grubenv: str, word: str | None) -> None:
    menu = Block(0, MENU % default)
    answer = boot.parse(Section({"menu /boot/grub": menu, "grubenv /boot/grub": Block(0, grubenv)})).configured
    assert isinstance(answer, Unknown) if word is None else word in known(answer)


def test_a_grub_cfg_without_a_menu() -> None:
    text = "linux /boot/vmlinuz-6 root=UUID=1 ro console=ttyS0\ninitrd /boot/initrd.img-6\nboot\n"
    answer = boot.parse(Section({"menu /boot/grub": Block(0, text)}))
    assert (answer.loader, answer.configured) == ("grub", ("root=UUID=1", "ro", "console=ttyS0"))


def test_a_menu_survives_nonsense() -> None:
    assert read_menu("}\n}\nlinux x y\nmenuentry 'unclosed {\nlinux\n").items


OPTIONS = "title RHEL\nversion 5.14\nlinux /vmlinuz\noptions root=/dev/sda1 ro %s $tuned_params\n"


def _bls(grubenv: str, **options: str) -> Section:
    entries = {f"/boot/loader/entries/{name}.conf": Block(0, OPTIONS % words) for name, words in options.items()}
    cfg = Block(0, 'set default="${saved_entry}"\nblscfg\n')
    return Section({"menu /boot/grub2": cfg, "grubenv /boot/grub2": Block(0, grubenv), **entries})


@pytest.mark.parametrize(
    ("grubenv", "entries", "expected"),
    [
        ("saved_entry=m-1", {"m-1": "a=1", "m-2": "a=2"}, ("root=/dev/sda1", "ro", "a=1")),
        ("", {"m-9": "a=1", "m-10": "a=2"}, ("root=/dev/sda1", "ro", "a=2")),
        ("tuned_params=skew_tick=1 x", {"m": "a=1"}, ("root=/dev/sda1", "ro", "a=1", "skew_tick=1", "x")),
        ("kernelopts=root=/dev/sdb quiet", {"m": "$kernelopts"}, ("root=/dev/sda1", "ro", "root=/dev/sdb", "quiet")),
        ("", {"m": "$kernelopts"}, None),
        ("saved_entry=5", {"m": "a=1"}, None),
    ],
)
def test_boot_loader_entries(grubenv: str, entries: dict[str, str], expected: tuple[str, ...] | None) -> None:
    answer = boot.parse(_bls(grubenv, **entries))
    assert answer.loader == "bls"
    assert isinstance(answer.configured, Unknown) if expected is None else answer.configured == expected


def test_no_boot_loader_and_a_menu_that_root_alone_may_read() -> None:
    nothing = boot.parse(Section({"loaders": Block(2, "ls: cannot access '/boot/grub': No such file\n/efi/loader\n")}))
    assert nothing.loader == "none"
    assert isinstance(nothing.configured, Unknown)
    assert "/efi/loader" in nothing.configured.unknown
    refused = boot.parse(Section({"menu /boot/grub": Block(2, "grep: /boot/grub/grub.cfg: Permission denied")}))
    assert isinstance(refused.configured, Unknown)


LOADED = Block(0, "ext4\nksplice_1opasxbn_vmlinux_new\noverlay")


@pytest.mark.parametrize(
    ("livepatch", "modules", "expected"),
    [
        (Block(0, "/sys/kernel/livepatch/kp/enabled:1\n/sys/kernel/livepatch/lkp_9/enabled:0"), Block(0, "ext4"),
         {"kp": True, "lkp_9": False}),
        (Block(2, "grep: /sys/kernel/livepatch/*/enabled: No such file or directory"), LOADED,
         {"ksplice_1opasxbn_vmlinux_new": True}),
        (Block(2, "grep: /sys/kernel/livepatch/*/enabled: No such file or directory"), Block(0, "ext4"), {}),
        (Block(2, "grep: /sys/kernel/livepatch/x/enabled: Permission denied"), LOADED, None),
        (Block(2, "grep: /sys/kernel/livepatch/*/enabled: No such file or directory"), Block(1, "cut: refused"), None),
    ],
)  # fmt: skip
def test_live_patches_of_all_three_kinds(livepatch: Block, modules: Block, expected: dict[str, bool] | None) -> None:
    found = _livepatches(Section({"livepatch": livepatch, "modules": modules}))
    assert (None if isinstance(found, Unknown) else found) == expected


def test_blocked_modules() -> None:
    text = (
        "/etc/modprobe.d/cis.conf:install overlay /bin/false\n"
        "/etc/modprobe.d/cis.conf:install cramfs /usr/bin/true\n"
        "/etc/modprobe.d/x.conf:blacklist nf-tables\n"
        "/etc/modprobe.d/y.conf:install sd_mod /sbin/modprobe --ignore-install sd_mod\n"
        "/etc/modprobe.d/y.conf:install\n"
        "/usr/lib/modprobe.d/x.conf:blacklist hidden\n"
    )
    assert _blocked(Section({"modprobe": Block(0, text)}), "quiet modprobe.blacklist=veth,vxlan") == {
        "overlay": "/etc/modprobe.d/cis.conf: install",
        "cramfs": "/etc/modprobe.d/cis.conf: install",
        "nf_tables": "/etc/modprobe.d/x.conf: blacklist",
        "veth": "the kernel's command line",
        "vxlan": "the kernel's command line",
    }


DPKG = """\
ii |linux-image-6.1.0-50-cloud-amd64|6.1.176-1|amd64|kmod
iF |linux-image-6.1.0-56-cloud-amd64|6.1.192-2|amd64|kmod
hi |linux-image-cloud-amd64|6.1.176-1|amd64|linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)
ii |linux-image-amd64|6.1.176-1|amd64|linux-image-6.1.0-50-amd64 (= 6.1.176-1)
rc |linux-image-6.1.0-40-cloud-amd64|6.1.40-1|amd64|kmod
"""
POLICY = """\
linux-image-cloud-amd64:
  Installed: 6.1.176-1
  Candidate: 6.1.192-2
  Package pin: 6.1.192-2
  Version table:
     6.1.199-1 -1
        500 http://mirror.example/debian bookworm-proposed-updates/main amd64 Packages
     6.1.192-2 990
        500 http://mirror.example/debian-security bookworm-security/main amd64 Packages
 *** 6.1.176-1 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
linux-image-amd64:
  Installed: 6.1.176-1
  Candidate: 6.1.192-2
  Version table:
     6.1.192-2 500
"""


KIND = "6.1.0-50-cloud-amd64"
SHOW = """\
Package: linux-image-cloud-amd64
Version: 6.1.192-2
Depends: linux-image-%s-cloud-amd64 (= 6.1.192-2)
"""


@pytest.mark.parametrize("abi", ["6.1.0-56", "6.1.0-50"])
def test_offers_of_the_running_flavour_with_holds_and_what_is_half_installed(abi: str) -> None:
    blocks = {"dpkg": Block(0, DPKG), "policy": Block(0, POLICY), "apt": Block(0, SHOW % abi)}
    found = kernel_updates.parse(Section(blocks), "6.1.0-50-cloud-amd64")
    offer = kernel_updates.Offer("linux-image-cloud-amd64", "6.1.176-1", "6.1.192-2", "6.1.199-1", True, True)
    assert found.offers == (replace(offer, release=f"{abi}-cloud-amd64"),)
    silent = kernel_updates.parse(
        Section({**blocks, "apt": Block(0, SHOW.replace("Version: 6.1.192-2", "Version: 6.1.199-1") % abi)}),
        "6.1.0-50-cloud-amd64",
    )
    assert silent.offers == (offer,), "another version's dependency tells nothing of the candidate"
    assert found.half == ("linux-image-6.1.0-56-cloud-amd64",)


def test_versions_that_only_the_installed_package_has_come_from_no_source() -> None:
    alone = "linux-image-cloud-amd64:\n  Installed: 1\n  Candidate: 1\n  Version table:\n *** 1 100\n"
    alone += "        100 /var/lib/dpkg/status\n"
    (offer,) = known(kernel_updates.parse(Section({"dpkg": Block(0, DPKG), "policy": Block(0, alone)}), KIND).offers)
    assert not offer.sourced
    blocks = {"dpkg": Block(0, DPKG), "policy": Block(0, alone), "apt": Block(0, "")}
    (offer,) = known(kernel_updates.parse(Section(blocks), KIND).offers)
    assert not offer.sourced, "a source that has other packages brings no fix of this one"


@pytest.mark.parametrize(
    ("state", "opinion"),
    [
        (Block(0, "NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: 3\n"), "a reboot is needed"),
        (Block(0, "NEEDRESTART-KSTA: 2\n"), "a reboot is needed (same release, newer build)"),
        (Block(0, "NEEDRESTART-KSTA: 1\n"), "no reboot is needed"),
        (Block(0, "NEEDRESTART-KSTA: 0\n"), ""),  # it could not tell
        (Block(124, "NEEDRESTART-VER: 3.6\n"), ""),  # it took too long
    ],
)
def test_the_second_opinion(state: Block, opinion: str) -> None:
    assert kernel_updates.parse(Section({"needrestart": state}), "6.1.0-50-cloud-amd64").needrestart == opinion


NOT_THERE = "ls: cannot access '/lib/modules/*/extra/*.ko*': No such file or directory\n"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Block(2, NOT_THERE), {}),
        (Block(2, f"{NOT_THERE}/lib/modules/6.1.0-50-amd64/updates/dkms/zfs.ko\n/lib/modules/6.1/extra/a-b.ko.xz\n"),
         {"6.1": ("a-b",), "6.1.0-50-amd64": ("zfs",)}),
        (Block(0, "/lib/modules/6.1/extra/x.ko\n/lib/modules/6.1/weak-updates/x.ko\nnonsense\n"), {"6.1": ("x",)}),
        (Block(2, "ls: cannot access '/lib/modules/6.1/extra/x.ko': Permission denied\n"), None),
        (Block(127, "sh: ls: not found"), None),
    ],
)  # fmt: skip
def test_what_dkms_has_built(block: Block, expected: dict[str, tuple[str, ...]] | None) -> None:
    built = kernel_updates.parse(Section({"built": block}), "6.1.0-50-amd64").built
    assert isinstance(built, Unknown) if expected is None else built == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/dev/vda1 ext4", ""),
        ("/dev/sda2 xfs", ""),
        ("/dev/mapper/vg-root ext4", "LVM, RAID or encrypted"),
        ("/dev/md0 ext4", "LVM, RAID or encrypted"),
        ("/dev/vda1[/@boot] btrfs", "on btrfs"),
        ("rpool/boot zfs", "on zfs"),
    ],
)
def test_where_grub_can_write(text: str, words: str) -> None:
    once = boot._once(Section({"grubenv-on": Block(0, text)}))
    assert isinstance(once, str)
    assert (words in once, bool(once)) == (True, bool(words))
    assert isinstance(boot._once(Section({"grubenv-on": Block(127, "findmnt: not found")})), Unknown)
