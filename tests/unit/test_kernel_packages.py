"""Installing and removing kernels, as the host's own shell does it: a made-up root, with a stand-in for apt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kernel_trial_host import NEW, NEW_ENTRY, NEW_VERSION, OLD, OLD_ENTRY, OLD_VERSION, STUBS, Host

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
    return host


def test_an_upgrade_refreshes_installs_and_checks(apt: Host) -> None:
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [line.split("Timeout=300 ")[1] for line in apt.get("apt").splitlines()]
    assert calls == ["update", "-s --only-upgrade install linux-image-cloud-amd64",
                     "--only-upgrade install linux-image-cloud-amd64"]  # fmt: skip
    assert (apt.state / "lists").exists()


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
    assert (done.returncode, f"{OLD} stays the default" in done.stdout) == (1, True)


def test_a_kernel_that_was_installed_and_cannot_be_booted_is_no_default(apt: Host) -> None:
    (apt.root / f"boot/initrd.img-{NEW}").write_text("cut short")
    done = apt.packages("upgrade 1 linux-image-cloud-amd64")
    assert done.returncode != 0
    assert f"{OLD} stays the default" in done.stdout
    assert apt.grub() == {"saved_entry": OLD_ENTRY}


def test_it_is_no_default_either_where_grub_could_not_boot_it_once(apt: Host) -> None:
    apt.put("abstraction", "lvm")
    (apt.root / f"boot/initrd.img-{NEW}").write_text("cut short")
    assert f"{OLD} stays the default" in apt.packages("upgrade 1 linux-image-cloud-amd64").stdout
    assert apt.grub() == {"saved_entry": OLD_ENTRY}


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
    assert (done.returncode, "no newer kernel is offered" in done.stdout) == (0, True)
    assert "Timeout=300 --only-upgrade" not in apt.get("apt")


def test_old_kernels_go_but_never_the_running_or_the_default_one(apt: Host) -> None:
    assert f"{OLD} runs" in apt.packages(f"prune {OLD}").stdout
    apt.sh(f"environment set saved_entry='{NEW_ENTRY}'")
    assert f"{NEW} is GRUB's default" in apt.packages(f"prune {NEW}").stdout
    assert apt.get("apt") == ""
    apt.put("packages", "installed linux-image-6.1.0-40-cloud-amd64 6.1.40-1")
    assert apt.packages("prune 6.1.0-40-cloud-amd64").returncode == 0
    assert "purge linux-image-6.1.0-40-cloud-amd64" in apt.get("apt")
