"""Kernel updates on an rpm host: real dnf and rpm against a small repository of our own. Nothing is booted here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.kernel_roll import library
from facts.kernel import Kernel, KernelReading
from facts.kernel_packages import Package, Reboot
from facts.kernel_updates import Offer
from facts.survey import survey_script
from tests.lab.image import cache_dir, digest, lock, mirror, run

SETUP = Path(__file__).with_name("rpm_host.sh")
PACKAGES = "dnf,rpm,createrepo-c,grub-common"
OLD, NEW = "5.14.0-503.el9", "5.14.0-570.el9"
HOST_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A root of its own, with a /proc and the devices that programs expect.
ENTER = """\
mount -t proc proc "$0/proc"; mount -t tmpfs dev "$0/dev"
for n in null zero urandom random; do : >"$0/dev/$n"; mount --bind "/dev/$n" "$0/dev/$n"; done
exec chroot "$0" /bin/sh -s
"""

pytestmark = [
    pytest.mark.lab,
    pytest.mark.drill,
    pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own needs root"),
]


class Root:
    """A directory that stands for a host."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sh(self, script: str, tools: str = "/stand") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-c", ENTER, str(self.path)],
            input=f"export PATH={tools}\n{script}\n", text=True, capture_output=True, timeout=300,
        )  # fmt: skip

    def call(self, call: str) -> str:
        done = self.sh(f"{library('packages')}\n{call}")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def look(self) -> KernelReading:
        script = survey_script([Kernel]).replace(HOST_PATH, "PATH=/stand")
        found = Kernel().process(self.sh(script).stdout.splitlines())
        assert isinstance(found, KernelReading), found
        return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    packed = cache_dir() / f"rpm-root-{digest(PACKAGES)}.tar"
    with lock("rpm-root"):
        if not packed.exists():
            words = ["mmdebstrap", "--variant=apt", f"--include={PACKAGES}", "bookworm", str(packed) + ".new.tar"]
            run([*words, f"deb {mirror()} bookworm main"])
            Path(str(packed) + ".new.tar").rename(packed)
    path = tmp_path_factory.mktemp("rpm") / "root"
    path.mkdir()
    run(["tar", "-C", str(path), "-xf", str(packed)])
    root = Root(path)
    made = root.sh(SETUP.read_text(), "/usr/sbin:/usr/bin:/sbin:/bin")
    assert made.returncode == 0, made.stdout + made.stderr
    yield root
    shutil.rmtree(path)


def test_a_security_update_is_offered_installed_beside_the_old_kernel_and_no_default(host: Root) -> None:
    host.sh("dnf -q makecache")
    before = host.look()
    assert before.reboot == Reboot(True, "installed after this boot: kernel-core"), "as needs-restarting(1) would say"
    assert before.updates.offers == (Offer("kernel-core", OLD, NEW, NEW, security=True, held=False),)
    assert [package.version for package in known_packages(before)] == [OLD]

    host.call("keep")
    assert "--args=panic=30 rd.shell=0 rd.emergency=reboot" in (host.path / "srv/grubby").read_text()
    host.call("upgrade 1 'kernel*'")
    after = host.look()
    assert [package.version for package in known_packages(after)] == [OLD, NEW]
    assert after.reboot == Reboot(True, f"runs {OLD}.x86_64 built as {OLD}; {NEW}.x86_64 {NEW} is installed")
    assert after.boot.release == f"{OLD}.x86_64", "the next boot takes the old one"
    assert after.boot.releases == (f"{OLD}.x86_64", f"{NEW}.x86_64")
    assert host.call("newest") == f"{NEW}.x86_64 {NEW}\n"
    assert host.call(f"entry_of {NEW}.x86_64") == f"m-{NEW}.x86_64\n"
    host.call("upgrade 1 'kernel*'")
    assert [package.version for package in known_packages(host.look())] == [OLD, NEW]


def test_the_old_kernel_goes_once_it_neither_runs_nor_is_the_default(host: Root) -> None:
    assert host.sh(f"{library('packages')}\nprune {OLD}.x86_64").returncode != 0
    (host.path / "srv/runs").write_text(f"{NEW}.x86_64\n")
    assert "is GRUB's default" in host.sh(f"{library('packages')}\nprune {OLD}.x86_64").stdout
    host.call(f"set_default {NEW}.x86_64")
    host.call(f"prune {OLD}.x86_64")
    assert [package.version for package in known_packages(host.look())] == [NEW]


def test_a_version_lock_is_seen(host: Root) -> None:
    (host.path / "etc/dnf/plugins").mkdir(exist_ok=True)
    (host.path / "etc/dnf/plugins/versionlock.list").write_text("kernel-core-0:5.14.0-570.el9.*\n")
    offers = host.look().updates.offers
    assert isinstance(offers, tuple)
    assert [offer.held for offer in offers] == [True]


def known_packages(reading: KernelReading) -> tuple[Package, ...]:
    assert isinstance(reading.packages, tuple)
    return reading.packages
