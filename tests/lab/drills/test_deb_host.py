"""Kernel updates on a Debian host: real apt and dpkg against a small repository of our own. Nothing is booted here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.kernel.rollout import library
from facts.kernel.kernel import KernelReading
from facts.kernel.packages import Reboot
from facts.kernel.updates import Offer
from tests.lab.machine.roots import HOST_PATH, Root, root

SETUP = Path(__file__).with_name("deb_host.sh")
OLD, NEW = "6.1.0-50-cloud-amd64", "6.1.0-56-cloud-amd64"
META = "linux-image-cloud-amd64"
OFFER = Offer(META, "6.1.176-1", "6.1.192-2", "6.1.192-2", security=True, held=False, release=NEW)
UPGRADE = f"upgrade 1 {META}"
BACK = f"""
rm -rf /etc/apt/preferences.d/* /srv/configures; apt-mark -q unhold {META}
dpkg -i /srv/old/*.deb; dpkg --purge --force-all linux-image-{NEW} linux-headers-{NEW}
rm -rf /srv/dkms /lib/modules/{OLD}/updates /lib/modules/{NEW} /boot/*{NEW}*
rm -rf /var/lib/hullproof; apt-get -qq update; update-grub
"""

pytestmark = [
    pytest.mark.lab,
    pytest.mark.drill,
    pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own needs root"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with root(tmp_path_factory.mktemp("deb") / "root", SETUP, f"/stand:{HOST_PATH}") as made:
        yield made


@pytest.fixture
def host(made: Root) -> Iterator[Root]:
    """The old kernel runs, and the new one is offered."""
    yield made
    made.sh(BACK)


def offers(reading: KernelReading) -> tuple[Offer, ...]:
    assert isinstance(reading.updates.offers, tuple), reading.updates.offers
    return tuple(offer for offer in reading.updates.offers if offer.package == META)


def releases(reading: KernelReading) -> list[str]:
    assert isinstance(reading.packages, tuple)
    return [package.release for package in reading.packages]


def assert_installed(host: Root) -> None:
    after = host.look()
    assert (releases(after), after.updates.half) == ([OLD, NEW], ())
    assert [offer.newer for offer in offers(after)] == [False], "the meta package came along"
    assert after.reboot == Reboot(True, f"{OLD} 6.1.176-1 is running, and the newer {NEW} 6.1.192-2 is installed")


def test_a_security_update_is_offered_and_installed_and_found(host: Root) -> None:
    before = host.look()
    assert (offers(before), releases(before)) == ((OFFER,), [OLD])
    assert before.reboot == Reboot(False, f"runs the newest installed kernel, {OLD} 6.1.176-1")
    host.call(UPGRADE)
    assert_installed(host)
    assert "no newer kernel is offered" in host.call(UPGRADE)


@pytest.mark.parametrize("moment", ["unpacked", "configured"])
def test_what_was_cut_off_is_seen_and_finished(host: Root, moment: str) -> None:
    begun = host.begin(f"{library('packages')}\n{UPGRADE}")
    sign = {"unpacked": f"boot/vmlinuz-{NEW}.dpkg-new", "configured": "srv/configures"}[moment]
    while not (host.path / sign).exists():
        assert begun.poll() is None, begun.communicate()
        time.sleep(0.005)
    begun.kill()
    begun.wait()
    assert f"linux-image-{NEW}" in host.look().updates.half
    host.call(UPGRADE)
    assert_installed(host)


def test_a_hold_and_a_pin_are_seen(host: Root) -> None:
    host.sh(f"apt-mark -q hold {META}")
    assert [offer.held for offer in offers(host.look())] == [True]
    host.sh(f"apt-mark -q unhold {META}")
    (host.path / "etc/apt/preferences.d/no").write_text(f"Package: {META}\nPin: version 6.1.192*\nPin-Priority: -1\n")
    (offer,) = offers(host.look())
    assert (offer.candidate, offer.newest, offer.pinned) == ("6.1.176-1", "6.1.192-2", True)


@pytest.mark.parametrize("builds", [True, False])
def test_headers_come_along_and_a_kernel_without_a_module_of_dkms_is_not_booted(host: Root, builds: bool) -> None:
    (host.path / "lib/modules" / OLD / "updates/dkms").mkdir(parents=True)
    (host.path / "lib/modules" / OLD / "updates/dkms/zfs.ko").touch()
    if builds:
        (host.path / "srv/dkms").touch()
    done = host.sh(f"{library('packages')}\n{UPGRADE}")
    assert_installed(host)
    assert host.sh(f"dpkg-query -W -f '${{db:Status-Status}}' linux-headers-{NEW}").stdout == "installed"
    assert host.look().updates.built == ({OLD: ("zfs",), NEW: ("zfs",)} if builds else {OLD: ("zfs",)})
    words = (
        f"{NEW} was installed but cannot be booted: it lacks the modules that DKMS built for {OLD}: zfs; "
        f"{OLD} is GRUB's default"
    )
    assert (done.returncode == 0, words in done.stdout) == (builds, not builds), done.stdout


def test_an_old_kernel_whose_package_is_held_stays_and_another_goes(host: Root) -> None:
    host.call(UPGRADE)
    host.sh(f"apt-mark -q hold linux-image-{NEW}")
    assert f"linux-image-{NEW} is held" in host.call(f"prune 1 {NEW}")
    assert releases(host.look()) == [OLD, NEW]
    host.sh(f"apt-mark -q unhold linux-image-{NEW}")
    host.call(f"prune 1 {NEW}")
    assert releases(host.look()) == [OLD]


def test_lists_that_cannot_be_refreshed_are_an_error(host: Root) -> None:
    done = host.sh(f"mv /srv/debs/dists /srv/away\n({library('packages')}\n{UPGRADE}\n)\nmv /srv/away /srv/debs/dists")
    assert "the package lists could not be refreshed" in done.stdout
    assert releases(host.look()) == [OLD]


@pytest.mark.parametrize("beside", [True, False])
def test_a_mirror_that_is_out_of_reach_is_an_error_though_apt_says_none(host: Root, beside: bool) -> None:
    """apt-get update ends with 0, be it the only one or beside one that answers."""
    security = host.path / "etc/apt/sources.list.d/security.list"
    there = security.read_text()
    security.write_text(f"deb [trusted=yes] http://127.0.0.1:9/ bookworm main\n{there if beside else ''}")
    try:
        assert host.sh("apt-get -q update; echo rc $?").stdout.strip().endswith("rc 0")
        done = host.sh(f"{library('packages')}\n{UPGRADE}")
        after = host.look()
    finally:
        security.write_text(there)
    assert done.returncode != 0
    assert "the package lists could not be refreshed" in done.stdout
    assert "Failed to fetch http://127.0.0.1:9/" in after.updates.unrefreshed
    assert releases(after) == [OLD]
    host.sh("apt-get -qq update")
    host.call(UPGRADE)
    assert host.look().updates.unrefreshed == ""


def test_with_a_full_boot_nothing_is_installed(host: Root) -> None:
    done = host.sh(f"{library('packages')}\n{UPGRADE}", before='mount -t tmpfs -o size=4m tmpfs "$0/boot"')
    assert done.returncode != 0
    assert "/boot has 4 MB free, and a kernel needs 8 MB there: nothing was installed" in done.stdout
    assert releases(host.look()) == [OLD]
