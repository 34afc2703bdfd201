"""Kernel updates on an rpm host: real dnf and rpm against a small repository of our own. Nothing is booted here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.kernel.rollout import library
from facts.kernel.kernel import KernelReading
from facts.kernel.packages import Package, Reboot
from facts.kernel.updates import Offer
from tests.lab.machine.roots import Root, root

SETUP = Path(__file__).with_name("rpm_host.sh")
OLD, NEW = "5.14.0-503.el9", "5.14.0-570.el9"

pytestmark = [
    pytest.mark.lab,
    pytest.mark.drill,
    pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own needs root"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with root(tmp_path_factory.mktemp("rpm") / "root", SETUP, "/stand") as made:
        yield made


def test_a_repository_that_is_out_of_reach_is_an_error_though_it_may_be_left_out(host: Root) -> None:
    other = host.path / "etc/yum.repos.d/other.repo"
    other.write_text("[other]\nname=other\nbaseurl=http://127.0.0.1:9/\nskip_if_unavailable=1\nretries=1\n")
    try:
        assert host.sh("dnf -q --refresh makecache").returncode == 0
        done = host.sh(f"{library('packages')}\nupgrade 1 'kernel*'")
        after = host.look()
    finally:
        other.unlink()
    assert done.returncode != 0
    assert "the package lists could not be refreshed" in done.stdout
    assert "127.0.0.1" in after.updates.unrefreshed or "other" in after.updates.unrefreshed
    assert [package.version for package in known_packages(after)] == [OLD]


def test_a_security_update_is_offered_installed_beside_the_old_kernel_and_no_default(host: Root) -> None:
    host.sh("dnf -q makecache")
    before = host.look()
    assert before.reboot == Reboot(True, "installed after this boot: kernel-core"), "as needs-restarting(1) would say"
    assert before.updates.offers == (
        Offer("kernel-core", OLD, NEW, NEW, security=True, held=False, release=f"{NEW}.x86_64"),
    )
    assert [package.version for package in known_packages(before)] == [OLD]

    host.call("keep")
    assert "--args=panic=30 rd.shell=0 rd.emergency=reboot" in (host.path / "srv/grubby").read_text()
    host.call("upgrade 1 'kernel*'")
    after = host.look()
    assert [package.version for package in known_packages(after)] == [OLD, NEW]
    assert after.reboot == Reboot(True, f"{OLD}.x86_64 {OLD} is running, and the newer {NEW}.x86_64 {NEW} is installed")
    assert after.boot.release == f"{OLD}.x86_64", "the next boot takes the old one"
    assert after.boot.releases == (f"{OLD}.x86_64", f"{NEW}.x86_64")
    assert host.call("newest") == f"{NEW}.x86_64 {NEW}\n"
    assert host.call(f"entry_of {NEW}.x86_64") == f"m-{NEW}.x86_64\n"
    host.call("upgrade 1 'kernel*'")
    assert [package.version for package in known_packages(host.look())] == [OLD, NEW]


def test_the_old_kernel_goes_once_it_neither_runs_nor_is_the_default(host: Root) -> None:
    assert host.sh(f"{library('packages')}\nprune 1 {OLD}.x86_64").returncode != 0
    (host.path / "srv/runs").write_text(f"{NEW}.x86_64\n")
    assert "is GRUB's default" in host.sh(f"{library('packages')}\nprune 1 {OLD}.x86_64").stdout
    host.call(f"set_default {NEW}.x86_64")
    host.call(f"prune 1 {OLD}.x86_64")
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
