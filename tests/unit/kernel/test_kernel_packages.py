"""Installing and removing kernels, as the host's own shell does it: a made-up root, with a stand-in for apt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kernel_trial_host import NEW, NEW_ENTRY, NEW_VERSION, OLD, OLD_ENTRY, OLD_VERSION, STUBS, Host

APT = """\
echo "$*" >>"$ROOT/apt"
case $* in
*" -s "*) echo "Inst linux-image-NEW (VERSION)" ;;
*" --only-upgrade install "*) echo "installed linux-image-NEW VERSION" >>"$ROOT/packages" ;;
esac""".replace("NEW", NEW).replace("VERSION", NEW_VERSION)


@pytest.fixture
def apt(tmp_path: Path) -> Host:
    """Only the old kernel is installed, and apt brings the new one, whose files are there."""
    host = Host(tmp_path)
    host.put("packages", f"installed linux-image-{OLD} {OLD_VERSION}")
    host.put("boot/grub/grubenv", "# GRUB Environment Block")
    (host.root / "bin/apt-get").write_text(f"#!/bin/sh\n{APT}\n")
    (host.root / "bin/apt-get").chmod(0o755)
    (host.root / "bin/dpkg").write_text('#!/bin/sh\ncase $1 in --audit) cat "$ROOT/audit" 2>/dev/null; : ;;\n'
        f'--force*) echo "dpkg $*" >>"$ROOT/apt" ;;\n*) {STUBS["dpkg"]} ;;\nesac\n')  # fmt: skip
    (host.root / "bin/apt-mark").write_text('#!/bin/sh\ncat "$ROOT/held" 2>/dev/null; :\n')
    (host.root / "bin/apt-mark").chmod(0o755)
    return host


def test_an_upgrade_refreshes_installs_and_checks(apt: Host) -> None:
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [line.split("Timeout=300 ")[1] for line in apt.get("apt").splitlines()]
    assert calls == ["-o APT::Update::Error-Mode=any update", "-s --only-upgrade install linux-image-cloud-amd64",
                     "--only-upgrade install linux-image-cloud-amd64"]  # fmt: skip
    assert (apt.state / "lists").exists()


ERR = "W: Failed to fetch http://mirror/dists/s/InRelease  Connection refused"


@pytest.mark.parametrize(
    ("says", "status"),
    [
        (f"{ERR}\nW: Some index files failed to download. They have been ignored, or old ones used instead.", 0),
        (ERR.replace("W:", "E:"), 100),
    ],
)
def test_lists_that_were_not_refreshed_are_none_whatever_apt_ends_with(apt: Host, says: str, status: int) -> None:
    apt.put("said", f"Err:1 http://mirror s InRelease\n{says}")
    stub = apt.root / "bin/apt-get"
    stub.write_text(
        stub.read_text().replace("case $* in", f'case $* in *update) cat "$ROOT/said"; exit {status} ;;', 1)
    )
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert (done.returncode, "could not be refreshed" in done.stdout) == (1, True)
    assert says.splitlines()[0] in (apt.state / "unrefreshed").read_text()
    assert not (apt.state / "lists").exists()
    assert "install" not in apt.get("apt")
    apt.put("said", "Hit:1 http://mirror s InRelease")
    stub.write_text(stub.read_text().replace(f"exit {status}", "exit 0"))
    apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert ((apt.state / "lists").exists(), (apt.state / "unrefreshed").exists()) == (True, False)


def test_undoing_an_installation_makes_the_old_kernel_the_default_again(
    apt: Host,
) -> None:
    assert apt.sh(f"prefer {OLD}").returncode == 0
    assert apt.grub() == {}
    apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert apt.sh(f"prefer {OLD}").returncode == 0
    assert apt.grub() == {"saved_entry": OLD_ENTRY}
    assert 'set default="${saved_entry}"' in apt.get("boot/grub/grub.cfg")


def test_what_was_cut_off_is_finished_first(apt: Host) -> None:
    apt.put("audit", "half configured")
    assert apt.packages("upgrade 1 linux-image-cloud-amd64").returncode == 0
    assert apt.get("apt").splitlines()[0] == "dpkg --force-confold --configure -a"
    assert "update" in apt.get("apt").splitlines()[1]
    assert "--fix-broken install" in apt.get("apt").splitlines()[2]


def test_an_image_that_is_there_already_does_not_keep_its_meta_package_back(apt: Host) -> None:
    """As after a power cut: apt finishes the image alone, and would then upgrade nothing but the meta package."""
    stub = apt.root / "bin/apt-get"
    stub.write_text(stub.read_text().replace(f"Inst linux-image-{NEW} ", "Inst linux-image-cloud-amd64 "))
    assert apt.packages("upgrade 1 linux-image-cloud-amd64").returncode == 0
    assert "Timeout=300 --only-upgrade install linux-image-cloud-amd64" in apt.get("apt")


def test_what_was_finished_has_to_be_bootable_though_nothing_else_is_offered(apt: Host) -> None:
    apt.put("audit", "half configured")
    apt.put("packages", f"installed linux-image-{OLD} {OLD_VERSION}\ninstalled linux-image-{NEW} {NEW_VERSION}")
    (apt.root / f"boot/initrd.img-{NEW}").write_text("cut short")
    (apt.root / "bin/apt-get").write_text('#!/bin/sh\necho "$*" >>"$ROOT/apt"\n')
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert (done.returncode, f"{OLD} is GRUB's default" in done.stdout) == (1, True)


def test_a_kernel_that_was_installed_and_cannot_be_booted_is_no_default(apt: Host) -> None:
    (apt.root / f"boot/initrd.img-{NEW}").write_text("cut short")
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert done.returncode != 0
    assert f"{OLD} is GRUB's default" in done.stdout
    assert apt.grub() == {"saved_entry": OLD_ENTRY}


def test_where_the_running_kernel_was_replaced_by_what_cannot_be_booted_another_is_the_default(apt: Host) -> None:
    apt.put("packages", f"installed linux-image-{OLD} {OLD_VERSION}\ninstalled linux-image-{NEW} {NEW_VERSION}")
    apt.put("uname", NEW)
    (apt.root / f"boot/initrd.img-{NEW}").write_text("cut short")
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert (done.returncode, f"{OLD} is GRUB's default" in done.stdout) == (1, True)
    assert apt.grub() == {"saved_entry": OLD_ENTRY}


def test_it_is_no_default_either_where_grub_could_not_boot_it_once(apt: Host) -> None:
    apt.put("abstraction", "lvm")
    (apt.root / f"boot/initrd.img-{NEW}").write_text("cut short")
    assert f"{OLD} is GRUB's default" in apt.packages("upgrade 1 linux-image-cloud-amd64").stdout
    assert apt.grub() == {"saved_entry": OLD_ENTRY}


def modules(host: Host, release: str, *names: str) -> None:
    for name in names:
        host.put(f"lib/modules/{release}/updates/dkms/{name}", "x")


def test_a_kernel_without_a_module_that_dkms_built_is_neither_the_default_nor_booted(apt: Host) -> None:
    modules(apt, OLD, "zfs.ko", "spl.ko", "nvidia-drm.ko")
    modules(apt, NEW, "spl.ko.xz")
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    words = f"it lacks the modules that DKMS built for {OLD}: nvidia-drm zfs"
    assert (done.returncode, f"but cannot be booted: {words}; {OLD} is GRUB's default" in done.stdout) == (1, True)
    assert f"not rebooted: {NEW}: {words}" in apt.packages("with_built\narm 30 0 0 '' ''").stdout
    modules(apt, NEW, "zfs.ko.xz", "nvidia-drm.ko.xz")
    assert apt.packages("upgrade 1 linux-image-cloud-amd64\nwith_built").returncode == 0


@pytest.mark.parametrize(
    ("state", "called"),
    [
        ("install installed", "linux-image-cloud-amd64 linux-headers-cloud-amd64"),
        ("hold installed", "linux-image-cloud-amd64"),
        ("", "linux-image-cloud-amd64"),
    ],
)
def test_headers_that_are_installed_are_upgraded_in_the_same_call(apt: Host, state: str, called: str) -> None:
    stub = apt.root / "bin/dpkg-query"
    stub.write_text(f'#!/bin/sh\ncase $* in *headers*) printf "{state}" ;; *) {STUBS["dpkg-query"]} ;; esac\n')
    assert apt.packages("upgrade 1 linux-image-cloud-amd64").returncode == 0
    assert apt.get("apt").splitlines()[-1].endswith(f"Timeout=300 --only-upgrade install {called}")


def test_without_room_nothing_is_installed(apt: Host) -> None:
    (apt.root / "bin/df").unlink()
    (apt.root / "bin/df").write_text("#!/bin/sh\necho head; echo /dev/vda1 1000 900 4096 90% /boot\n")
    (apt.root / "bin/df").chmod(0o755)
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert done.returncode != 0
    assert "has 4 MB free" in done.stdout
    assert "Timeout=300 --only-upgrade" not in apt.get("apt")


def test_nothing_newer_is_no_failure(apt: Host) -> None:
    (apt.root / "bin/apt-get").write_text('#!/bin/sh\necho "$*" >>"$ROOT/apt"\n')
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert (done.returncode, "no newer kernel is on offer" in done.stdout) == (0, True)
    assert "Timeout=300 --only-upgrade" not in apt.get("apt")


def test_old_kernels_go_but_never_the_running_or_the_default_one(apt: Host) -> None:
    three = [f"installed linux-image-{release} {version}" for release, version in
             (("6.1.0-40-cloud-amd64", "6.1.40-1"), (OLD, OLD_VERSION), (NEW, NEW_VERSION))]  # fmt: skip
    apt.put("packages", "\n".join(three))
    assert f"{OLD} is running" in apt.packages(f"prune 2 {OLD}").stdout
    apt.sh(f"environment set saved_entry='{NEW_ENTRY}'")
    assert f"{NEW} is GRUB's default" in apt.packages(f"prune 2 {NEW}").stdout
    assert apt.get("apt") == ""
    assert apt.packages("prune 2 6.1.0-40-cloud-amd64").returncode == 0
    assert "purge linux-image-6.1.0-40-cloud-amd64" in apt.get("apt")


def test_a_kernel_stays_of_which_a_package_is_held(apt: Host) -> None:
    releases = ("6.1.0-40-cloud-amd64", "6.1.0-45-cloud-amd64", OLD)
    apt.put("packages", "\n".join(f"installed linux-image-{release} 1" for release in releases))
    apt.put("held", "linux-headers-6.1.0-40-cloud-amd64")
    done = apt.packages("prune 2 6.1.0-40-cloud-amd64")
    assert (done.returncode, apt.get("apt")) == (0, "")
    assert "linux-headers-6.1.0-40-cloud-amd64 is held: 6.1.0-40-cloud-amd64 stays" in done.stdout


def test_no_kernel_goes_before_the_one_that_it_makes_room_for_is_there(apt: Host) -> None:
    """Apt had no newer one in the end."""
    apt.put(
        "packages", f"installed linux-image-6.1.0-40-cloud-amd64 6.1.40-1\ninstalled linux-image-{OLD} {OLD_VERSION}"
    )
    done = apt.packages("prune 2 6.1.0-40-cloud-amd64")
    assert (done.returncode, "6.1.0-40-cloud-amd64 stays" in done.stdout, apt.get("apt")) == (0, True, "")
